//! Signs of life, and the endpoint that shows them.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | what Prometheus is told, see [`crate::metrics`] |
//! | `/readyz` | 200 once all that is watched has been listed |
//! | `/livez`, `/healthz`, any other | 200 as long as the operator's loop makes progress |
//!
//! The path `/healthz` and the answer `{"now": …}` are those of today's operator; it answers 200 whatever happens. Any other path
//! is a question for life because today's operator lets its user choose the path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::{Metrics, text};

/// Seconds without a sign of life after which the operator counts as stuck; the loop gives one every five.
const STUCK_AFTER_SECONDS: i64 = 60;
/// Connections at once; more wait until one is closed. A kubelet and a few scrapers need two each.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted, for instance because there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Shared signs of life.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Signs>);

#[derive(Debug, Default)]
struct Signs {
    last: AtomicI64,
    synced: AtomicBool,
}

impl Health {
    /// There is progress at `now`.
    pub fn beat(&self, now: Timestamp) {
        self.0.last.store(now.as_second(), Ordering::Relaxed);
    }

    /// The loop is alive at `now`; `synced`: it knows the whole state.
    pub fn alive(&self, now: Timestamp, synced: bool) {
        self.beat(now);
        self.0.synced.store(synced, Ordering::Relaxed);
    }

    /// Whether the loop gave a sign of life recently.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now.as_second() - self.last_sign() < STUCK_AFTER_SECONDS
    }

    /// When the loop gave its last sign of life, in seconds since 1970; 0 if it never did.
    pub fn last_sign(&self) -> i64 {
        self.0.last.load(Ordering::Relaxed)
    }

    /// Whether the caches are filled.
    pub fn is_ready(&self) -> bool {
        self.0.synced.load(Ordering::Relaxed)
    }

    fn answer(&self, path: &str, now: Timestamp) -> Response<Full<Bytes>> {
        let well = if path == "/readyz" { self.is_ready() } else { self.is_alive(now) };
        let body = serde_json::json!({"now": now.to_string(), "alive": self.is_alive(now), "ready": self.is_ready()});
        let mut response = with_type("application/json", body.to_string());
        *response.status_mut() = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        response
    }
}

/// Answers questions about health and numbers on a listener until dropped.
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Closed by nobody.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (health, metrics) = (health.clone(), metrics.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (health, metrics) = (health.clone(), metrics.clone());
                async move {
                    let response = match request.uri().path() {
                        "/metrics" => with_type(text::CONTENT_TYPE, metrics.render(&health).await),
                        path => health.answer(path, Timestamp::now()),
                    };
                    Ok::<_, std::convert::Infallible>(response)
                }
            });
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

fn with_type(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pain_18_a_silent_loop_is_not_alive() {
        let health = Health::default();
        let start = Timestamp::from_second(1_000).unwrap();
        health.alive(start, true);
        assert!(health.is_alive(start + jiff::SignedDuration::from_secs(59)));
        for path in ["/healthz", "/livez", "/what/kopf/was/told"] {
            assert_eq!(health.answer(path, start).status(), 200);
            assert_eq!(health.answer(path, start + jiff::SignedDuration::from_secs(60)).status(), 503);
        }
        assert_eq!(health.answer("/readyz", start).status(), 200);
    }
}
