//! The webhook that scripts configure: one HTTPS server, which answers what the step under way says, and keeps what it is asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fake_apiserver::face::tls::Identity;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The webhook, for as long as the runtime lives.
pub(crate) struct Hook {
    /// Where it listens; a path follows.
    pub(crate) url: String,
    /// The `caBundle` by which it is trusted.
    pub(crate) authority: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    replies: VecDeque<Value>,
    asked: Vec<Value>,
}

impl Hook {
    pub(crate) async fn start() -> Self {
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let identity = Identity::new(&[address]).unwrap();
        let acceptor = identity.acceptor().unwrap();
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request: http::Request<Incoming>| {
                        let state = Arc::clone(&state);
                        async move {
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            Ok::<_, Infallible>(answer(&state, &body))
                        }
                    });
                    // The API server keeps its connection or does not, as it likes.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, authority: BASE64.encode(identity.authority), state }
    }

    /// What is to be answered from now on, one reply a call; what is left of earlier ones is forgotten.
    pub(crate) fn expect(&self, replies: &[Value]) {
        *self.state.lock().unwrap() = State { replies: replies.iter().cloned().collect(), asked: Vec::new() };
    }

    /// The reviews that came since.
    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

fn answer(state: &Mutex<State>, body: &[u8]) -> Response<Full<Bytes>> {
    let review: Value = serde_json::from_slice(body).unwrap();
    let mut state = state.lock().unwrap();
    // A call that no step foresees is recorded, and allowed.
    let reply = state.replies.pop_front().unwrap_or_else(|| json!({"allowed": true}));
    let uid = review["request"]["uid"].clone();
    state.asked.push(review);
    let (code, text) = match reply["text"].as_str() {
        // What is no review at all.
        Some(text) => {
            (reply["code"].as_u64().unwrap_or(200), text.replace("<uid>", uid.as_str().unwrap_or_default()))
        }
        None => (200, review_of(uid, reply).to_string()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = http::StatusCode::from_u16(u16::try_from(code).unwrap()).unwrap();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// A reply with what it needs to be valid, as far as it does not say so itself: a patch is written as operations.
fn review_of(uid: Value, mut response: Value) -> Value {
    response["uid"] = uid;
    if response["patch"].is_array() {
        response["patch"] = json!(BASE64.encode(response["patch"].to_string()));
        if response["patchType"].is_null() {
            response["patchType"] = json!("JSONPatch");
        }
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}
