//! Frames between the kubelet and its helpers: four bytes of length, then JSON.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Larger orders are refused; an environment is limited by the kernel to about 2 MiB anyway.
const FRAME_MAX: usize = 8 << 20;

/// The helper's end; blocking.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// The channel this helper was started with. The copy does not survive an exec.
    pub(crate) fn from_stdin() -> io::Result<Self> {
        let copy: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
        let stream = UnixStream::from(copy);
        stream.peer_addr()?;
        Ok(Self(stream))
    }

    /// Both ends of a new channel, for a helper that starts another.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(ours), theirs.into()))
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.0.write_all(&encode(message)?)
    }

    /// The next frame; `None` when the other end is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let mut body = vec![0; checked(u32::from_be_bytes(length))?];
        self.0.read_exact(&mut body)?;
        Ok(Some(serde_json::from_slice(&body)?))
    }
}

/// The kubelet's end.
#[derive(Debug)]
pub(crate) struct AsyncChannel(tokio::net::UnixStream);

impl AsyncChannel {
    /// The kubelet's end, and what the helper gets as its standard input.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Self(tokio::net::UnixStream::from_std(ours)?), theirs.into()))
    }

    /// Sends one frame.
    pub(crate) async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.0.write_all(&encode(message)?).await
    }

    /// The next frame; `None` when the helper has closed its end.
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let length = match self.0.read_u32().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        let mut body = vec![0; checked(length)?];
        self.0.read_exact(&mut body).await?;
        Ok(Some(serde_json::from_slice(&body)?))
    }
}

fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|&length| length as usize <= FRAME_MAX);
    let length = length.ok_or_else(|| io::Error::other("the order is too large"))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

fn checked(length: u32) -> io::Result<usize> {
    let length = length as usize;
    if length > FRAME_MAX { Err(io::Error::other("the order is too large")) } else { Ok(length) }
}
