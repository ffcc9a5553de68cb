//! The byte streams within one connection to a client, whatever carries them.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

/// Bytes that are read and passed on at once.
pub(super) const CHUNK: usize = 32 << 10;
/// Chunks that wait for a reader, in each direction of a stream: then the writer waits.
const WAITING: usize = 16;

/// What is to be said to the client. A carrier puts it into its own words.
#[derive(Debug)]
pub(super) enum Outgoing {
    Data {
        stream: u32,
        bytes: Bytes,
    },
    Finish {
        stream: u32,
    },
    /// It will not be served.
    Reset {
        stream: u32,
    },
}

/// The way to the client that all streams of a connection share.
pub(super) type ToClient = mpsc::Sender<Outgoing>;

/// The shared way to the client, and its far end.
pub(super) fn to_client() -> (ToClient, mpsc::Receiver<Outgoing>) {
    mpsc::channel(WAITING)
}

/// What the client sends on one stream.
#[derive(Debug)]
pub(super) struct Inlet {
    chunks: mpsc::Receiver<Bytes>,
    reset: watch::Receiver<bool>,
}

/// Where a carrier puts what the client sends on one stream.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    chunks: Option<mpsc::Sender<Bytes>>,
    reset: Arc<watch::Sender<bool>>,
}

/// A stream from the client.
pub(super) fn from_client() -> (Feed, Inlet) {
    let (sender, chunks) = mpsc::channel(WAITING);
    let (reset, seen) = watch::channel(false);
    (Feed { chunks: Some(sender), reset: Arc::new(reset) }, Inlet { chunks, reset: seen })
}

impl Feed {
    /// Passes bytes on; waits while the reader is behind. What nobody reads any more is dropped.
    pub(super) async fn put(&self, bytes: Bytes) {
        if let Some(chunks) = &self.chunks {
            // The reader may have had enough.
            let _ = chunks.send(bytes).await;
        }
    }

    /// Whether anybody still reads or waits for the stream's end.
    pub(super) fn is_open(&self) -> bool {
        !self.reset.is_closed()
    }

    /// The client sends no more.
    pub(super) fn finish(&mut self) {
        self.chunks = None;
    }

    /// The client neither sends nor reads any more.
    pub(super) fn reset(&mut self) {
        self.chunks = None;
        self.reset.send_replace(true);
    }
}

impl Inlet {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        self.chunks.recv().await
    }

    /// Resolves when the client has given the stream up; never otherwise.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut reset = self.reset.clone();
        async move {
            if reset.wait_for(|reset| *reset).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Writes everything the client sends, then says that there is no more.
    pub(super) async fn copy_to(mut self, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
        while let Some(bytes) = self.next().await {
            writer.write_all(&bytes).await?;
            if self.chunks.is_empty() {
                writer.flush().await?;
            }
        }
        writer.shutdown().await
    }
}

/// What the client receives on one stream.
#[derive(Debug)]
pub(super) struct Outlet {
    stream: u32,
    to_client: ToClient,
}

/// The connection to the client is over.
#[derive(Debug)]
pub(super) struct Gone;

impl Outlet {
    pub(super) fn new(stream: u32, to_client: ToClient) -> Self {
        Self { stream, to_client }
    }

    /// Sends bytes; waits while the client is behind.
    pub(super) async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        let data = Outgoing::Data { stream: self.stream, bytes: bytes.into() };
        self.to_client.send(data).await.map_err(|_| Gone)
    }

    /// Says that there is no more.
    pub(super) async fn finish(self) {
        // The client may have gone.
        let _ = self.to_client.send(Outgoing::Finish { stream: self.stream }).await;
    }

    /// Says that the stream will not be served.
    pub(super) async fn reset(self) {
        // The client may have gone.
        let _ = self.to_client.send(Outgoing::Reset { stream: self.stream }).await;
    }

    /// Sends everything there is to read; `Err` only when the client is gone.
    pub(super) async fn copy_from(&self, reader: &mut (impl AsyncRead + Unpin + ?Sized)) -> Result<(), Gone> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            // A reader that fails has no more to say.
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => self.send(buffer.split().freeze()).await?,
            }
        }
    }
}
