//! The thin asynchronous shell: one connection, its handshake, and calls one after the other, each bounded in time and size.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::frame::{self, Decoder, FrameError, Message};
use super::message::{self, Handshake, Operation, ReplyError};
use super::tls::Credentials;
use crate::scheduler::{SchedulerAddress, SchedulerError};

/// The largest reply that is read. Ten thousand workers take about 15 MB in `identity`.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// Connecting and the handshake: a Service without endpoints may swallow packets, and it is better to hear of it early.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Content type of a TLS alert: what a server that speaks TLS answers to one who does not.
const TLS_ALERT: u64 = 0x15;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection whose handshake is done.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    /// For messages: `tcp://10.0.0.1:8786`.
    address: String,
}

impl Connection {
    /// Connects and shakes hands.
    pub(super) async fn open(
        at: &SchedulerAddress,
        credentials: &Credentials,
    ) -> Result<Self, SchedulerError> {
        let config = match &at.tls {
            Some(secret) => Some(credentials.of(secret).await?),
            None => None,
        };
        let address = at.to_string();
        let opening = async {
            let unreachable = |error: std::io::Error| SchedulerError::Unreachable {
                url: address.clone(),
                source: error.into(),
            };
            let stream = TcpStream::connect((at.host.as_str(), at.comm_port)).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            let stream: Box<dyn Stream> = match config {
                None => Box::new(stream),
                Some(config) => {
                    let name = ServerName::try_from(at.host.clone())
                        .map_err(|error| unreachable(std::io::Error::other(error)))?;
                    Box::new(TlsConnector::from(config).connect(name, stream).await.map_err(unreachable)?)
                }
            };
            let decoder = Decoder::new(REPLY_BYTES_MAX);
            let mut connection = Self { stream, decoder, address: address.clone() };
            connection.shake_hands().await?;
            Ok(connection)
        };
        let late = |_| SchedulerError::TimedOut { url: address.clone(), after: CONNECT_MAX };
        timeout(CONNECT_MAX, opening).await.map_err(late)?
    }

    /// What the scheduler replies to an operation within `limit`. `last` lets it close the connection afterwards.
    pub(super) fn call<'a, T: DeserializeOwned + Send + 'a>(
        &'a mut self,
        operation: Operation<'a>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<T, SchedulerError>> {
        async move {
            let url = format!("{} {}", self.address, operation.name());
            match timeout(limit, self.exchange(operation)).await {
                Ok(Ok(reply)) => match message::reply(&reply.head) {
                    Ok(reply) => Ok(reply),
                    Err(ReplyError::Failed(answer)) => Err(SchedulerError::Failed { url, answer }),
                    Err(ReplyError::Form(reason)) => Err(SchedulerError::Garbled { url, reason }),
                },
                Ok(Err(error)) => Err(error),
                Err(_) => Err(SchedulerError::TimedOut { url, after: limit }),
            }
        }
        .boxed()
    }

    async fn exchange(&mut self, operation: Operation<'_>) -> Result<Message, SchedulerError> {
        let packed = message::pack(&operation).map_err(|error| self.garbled(&error.to_string()))?;
        self.send(&packed).await?;
        self.receive().await
    }

    /// Both sides send first and then read.
    async fn shake_hands(&mut self) -> Result<(), SchedulerError> {
        let ours = message::pack(&Handshake::ours()).map_err(|error| self.garbled(&error.to_string()))?;
        self.send(&ours).await?;
        let theirs = self.receive().await?;
        let theirs: Handshake = message::unpack(&theirs.head).map_err(|error| {
            self.garbled(&format!("its handshake is not that of Dask 2023.9 or later: {error}"))
        })?;
        tracing::trace!(address = self.address, python = ?theirs.python, "connected");
        Ok(())
    }

    async fn send(&mut self, head: &[u8]) -> Result<(), SchedulerError> {
        let bytes = frame::encode(head);
        let sent = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| self.unreachable(error))
    }

    async fn receive(&mut self) -> Result<Message, SchedulerError> {
        loop {
            match self.decoder.message() {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(self.not_dask(&error)),
            }
            let read = self.stream.read_buf(self.decoder.buffer()).await;
            match read {
                Ok(0) => return Err(self.unreachable(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(self.unreachable(error)),
            }
        }
    }

    fn not_dask(&self, error: &FrameError) -> SchedulerError {
        match error {
            FrameError::TooLarge { bytes, .. } if bytes & 0xff == TLS_ALERT => self.garbled(
                "it speaks TLS: name the Secret with its certificates in the annotation operator.dask.org/tls-secret",
            ),
            error => self.garbled(&error.to_string()),
        }
    }

    fn garbled(&self, reason: &str) -> SchedulerError {
        SchedulerError::Garbled { url: self.address.clone(), reason: reason.to_owned() }
    }

    fn unreachable(&self, error: std::io::Error) -> SchedulerError {
        SchedulerError::Unreachable { url: self.address.clone(), source: error.into() }
    }
}
