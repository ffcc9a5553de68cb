//! Sends spans to a collector: OTLP over HTTP with JSON.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Uri, header};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;

use super::encode;
use super::report::Report;
use crate::seed::Seed;

/// Spans of one request.
const BATCH_MAX: usize = 512;
/// How long the first span of a request waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where a collector listens, as `OTEL_EXPORTER_OTLP_ENDPOINT` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = || format!("{text} is not a URL such as http://collector.observability:4318");
        let uri: Uri = format!("{}/v1/traces", text.trim_end_matches('/')).parse().map_err(|_| example())?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(_)) => Ok(Self(uri)),
            (Some("https"), _) => Err(format!(
                "{text}: only http is spoken here; name a collector in the cluster, which passes traces on over TLS"
            )),
            _ => Err(example()),
        }
    }
}

/// To be run beside the operator.
#[derive(Debug)]
pub struct Exporter {
    endpoint: Endpoint,
    reports: mpsc::Receiver<Report>,
    lost: Arc<AtomicU64>,
    ids: Seed,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Exporter {
    pub(super) fn new(
        endpoint: Endpoint,
        reports: mpsc::Receiver<Report>,
        lost: Arc<AtomicU64>,
        seed: u64,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { endpoint, reports, lost, ids: Seed(seed), client }
    }

    /// Sends until nobody hands anything over any more.
    pub async fn run(mut self) {
        let mut silent = false;
        loop {
            let mut batch = Vec::new();
            if self.reports.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return;
            }
            self.gather(&mut batch).await;
            match self.send(&batch).await {
                Ok(()) => {
                    let lost = self.lost.swap(0, Ordering::Relaxed);
                    if lost > 0 {
                        tracing::warn!(lost, "spans were lost while the collector was slow or away");
                    }
                    silent = false;
                }
                Err(error) => {
                    self.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    if !silent {
                        tracing::warn!(endpoint = %self.endpoint.0, error, "the collector takes no spans; they are lost until it does");
                    }
                    silent = true;
                }
            }
        }
    }

    /// Waits a moment for more, so that a busy operator sends few requests.
    async fn gather(&mut self, batch: &mut Vec<Report>) {
        let more = async {
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                if self.reports.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        // Either is well: there are enough, or there were no more.
        let _ = tokio::time::timeout(GATHER, more).await;
    }

    async fn send(&mut self, batch: &[Report]) -> Result<(), String> {
        let body = encode::request(batch, &mut self.ids).to_string();
        let request = Request::post(self.endpoint.0.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(ANSWER_MAX, self.client.request(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(format!("it answered {}", answer.status())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer after {} s", ANSWER_MAX.as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_base_of_the_collectors_paths() {
        let parsed = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.0.to_string());
        assert_eq!(parsed("http://collector:4318").unwrap(), "http://collector:4318/v1/traces");
        assert_eq!(parsed("http://collector:4318/otlp/").unwrap(), "http://collector:4318/otlp/v1/traces");
        assert!(parsed("https://collector:4318").unwrap_err().contains("only http"));
        assert!(parsed("collector").unwrap_err().contains("such as"));
    }
}
