//! What the client's store does when the server says no, says nothing or forgets.

use std::sync::{Arc, Mutex};

use ::kube::client::Body;
use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;
use crate::store::ext;

/// A server that gives these answers, in this order, and then none.
fn scripted(answers: Vec<(u16, Value)>) -> KubeStore {
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let service = tower::service_fn(move |_: Request<Body>| {
        let next = answers.lock().expect("no poison").next();
        async move {
            let Some((code, body)) = next else { return future::pending().await };
            let body = Body::from(serde_json::to_vec(&body).expect("JSON"));
            Ok::<_, std::convert::Infallible>(
                Response::builder().status(code).body(body).expect("a response"),
            )
        }
    });
    KubeStore::new(Client::new(service, "default"))
}

fn list(version: &str, token: &str, names: &[&str]) -> (u16, Value) {
    let items: Vec<_> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    let metadata = json!({"resourceVersion": version, "continue": token});
    (200, json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": items}))
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_history_is_gone_starts_over_without_an_error() {
    let gone = json!({"type": "ERROR", "object": status(410, "Expired")});
    let store = scripted(vec![list("5", "", &[]), (200, gone), list("9", "", &["x"])]);
    let mut events = store.watch(&ext::resource::<ConfigMap>(), &Scope::everywhere());
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(match events.next().await.expect("a watch never ends").expect("no error") {
            Event::Init => "init",
            Event::InitApply(_) => "init-apply",
            Event::InitDone => "init-done",
            Event::Apply(_) => "apply",
            Event::Delete(_) => "delete",
        });
    }
    assert_eq!(told, ["init", "init-done", "init", "init-apply", "init-done"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_after_an_error() {
    let store = scripted(vec![(500, status(500, "InternalError")), list("9", "", &["x"])]);
    let mut events = store.watch(&ext::resource::<ConfigMap>(), &Scope::everywhere());
    let mut failed = 0;
    loop {
        match events.next().await.expect("a watch never ends") {
            Ok(Event::InitDone) => break,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.reason(), "Transient");
                failed += 1;
            }
        }
    }
    assert_eq!(failed, 1);
}

#[tokio::test]
async fn a_list_whose_pages_expire_is_begun_anew() {
    let store =
        scripted(vec![list("5", "next", &["a"]), (410, status(410, "Expired")), list("9", "", &["b", "c"])]);
    let objects = store.list(&ext::resource::<ConfigMap>(), &Scope::everywhere()).await.expect("a list");
    let names: Vec<_> = objects.iter().filter_map(|object| object.metadata.name.as_deref()).collect();
    assert_eq!(names, ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_is_transient() {
    let store = scripted(Vec::new());
    let key = ObjectKey::namespaced("ns", "x");
    let error = store.get(&ext::resource::<ConfigMap>(), &key).await.expect_err("no answer");
    assert_eq!(
        error.to_string(),
        "ConfigMap ns/x could not be processed for now: no answer for 65 s; try again"
    );
}

#[tokio::test]
async fn the_server_says_how_long_to_wait() {
    let mut busy = status(429, "TooManyRequests");
    busy["details"] = json!({"retryAfterSeconds": 7});
    let store = scripted(vec![(429, busy)]);
    let error = store.list(&ext::resource::<ConfigMap>(), &Scope::everywhere()).await.expect_err("busy");
    let expected = Some(Duration::from_secs(7));
    assert!(matches!(error, StoreError::Transient { retry_after, .. } if retry_after == expected), "{error}");
}
