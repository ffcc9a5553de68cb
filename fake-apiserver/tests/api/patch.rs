//! PATCH.

use fake_apiserver::request::{PatchType, Request};
use serde_json::{Value, json};

use crate::{Cluster, pod};

fn patch(kind: PatchType, body: Value) -> Request {
    Request::patch(kind, "v1", "configmaps", body).namespace("default").name("x")
}

#[test]
fn json_and_merge_patches_change_what_they_name() {
    let mut cluster = Cluster::new();
    cluster.configmap("x", json!({}));
    let merged = cluster.ok(&patch(PatchType::Merge, json!({"data": {"b": "2", "a": null}})));
    assert_eq!(merged["data"], json!({"b": "2"}));
    let added = cluster.ok(&patch(PatchType::Json, json!([{"op": "add", "path": "/data/c", "value": "3"}])));
    assert_eq!(added["data"], json!({"b": "2", "c": "3"}));
    let failed = patch(PatchType::Json, json!([{"op": "test", "path": "/data/c", "value": "4"}]));
    assert_eq!(cluster.refusal(&failed).code, 422);
    let stale = patch(PatchType::Merge, json!({"metadata": {"resourceVersion": "1"}, "data": {"z": "1"}}));
    assert_eq!(cluster.refusal(&stale).code, 409);
    let none = patch(PatchType::Merge, json!({})).name("none");
    assert_eq!(cluster.refusal(&none).code, 404);
}

#[test]
fn a_patch_that_changes_nothing_keeps_the_version() {
    let mut cluster = Cluster::new();
    let made = cluster.configmap("x", json!({"a": "b"}));
    assert_eq!(cluster.ok(&patch(PatchType::Merge, json!({"metadata": {"labels": {"a": "b"}}}))), made);
}

#[test]
fn strategic_patches_merge_lists_by_their_keys() {
    let mut cluster = Cluster::new();
    cluster.ok(&Request::create("v1", "pods", pod("p")));
    let change = json!({"spec": {"containers": [{"name": "main", "image": "busybox:2"}]}});
    let request = Request::patch(PatchType::Strategic, "v1", "pods", change).namespace("default").name("p");
    let patched = cluster.ok(&request);
    assert_eq!(patched["spec"]["containers"][0]["image"], "busybox:2");
    assert_eq!(patched["spec"]["containers"][0]["terminationMessagePath"], "/dev/termination-log");
}

#[test]
fn apply_creates_owns_and_removes() {
    let mut cluster = Cluster::new();
    let apply = |data: Value| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"},
            "data": data});
        Request::apply("me", "v1", "configmaps", body)
    };
    let response = cluster.ask(&apply(json!({"a": "1", "b": "2"}))).unwrap();
    assert_eq!(response.code, 201);
    let first = cluster.ok(&apply(json!({"a": "1", "b": "2"})));
    assert_eq!(first["metadata"]["managedFields"][0]["operation"], "Apply");
    cluster.now += jiff::SignedDuration::from_secs(9);
    assert_eq!(cluster.ok(&apply(json!({"a": "1", "b": "2"}))), first, "nothing changed");
    assert_eq!(cluster.ok(&apply(json!({"a": "1"})))["data"], json!({"a": "1"}));
    let theirs = apply(json!({"a": "9"})).manager("you");
    let status = cluster.refusal(&theirs);
    assert_eq!((status.code, status.details.causes[0].reason.as_str()), (409, "FieldManagerConflict"));
    assert_eq!(cluster.ok(&theirs.force())["data"], json!({"a": "9"}));
}
