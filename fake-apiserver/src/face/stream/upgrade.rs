//! Changing an HTTP/1.1 connection into something else.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::super::body::ResponseBody;
use super::websocket;
use crate::status::Status;

/// Header in which SPDY clients offer subprotocols, and are told which was taken.
pub(super) const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// With a refusal: what would have been taken.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-version");
/// Changed connections that may be open at once.
const OPEN_MAX: usize = 1024;

/// All changed connections of a server.
pub(in super::super) struct Connections {
    places: Arc<Semaphore>,
    end: watch::Sender<()>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(OPEN_MAX)), end: watch::Sender::default() }
    }
}

impl Connections {
    /// Ends them all.
    pub(in super::super) fn end(&self) {
        self.end.send_replace(());
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let mut busy =
                Status::new(429, "TooManyRequests", "too many streams are open; please try again later");
            busy.details.retry_after_seconds = 1;
            busy
        })
    }
}

/// What a client wants its connection to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The answer to its `Sec-WebSocket-Key`.
    WebSocket(String),
    Spdy,
}

impl Wish {
    /// `None` when the client wants nothing, or what is not known here.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if let Some(key) = websocket::accept_key(headers) {
            return Some(Self::WebSocket(key));
        }
        let text = |name: HeaderName| {
            let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            texts.collect::<Vec<_>>().join(",").to_lowercase()
        };
        let spdy = text(header::CONNECTION).contains("upgrade") && text(header::UPGRADE).contains("spdy/3.1");
        spdy.then_some(Self::Spdy)
    }
}

/// A connection that can be changed, once.
pub(super) struct Changeable {
    change: OnUpgrade,
    place: OwnedSemaphorePermit,
    end: watch::Receiver<()>,
}

impl Changeable {
    /// Takes the possibility to change out of a request.
    ///
    /// # Errors
    /// 400 when the transport cannot change (HTTP/2, or a request that came from within this process); 429 when too many
    /// connections have changed.
    pub(super) fn take(parts: &mut Parts, connections: &Connections) -> Result<Self, Status> {
        let change = parts.extensions.remove::<OnUpgrade>();
        let change = change.ok_or_else(|| {
            Status::bad_request("this connection cannot be upgraded: send the request over HTTP/1.1")
        })?;
        Ok(Self { change, place: connections.place()?, end: connections.end.subscribe() })
    }

    /// Says yes, and then lets `speak` have the connection, until it is done or the server ends.
    pub(super) fn change<F>(
        self,
        headers: impl IntoIterator<Item = (HeaderName, String)>,
        speak: impl FnOnce(TokioIo<Upgraded>) -> F + Send + 'static,
    ) -> Response<ResponseBody>
    where
        F: Future<Output = ()> + Send,
    {
        let Self { change, place, mut end } = self;
        tokio::spawn(async move {
            let speaking = async {
                match change.await {
                    Ok(connection) => speak(TokioIo::new(connection)).await,
                    Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
                }
            };
            tokio::select! {
                biased;
                _ = end.changed() => {}
                () = speaking => {}
            }
            drop(place);
        });
        let mut response = Response::new(ResponseBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        for (name, value) in headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The headers of a yes to a WebSocket handshake.
pub(super) fn websocket_headers(key: String, protocol: Option<&str>) -> Vec<(HeaderName, String)> {
    let protocol = protocol.map(|protocol| (header::SEC_WEBSOCKET_PROTOCOL, protocol.to_owned()));
    let fixed = [(header::UPGRADE, "websocket".to_owned()), (header::SEC_WEBSOCKET_ACCEPT, key)];
    fixed.into_iter().chain(protocol).collect()
}

/// The headers of a yes to SPDY.
pub(super) fn spdy_headers(protocol: &str) -> Vec<(HeaderName, String)> {
    vec![(header::UPGRADE, "SPDY/3.1".to_owned()), (PROTOCOL, protocol.to_owned())]
}

/// The first protocol of the client's that is supported; `httpstream.Handshake` of the real server.
///
/// # Errors
/// 400 when the client offers none; 403, with the ones that would do, when none of its is known.
pub(super) fn spdy_protocol<'a>(
    headers: &HeaderMap,
    supported: &[&'a str],
) -> Result<&'a str, Box<Response<ResponseBody>>> {
    let values = headers.get_all(&PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let found = offered.iter().find_map(|offer| supported.iter().find(|known| *known == offer));
    match found {
        Some(known) => Ok(known),
        None if offered.is_empty() => {
            let text = format!("unable to upgrade: {PROTOCOL} is required");
            Err(Box::new(plain(StatusCode::BAD_REQUEST, &text)))
        }
        None => {
            let text = format!(
                "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {supported:?}"
            );
            let mut response = plain(StatusCode::FORBIDDEN, &text);
            for protocol in supported {
                if let Ok(value) = protocol.parse() {
                    response.headers_mut().append(ACCEPTED, value);
                }
            }
            Err(Box::new(response))
        }
    }
}

/// An answer in plain text, as kubelets give it.
pub(super) fn plain(code: StatusCode, text: &str) -> Response<ResponseBody> {
    super::super::render::bytes(code, "text/plain; charset=utf-8", Bytes::copy_from_slice(text.as_bytes()))
}
