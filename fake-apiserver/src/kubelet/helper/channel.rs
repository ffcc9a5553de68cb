//! Frames between the kubelet and its helpers: four bytes of length, then JSON. Open files go beside them.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};

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

    /// Sends an open file, with one byte that carries it.
    pub(crate) fn send_file(&mut self, file: impl AsFd) -> io::Result<()> {
        send_file(&self.0, file)
    }

    /// The file that is sent next.
    pub(crate) fn receive_file(&mut self) -> io::Result<OwnedFd> {
        receive_file(&self.0)
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

    /// Sends an open file.
    pub(crate) async fn send_file(&mut self, file: impl AsFd) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, || send_file(&self.0, &file)).await
    }

    /// The file that is sent next.
    pub(crate) async fn receive_file(&mut self) -> io::Result<OwnedFd> {
        self.0.async_io(Interest::READABLE, || receive_file(&self.0)).await
    }
}

fn send_file(socket: impl AsFd, file: impl AsFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("an open file does not fit into a message"));
    }
    sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_file(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    file.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no file was sent"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_file_arrives_between_two_frames() {
        let (mut ours, theirs) = AsyncChannel::pair().unwrap();
        let mut theirs = Channel(UnixStream::from(theirs));
        let (mut reader, writer) = std::io::pipe().unwrap();
        ours.send(&"before").await.unwrap();
        ours.send_file(writer).await.unwrap();
        ours.send(&"after").await.unwrap();
        assert_eq!(theirs.receive::<String>().unwrap().as_deref(), Some("before"));
        let file = theirs.receive_file().unwrap();
        assert_eq!(theirs.receive::<String>().unwrap().as_deref(), Some("after"));
        std::fs::File::from(file).write_all(b"through the pipe").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the pipe");
    }
}
