//! One connection to a client from its beginning to its end: reading, writing and handling at once.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// How often the client is written to when there is nothing to say: one that is gone without a word is found out so,
/// when the transport gives up.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);
/// How long the client may take to close its end after this one has: closing earlier could destroy what is on the way.
const LINGER: Duration = Duration::from_secs(5);

/// Becomes ready when everything that is ready to be said shall be said, and then no more.
pub(super) type Finished = oneshot::Receiver<()>;

/// Until `handling` is done, which ends the connection in order, or the client is gone, which drops `handling` and
/// everything it has started.
///
/// `reading` ends with the client. `writing` ends well after it was told to finish, or badly when the client is gone.
pub(super) async fn hold<E: Display, W>(
    reading: impl Future<Output = Result<(), E>>,
    writing: impl FnOnce(Finished) -> W,
    handling: impl Future<Output = ()>,
) where
    W: Future<Output = io::Result<()>>,
{
    let (finish, finished) = oneshot::channel();
    let mut reading = std::pin::pin!(reading);
    let handling = async move {
        handling.await;
        // The writer may have failed.
        let _ = finish.send(());
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        written = writing(finished) => if written.is_ok() {
            let _ = timeout(LINGER, reading.as_mut()).await;
        },
        ended = reading.as_mut() => if let Err(error) = ended {
            tracing::debug!(%error, "a client's connection ended");
        },
        () = handling => {}
    }
}
