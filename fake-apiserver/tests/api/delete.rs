//! DELETE.

use fake_apiserver::request::{PatchType, Request};
use serde_json::{Value, json};

use crate::{Cluster, configmap, configmaps, pod};

fn delete(name: &str) -> Request {
    Request::delete("v1", "configmaps").namespace("default").name(name)
}

#[test]
fn what_has_no_finalizers_goes_at_once() {
    let mut cluster = Cluster::new();
    let made = cluster.configmap("x", json!({}));
    let answer = cluster.ok(&delete("x"));
    assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(answer["details"], json!({"name": "x", "kind": "configmaps", "uid": made["metadata"]["uid"]}));
    assert_eq!(cluster.refusal(&configmap("x")).code, 404);
    assert_eq!(cluster.refusal(&delete("x")).code, 404);
}

#[test]
fn preconditions_protect_another_incarnation() {
    let mut cluster = Cluster::new();
    let made = cluster.configmap("x", json!({}));
    assert_eq!(cluster.refusal(&delete("x").only_uid("other")).code, 409);
    let version = json!({"preconditions": {"resourceVersion": "1"}});
    assert_eq!(cluster.refusal(&delete("x").body(version)).code, 409);
    cluster.ok(&delete("x").only_uid(made["metadata"]["uid"].as_str().unwrap()));
}

fn finalizers(cluster: &mut Cluster, name: &str, finalizers: Value) -> Value {
    let patch = json!({"metadata": {"finalizers": finalizers}});
    cluster.ok(&Request::patch(PatchType::Merge, "v1", "configmaps", patch).namespace("default").name(name))
}

#[test]
fn finalizers_hold_an_object_until_the_last_goes() {
    let mut cluster = Cluster::new();
    cluster.configmap("x", json!({}));
    finalizers(&mut cluster, "x", json!(["example.com/a", "example.com/b"]));
    let marked = cluster.ok(&delete("x"));
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
    cluster.now += jiff::SignedDuration::from_secs(60);
    let again = cluster.ok(&delete("x"));
    assert_eq!(again, marked, "the time of deletion does not move");
    let patch = json!({"metadata": {"finalizers": ["example.com/a", "example.com/b", "example.com/c"]}});
    let more = Request::patch(PatchType::Merge, "v1", "configmaps", patch).namespace("default").name("x");
    let status = cluster.refusal(&more);
    assert!(status.message.contains("no new finalizers can be added"), "{}", status.message);
    finalizers(&mut cluster, "x", json!(["example.com/a"]));
    assert!(cluster.ok(&configmap("x"))["metadata"]["deletionTimestamp"].is_string());
    finalizers(&mut cluster, "x", Value::Null);
    assert_eq!(cluster.refusal(&configmap("x")).code, 404);
}

#[test]
fn propagation_is_asked_of_the_garbage_collector_by_finalizers() {
    let mut cluster = Cluster::new();
    cluster.configmap("f", json!({}));
    cluster.configmap("o", json!({}));
    let foreground = cluster.ask(&delete("f").propagation("Foreground")).unwrap();
    assert_eq!(foreground.code, 200);
    assert_eq!(cluster.ok(&configmap("f"))["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let orphan = cluster.ok(&delete("o").body(json!({"propagationPolicy": "Orphan"})));
    assert_eq!(orphan["metadata"]["finalizers"], json!(["orphan"]));
    let background = cluster.ok(&delete("f").propagation("Background"));
    assert_eq!(background["kind"], "Status", "a later policy replaces the finalizer: {background}");
    assert_eq!(cluster.refusal(&delete("o").propagation("Sideways")).code, 422);
}

#[test]
fn pods_on_a_node_end_gracefully() {
    let mut cluster = Cluster::new();
    let gone = |cluster: &mut Cluster, name: &str| {
        cluster.ask(&Request::get("v1", "pods").namespace("default").name(name)).is_err()
    };
    let delete = |name: &str| Request::delete("v1", "pods").namespace("default").name(name);
    cluster.ok(&Request::create("v1", "pods", pod("waiting")));
    assert_eq!(cluster.ok(&delete("waiting"))["kind"], "Pod");
    assert!(gone(&mut cluster, "waiting"));

    for name in ["slow", "now"] {
        cluster.ok(&Request::create("v1", "pods", pod(name)));
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
        let mut bind =
            Request::create("v1", "pods", binding).namespace("default").name(name).subresource("binding");
        bind.namespace = Some("default".into());
        cluster.ok(&bind);
    }
    let slow = cluster.ok(&delete("slow"));
    assert_eq!(slow["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(slow["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
    assert!(!gone(&mut cluster, "slow"));
    let shorter = cluster.ok(&delete("slow").grace(5));
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    let longer = cluster.ok(&delete("slow").grace(50));
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 5);
    cluster.ok(&delete("slow").grace(0));
    assert!(gone(&mut cluster, "slow"));
    cluster.ok(&delete("now").grace(0));
    assert!(gone(&mut cluster, "now"));
}

#[test]
fn a_collection_is_deleted_by_selector() {
    let mut cluster = Cluster::new();
    cluster.configmap("a", json!({"app": "x"}));
    cluster.configmap("b", json!({"app": "x"}));
    cluster.configmap("c", json!({"app": "y"}));
    let gone =
        cluster.list(&Request::delete_collection("v1", "configmaps").namespace("default").labels("app=x"));
    assert_eq!(gone.items.len(), 2);
    assert_eq!(cluster.names(&configmaps()), ["c"]);
}

#[test]
fn a_namespace_waits_until_it_is_finalized() {
    let mut cluster = Cluster::new();
    cluster.ok(&Request::create("v1", "namespaces", json!({"metadata": {"name": "n"}})));
    let mut going = cluster.ok(&Request::delete("v1", "namespaces").name("n"));
    going["spec"]["finalizers"] = json!([]);
    cluster.ok(&Request::update("v1", "namespaces", going).subresource("finalize"));
    assert_eq!(cluster.refusal(&Request::get("v1", "namespaces").name("n")).code, 404);
    assert_eq!(cluster.refusal(&Request::delete("v1", "namespaces").name("default")).code, 403);
}
