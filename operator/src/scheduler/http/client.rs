//! One request and its JSON answer, bounded in time and size.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::scheduler::{SchedulerAddress, SchedulerError};

/// The largest answer that is read. Ten thousand workers take about 15 MB in the most talkative one.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;
/// How much of an unexpected answer is shown.
const SHOWN_BYTES_MAX: usize = 200;
/// A Service without endpoints may swallow packets: better to hear of it early.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Sends requests; keeps no connection, since thousands of clusters are each asked once in several seconds.
#[derive(Clone, Debug)]
pub(super) struct Client {
    inner: HyperClient<HttpConnector, Full<Bytes>>,
}

impl Client {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX));
        let inner = HyperClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { inner }
    }

    /// The JSON that the scheduler answers within `limit`.
    pub(super) async fn json(
        &self,
        method: Method,
        at: &SchedulerAddress,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Value, SchedulerError> {
        let url = url(at, path)?;
        match tokio::time::timeout(limit, self.exchange(method, &url, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(SchedulerError::TimedOut { url, after: limit }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Value, SchedulerError> {
        let garbled = |reason: String| SchedulerError::Garbled { url: url.to_owned(), reason };
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| garbled(error.to_string()))?;
        let unreachable = |source| SchedulerError::Unreachable { url: url.to_owned(), source };
        let response = self.inner.request(request).await.map_err(|error| unreachable(error.into()))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Err(SchedulerError::HttpApiOff { url: url.to_owned() });
        }
        let bytes = match Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(garbled(format!("more than {BODY_BYTES_MAX} bytes")));
            }
            Err(error) => return Err(unreachable(error)),
        };
        if !status.is_success() {
            return Err(SchedulerError::Failed {
                url: url.to_owned(),
                answer: format!("{} {}", status.as_u16(), beginning(&bytes)),
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| garbled(format!("{error}: {}", beginning(&bytes))))
    }
}

/// Where a path of this scheduler's HTTP server is.
pub(super) fn url(at: &SchedulerAddress, path: &str) -> Result<String, SchedulerError> {
    let authority =
        at.http_authority().ok_or_else(|| SchedulerError::NoPort { service: at.service.clone() })?;
    Ok(format!("http://{authority}{path}"))
}

/// The first line or so of an answer.
fn beginning(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    String::from_utf8_lossy(shown).split_whitespace().collect::<Vec<_>>().join(" ")
}
