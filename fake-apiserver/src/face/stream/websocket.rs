//! WebSocket connections: the handshake, bytes within channels, and bytes alone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use http::{HeaderMap, HeaderName, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::conversation::{Finished, PING_EVERY, hold};
use super::pipe::{CHUNK, Feed, Inlet, Outgoing, Outlet, from_client, to_client};

/// Larger messages end the connection; the bound of the real server's library.
const MESSAGE_MAX: usize = 32 << 20;
/// In protocol version 5 a message on this channel closes the channel it names.
const CLOSE: u8 = 255;

/// How channel numbers and bytes are put into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The number is the first byte.
    Binary,
    /// The number is the first character, the rest is base64.
    Base64,
}

/// A subprotocol of `channel.k8s.io` in what matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) framing: Framing,
    /// How many channels there are.
    pub(super) count: u8,
    /// Whether the client can close single channels (version 5).
    pub(super) closable: bool,
}

/// The answer to `Sec-WebSocket-Key`; `None` for a request that is no WebSocket handshake.
pub(super) fn accept_key(headers: &HeaderMap) -> Option<String> {
    let asks = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    let asked = asks(header::CONNECTION, "upgrade") && asks(header::UPGRADE, "websocket");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asked)?;
    Some(derive_accept_key(key.as_bytes()))
}

/// The subprotocols that the client offers, in its order.
pub(super) fn offered(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

async fn begin<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX))
        .read_buffer_size(CHUNK)
        .write_buffer_size(CHUNK);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Lets `handle` serve the channels, until it is done or the client is gone.
pub(super) async fn serve<S, F>(io: S, channels: Channels, handle: impl FnOnce(Vec<(Inlet, Outlet)>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ()>,
{
    let (sink, source) = begin(io).await.split();
    let (to_client, outgoing) = to_client();
    let (feeds, ends): (Vec<Feed>, Vec<_>) = (0..channels.count)
        .map(|channel| {
            let (feed, inlet) = from_client();
            (feed, (inlet, Outlet::new(u32::from(channel), to_client.clone())))
        })
        .unzip();
    let reading = read(source, channels, feeds);
    hold(reading, |finished| write(sink, channels.framing, outgoing, finished), handle(ends)).await;
}

async fn read(
    mut source: impl Stream<Item = Result<Message, Error>> + Unpin,
    channels: Channels,
    mut feeds: Vec<Feed>,
) -> Result<(), Error> {
    while let Some(message) = source.next().await {
        let payload = match message? {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => return Ok(()),
            _ => continue,
        };
        let Some((channel, bytes)) = decode(channels.framing, payload) else { continue };
        if channels.closable && channel == CLOSE {
            if let Some(feed) = bytes.first().and_then(|channel| feeds.get_mut(usize::from(*channel))) {
                feed.finish();
            }
        } else if let Some(feed) = feeds.get(usize::from(channel)).filter(|_| !bytes.is_empty()) {
            feed.put(bytes).await;
        }
    }
    Ok(())
}

/// Channel and bytes; `None` for a message that has neither.
fn decode(framing: Framing, mut payload: Bytes) -> Option<(u8, Bytes)> {
    if payload.is_empty() {
        return None;
    }
    let channel = payload.split_to(1)[0];
    match framing {
        Framing::Binary => Some((channel, payload)),
        Framing::Base64 => Some((channel.checked_sub(b'0')?, STANDARD.decode(&payload).ok()?.into())),
    }
}

fn encode(framing: Framing, channel: u8, bytes: &[u8]) -> Message {
    match framing {
        Framing::Binary => Message::binary([&[channel], bytes].concat()),
        Framing::Base64 => Message::text(format!("{channel}{}", STANDARD.encode(bytes))),
    }
}

async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    framing: Framing,
    mut outgoing: mpsc::Receiver<Outgoing>,
    mut finished: Finished,
) -> io::Result<()> {
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.tick().await;
    loop {
        let message = tokio::select! {
            biased;
            Some(outgoing) = outgoing.recv() => match outgoing {
                Outgoing::Data { stream, bytes } => encode(framing, stream as u8, &bytes),
                // A channel's end has no message of its own.
                Outgoing::Finish { .. } | Outgoing::Reset { .. } => continue,
            },
            _ = &mut finished => {
                sink.send(goodbye()).await.map_err(io::Error::other)?;
                return sink.close().await.map_err(io::Error::other);
            }
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        sink.send(message).await.map_err(io::Error::other)?;
    }
}

/// An end without a status code reads as a failure to some clients.
fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// A connection whose binary messages are one sequence of bytes in each direction.
pub(super) struct Tunnel<S> {
    socket: WebSocketStream<S>,
    left: Bytes,
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tunnel<S> {
    pub(super) async fn new(io: S) -> Self {
        Self { socket: begin(io).await, left: Bytes::new(), closing: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tunnel<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(self.socket.poll_next_unpin(context)) {
                Some(Ok(Message::Binary(bytes))) => self.left = bytes,
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tunnel<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.socket.poll_ready_unpin(context)).map_err(io::Error::other)?;
        let count = bytes.len().min(CHUNK);
        let message = Message::binary(BytesMut::from(&bytes[..count]).freeze());
        self.socket.start_send_unpin(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(context).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            ready!(self.socket.poll_ready_unpin(context)).map_err(io::Error::other)?;
            self.closing = true;
            self.socket.start_send_unpin(goodbye()).map_err(io::Error::other)?;
        }
        self.socket.poll_close_unpin(context).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_their_channel_in_both_framings() {
        for framing in [Framing::Binary, Framing::Base64] {
            let message = encode(framing, 2, b"text").into_data();
            assert_eq!(decode(framing, message), Some((2, Bytes::from_static(b"text"))));
        }
        assert_eq!(decode(Framing::Binary, Bytes::new()), None);
        assert_eq!(decode(Framing::Base64, Bytes::from_static(b"1not base64!")), None);
        assert_eq!(decode(Framing::Base64, Bytes::from_static(b"\x01YQ==")), None);
    }

    #[test]
    fn the_handshake_is_told_from_other_requests() {
        let mut headers = HeaderMap::new();
        headers.insert("connection", "keep-alive, Upgrade".parse().unwrap());
        headers.insert("upgrade", "websocket".parse().unwrap());
        assert_eq!(accept_key(&headers), None);
        headers.insert("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        // The example of RFC 6455, section 1.3.
        assert_eq!(accept_key(&headers).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        headers.append("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io".parse().unwrap());
        assert_eq!(offered(&headers), ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
    }
}
