//! Plugins outside: a POST of the view as JSON, answered by the change as JSON. One request a question, bounded in time and size.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::apply::CHANGE_BYTES_MAX;
use super::ask::AskError;
use super::contract::{Change, View};
use super::dial::{Dial, Network};

/// How long an answer may take where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take at most.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// The largest answer that is read: compact, it may have [`CHANGE_BYTES_MAX`].
const BODY_BYTES_MAX: usize = 2 * CHANGE_BYTES_MAX;
/// How much of an unexpected answer is shown.
const SHOWN_BYTES_MAX: usize = 200;

/// How a plugin outside is reached.
pub struct Webhook {
    /// Where, with the scheme.
    url: Uri,
    /// How long an answer may take, from the beginning of the connection to the end of the body.
    timeout: Duration,
    /// Whom to trust and who to be; there for `https` and for nothing else.
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path may hold a token.
        f.debug_struct("Webhook").field("at", &self.place()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// A webhook over plain HTTP, or over TLS with this configuration; or what is wrong with the URL.
    pub fn new(url: &str, timeout: Duration, tls: Option<Arc<ClientConfig>>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| {
            format!("its url is none: {error}; it begins with http:// or https://, as in http://127.0.0.1:9000/sync")
        })?;
        if uri.host().is_none_or(str::is_empty) {
            return Err("its url names no host".into());
        }
        match (uri.scheme_str(), &tls) {
            (Some("http"), None) | (Some("https"), Some(_)) => {}
            (Some("http"), Some(_)) => {
                return Err("caBundle and clientCertificate need a url with https".into());
            }
            (Some("https"), None) => {
                return Err(
                    "an https url needs caBundle: the certificates by which its server is known".into()
                );
            }
            _ => return Err("its url begins with neither http:// nor https://".into()),
        }
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            return Err(format!("its timeout must be more than 0 s and at most {} s", TIMEOUT_MAX.as_secs()));
        }
        Ok(Self { url: uri, timeout, tls })
    }

    /// Host and port, for messages.
    fn place(&self) -> String {
        format!("{}:{}", self.url.host().unwrap_or_default(), self.port())
    }

    fn port(&self) -> u16 {
        self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 })
    }

    /// What the plugin wants.
    pub async fn ask(&self, view: &View) -> Result<Change, AskError> {
        self.ask_by(&Network, view).await
    }

    /// The same by another way than the network that this process is in.
    pub async fn ask_by(&self, way: &dyn Dial, view: &View) -> Result<Change, AskError> {
        match tokio::time::timeout(self.timeout, self.exchange(way, view)).await {
            Ok(answer) => answer,
            Err(_) => Err(AskError::new(
                "TimedOut",
                format!(
                    "{} did not answer within {} s; let it answer sooner, or give it a longer `timeout`, at most {}s",
                    self.place(),
                    self.timeout.as_secs_f32(),
                    TIMEOUT_MAX.as_secs()
                ),
            )),
        }
    }

    async fn exchange(&self, way: &dyn Dial, view: &View) -> Result<Change, AskError> {
        let place = self.place();
        let unreachable = |error: &dyn fmt::Display| {
            AskError::new(
                "Unreachable",
                format!(
                    "{place} cannot be reached: {error}; look whether the plugin runs there, and whether its url is right"
                ),
            )
        };
        let body = serde_json::to_vec(view).map_err(|error| AskError::new("Malformed", error.to_string()))?;
        let host = self.url.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = way.connect(bare, self.port()).await.map_err(|error| unreachable(&error))?;
        let answer = match &self.tls {
            None => self.send(stream, body).await,
            Some(config) => {
                let name = ServerName::try_from(bare.to_owned()).map_err(|error| unreachable(&error))?;
                let connected = TlsConnector::from(config.clone()).connect(name, stream).await;
                self.send(connected.map_err(|error| self.untrusted(&error))?, body).await
            }
        };
        let (status, bytes) = answer?;
        if !status.is_success() {
            return Err(AskError::new(
                "Failed",
                format!("{place} answered {}{}; {}", status.as_u16(), said(&bytes), next(status)),
            ));
        }
        read(&bytes).map_err(|why| AskError::new("Malformed", format!("the answer of {place}: {why}")))
    }

    /// What to do about a server that is there, and is not who it should be.
    fn untrusted(&self, error: &std::io::Error) -> AskError {
        let place = self.place();
        let next = if error.get_ref().is_some_and(|inner| inner.to_string().contains("certificate")) {
            "look whether caBundle holds the authority of its certificate, and whether that is made out to the host of its url"
        } else {
            "look whether it speaks TLS there"
        };
        AskError::new("Unreachable", format!("{place} cannot be spoken to over TLS: {error}; {next}"))
    }

    async fn send(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        body: Vec<u8>,
    ) -> Result<(http::StatusCode, Bytes), AskError> {
        let place = self.place();
        let failed = |error: &dyn Error| {
            let next = "look at its log, whether it speaks what its url says, and whether it asks for a clientCertificate";
            AskError::new("Unreachable", format!("{place} broke off: {}; {next}", chain(error)))
        };
        let path = self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let authority = self.url.authority().map(http::uri::Authority::host).unwrap_or_default();
        let request = Request::post(path)
            .header(header::HOST, format!("{authority}:{}", self.port()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("dask-operator/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| failed(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    AskError::new("Malformed", format!("{place} answered more than {BODY_BYTES_MAX} bytes"))
                } else {
                    failed(&*error)
                }
            })?;
            Ok((status, body.to_bytes()))
        };
        let mut exchange = std::pin::pin!(exchange);
        // The connection lives no longer than the question.
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            _ = connection => exchange.await,
        }
    }
}

/// What to do about an answer of this status.
fn next(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        300..400 => "give the url that it leads to: none is followed",
        404 | 405 => "look whether the path of its url is right, and whether it takes a POST",
        400..500 => "it does not take the view: see `dask-operator plugin schema`, and its log",
        _ => "look at its log",
    }
}

/// An answer, or what is wrong with it and where.
pub fn read(bytes: &[u8]) -> Result<Change, String> {
    let shape = "a change is {\"edits\": […], \"conditions\": […]}";
    // A list would be taken for the fields in their order.
    match bytes.trim_ascii_start().first() {
        None => return Err(format!("the answer is empty; {shape}, and {{}} where nothing is wanted")),
        Some(b'{') => {}
        Some(_) => return Err(format!("it is no object; {shape}; it begins: {}", beginning(bytes))),
    }
    let wrong = |error: &dyn fmt::Display| format!("{error}; {shape}; it begins: {}", beginning(bytes));
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let change = serde_path_to_error::deserialize(&mut json).map_err(|error| wrong(&error))?;
    json.end().map_err(|error| wrong(&error))?;
    Ok(change)
}

/// What an answer says besides its status, if it does.
fn said(bytes: &[u8]) -> String {
    let text = beginning(bytes);
    if text.is_empty() { text } else { format!(": {text}") }
}

/// An error with its causes, which alone may tell what is the matter.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The first line or so of an answer.
fn beginning(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    String::from_utf8_lossy(shown).split_whitespace().collect::<Vec<_>>().join(" ")
}
