//! The kubelet's ends of a process's streams: pipes, or a terminal.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::face::TerminalSize;

/// The kubelet's end of a terminal. The terminal is there for as long as one of its readers, writers or this is.
#[derive(Debug)]
pub(super) struct Terminal(OwnedFd);

impl Terminal {
    /// Both ends of a new terminal: the kubelet's, and the program's.
    pub(super) fn open() -> io::Result<(Self, OwnedFd)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        Ok((Self(ours), theirs))
    }

    /// Reads what the programs write.
    pub(super) fn reader(&self) -> io::Result<TerminalReader> {
        // Tokio reads and writes every file that can be polled as it does pipes.
        Ok(TerminalReader(pipe::Receiver::from_owned_fd_unchecked(self.0.try_clone()?)?))
    }

    /// Types. A terminal has no end of input of its own: closing this one closes nothing else.
    pub(super) fn writer(&self) -> io::Result<pipe::Sender> {
        pipe::Sender::from_owned_fd_unchecked(self.0.try_clone()?)
    }

    /// Where new sizes go; ends with the client's side.
    pub(super) fn sizes(&self) -> io::Result<mpsc::Sender<TerminalSize>> {
        let terminal = self.0.try_clone()?;
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(4);
        tokio::spawn(async move {
            while let Some(TerminalSize { width, height }) = sizes.recv().await {
                let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
                // The programs may be gone.
                let _ = tcsetwinsize(&terminal, size);
            }
        });
        Ok(sender)
    }
}

/// What the programs on a terminal write; ends when the last has closed its end.
#[derive(Debug)]
pub(super) struct TerminalReader(pipe::Receiver);

impl AsyncRead for TerminalReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.0).poll_read(context, buffer)) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Poll::Ready(Ok(())),
            other => Poll::Ready(other),
        }
    }
}

/// Output of a process: it ends when everybody who could write has ended, or when the process itself has and nobody
/// writes any more. Otherwise a program left in the background would hold its client for ever.
pub(super) struct Output<R> {
    reader: R,
    over: BoxFuture<'static, ()>,
}

impl<R> Output<R> {
    /// `over` resolves some time after the end of the process.
    pub(super) fn new(reader: R, over: BoxFuture<'static, ()>) -> Self {
        Self { reader, over }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Output<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.reader).poll_read(context, buffer) {
            return Poll::Ready(read);
        }
        ready!(self.over.as_mut().poll(context));
        // Over for good: the future must not be asked again.
        self.over = Box::pin(std::future::ready(()));
        Poll::Ready(Ok(()))
    }
}
