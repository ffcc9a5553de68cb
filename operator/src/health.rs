//! Signs of life, and the endpoint that shows them.
//!
//! The path and the answer `{"now": …}` are those of today's operator; it answers 200 whatever happens, this one only while
//! its loop makes progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpListener;

/// Seconds without a sign of life after which the operator counts as stuck; the loop gives one every five.
const STUCK_AFTER_SECONDS: i64 = 60;

/// Shared signs of life.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Signs>);

#[derive(Debug, Default)]
struct Signs {
    last: AtomicI64,
    synced: AtomicBool,
}

impl Health {
    /// The loop is alive at `now`; `synced`: it knows the whole state.
    pub fn alive(&self, now: Timestamp, synced: bool) {
        self.0.last.store(now.as_second(), Ordering::Relaxed);
        self.0.synced.store(synced, Ordering::Relaxed);
    }

    /// Whether the loop gave a sign of life recently.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now.as_second() - self.0.last.load(Ordering::Relaxed) < STUCK_AFTER_SECONDS
    }

    /// Whether the caches are filled.
    pub fn is_ready(&self) -> bool {
        self.0.synced.load(Ordering::Relaxed)
    }

    fn answer(&self, path: &str, now: Timestamp) -> Response<Full<Bytes>> {
        let well = if path == "/readyz" { self.is_ready() } else { self.is_alive(now) };
        let body = serde_json::json!({"now": now.to_string(), "alive": self.is_alive(now), "ready": self.is_ready()});
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        response
    }
}

/// Answers health questions on every path of a listener until dropped.
pub async fn serve(listener: TcpListener, health: Health) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let response = health.answer(request.uri().path(), Timestamp::now());
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_loop_is_not_alive() {
        let health = Health::default();
        let start = Timestamp::from_second(1_000).unwrap();
        health.alive(start, true);
        assert!(health.is_alive(start + jiff::SignedDuration::from_secs(59)));
        assert_eq!(health.answer("/healthz", start + jiff::SignedDuration::from_secs(60)).status(), 503);
        assert_eq!(health.answer("/readyz", start).status(), 200);
    }
}
