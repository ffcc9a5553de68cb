//! The way in: connections to a port of the machine go on to the API server in the node's network.

use std::io;
use std::net::SocketAddrV4;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Connections that are open at once; more have to wait.
const CONNECTIONS_MAX: usize = 2000;

/// Lets connections through until the listener fails for good or the future is dropped.
pub(crate) async fn open(listener: TcpListener, to: SocketAddrV4) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let (mut outside, _) = accepted?;
                connections.spawn(async move {
                    // While the API server is away, connections end at once, as with a port that nobody listens to.
                    if let Ok(mut inside) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut outside, &mut inside).await;
                    }
                });
            }
        }
    }
}
