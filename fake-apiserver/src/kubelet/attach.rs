//! Joining the streams of a container's own process.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::io::StreamReader;

use super::logs::{Run, Source, Written};
use super::streams::Terminal;
use crate::face::{Session, Streams};

/// What a container reads from, if its specification says so.
#[derive(Clone, Debug, Default)]
pub(super) enum Input {
    /// It has none.
    #[default]
    None,
    /// A pipe. `None` once its end was reached.
    Pipe(Arc<Mutex<Option<OwnedFd>>>),
    /// A terminal; whether it is read from at all is the second part.
    Terminal(Arc<Terminal>, bool),
}

impl Input {
    /// The way to the container's standard input; with `once` nobody else gets it any more.
    fn writer(&self, once: bool) -> io::Result<Option<Box<dyn AsyncWrite + Send + Unpin>>> {
        match self {
            Self::Terminal(terminal, true) => Ok(Some(Box::new(terminal.writer()?))),
            Self::None | Self::Terminal(_, false) => Ok(None),
            Self::Pipe(pipe) => {
                let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
                let end =
                    if once { pipe.take() } else { pipe.as_ref().map(OwnedFd::try_clone).transpose()? };
                let sender = end.map(pipe::Sender::from_owned_fd).transpose()?;
                Ok(sender.map(|sender| Box::new(sender) as _))
            }
        }
    }
}

/// A running container's own streams.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) run: Arc<Run>,
    pub(super) input: Input,
    /// The first client's input is the only one (`stdinOnce`).
    pub(super) once: bool,
}

impl Own {
    /// From now on what the container writes; ends with the container.
    pub(super) fn join(&self, streams: Streams) -> Result<Session, String> {
        let stdin = if streams.stdin { self.input.writer(self.once) } else { Ok(None) };
        let stdin = stdin.map_err(|error| error.to_string())?;
        let behind = Arc::new(AtomicBool::new(false));
        let output = |source: Source, wanted: bool| {
            wanted.then(|| {
                Box::new(follow(&self.run, source, behind.clone())) as Box<dyn AsyncRead + Send + Unpin>
            })
        };
        let (stdout, stderr) =
            (output(Source::Stdout, streams.stdout), output(Source::Stderr, streams.stderr));
        let mut progress = self.run.progress();
        let ended = async move {
            if behind.load(Ordering::Relaxed) {
                return Err("the client reads more slowly than the container writes".to_owned());
            }
            // An error means that the log is gone, and with it the container.
            let _ = progress.wait_for(|progress| progress.closed).await;
            Ok(0)
        };
        let resize = match &self.input {
            Input::Terminal(terminal, _) => Some(terminal.sizes().map_err(|error| error.to_string())?),
            _ => None,
        };
        Ok(Session { stdin, stdout, stderr, resize, ended: ended.boxed() })
    }
}

/// What is written to one of the streams; a reader that falls behind is told so by `behind` and ends.
fn follow(run: &Run, source: Source, behind: Arc<AtomicBool>) -> impl AsyncRead + Send + Unpin + use<> {
    let (written, progress) = (run.tap(), run.progress());
    let chunks = stream::unfold((written, progress), move |(mut written, mut progress)| {
        let behind = behind.clone();
        async move {
            loop {
                let next: Result<Written, Option<u64>> = tokio::select! {
                    biased;
                    next = written.recv() => next.map_err(|error| match error {
                        RecvError::Lagged(count) => Some(count),
                        RecvError::Closed => None,
                    }),
                    _ = progress.wait_for(|progress| progress.closed) => written.try_recv().map_err(|error| match error {
                        TryRecvError::Lagged(count) => Some(count),
                        _ => None,
                    }),
                };
                match next {
                    Ok((from, bytes)) if from == source => {
                        return Some((Ok::<Bytes, io::Error>(bytes), (written, progress)));
                    }
                    Ok(_) => {}
                    Err(lost) => {
                        behind.fetch_or(lost.is_some(), Ordering::Relaxed);
                        return None;
                    }
                }
            }
        }
    });
    StreamReader::new(chunks.boxed())
}
