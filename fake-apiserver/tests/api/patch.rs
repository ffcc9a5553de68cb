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

/// What a real server of 1.36 answered, as `cargo xtask hunt` found it.
#[test]
fn an_empty_map_that_is_applied_is_owned_though_it_is_not_kept() {
    let mut cluster = Cluster::new();
    let apply = |annotations: Value| {
        let metadata = json!({"name": "x", "namespace": "default", "annotations": annotations});
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        Request::apply("me", "v1", "configmaps", body)
    };
    cluster.ok(&apply(json!({"n": "1"})));
    let emptied = cluster.ok(&apply(json!({})));
    assert_eq!(emptied["metadata"]["annotations"], Value::Null);
    let owned = &emptied["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(*owned, json!({"f:metadata": {"f:annotations": {}}}));
}

#[test]
fn owners_can_be_forgotten_also_where_one_of_them_owns_an_empty_map() {
    let mut cluster = Cluster::new();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}, "data": {}});
    let made = cluster.ok(&Request::apply("me", "v1", "configmaps", body));
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:data": {}}));
    let reset = json!([{"op": "add", "path": "/metadata/managedFields", "value": []}]);
    let reset = cluster.ok(&patch(PatchType::Json, reset));
    assert_eq!(reset["metadata"]["managedFields"], Value::Null);
    assert_ne!(reset["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

#[test]
fn a_patch_that_takes_the_name_away_is_refused_for_that() {
    let mut cluster = Cluster::new();
    cluster.configmap("x", json!({}));
    let refusal = cluster.refusal(&patch(PatchType::Merge, json!({"metadata": null})));
    let why = "the name of the object (x based on URL) was undeterminable: name must be provided";
    assert_eq!((refusal.code, refusal.message.as_str()), (400, why));
}

#[test]
fn a_name_that_is_still_taken_by_what_is_being_deleted_is_refused_for_that() {
    let mut cluster = Cluster::new();
    cluster.configmap("x", json!({}));
    cluster.ok(&patch(PatchType::Merge, json!({"metadata": {"finalizers": ["example.org/a"]}})));
    cluster.ok(&Request::delete("v1", "configmaps").namespace("default").name("x"));
    let again =
        Request::create("v1", "configmaps", json!({"metadata": {"name": "x", "namespace": "default"}}));
    let refusal = cluster.refusal(&again);
    let why = "object is being deleted: configmaps \"x\" already exists";
    assert_eq!((refusal.code, refusal.message.as_str()), (409, why));
}

#[test]
fn each_operation_of_a_json_patch_sees_what_those_before_it_have_done() {
    let mut cluster = Cluster::new();
    cluster.configmap("x", json!({}));
    let operations = json!([
        {"op": "add", "path": "/metadata/labels", "value": {"a": "1"}},
        {"op": "replace", "path": "/metadata/labels/b", "value": "2"},
        {"op": "test", "path": "/metadata/labels/c", "value": null},
        {"op": "copy", "from": "/metadata/labels/c", "path": "/metadata/labels/d"},
    ]);
    let patched = cluster.ok(&patch(PatchType::Json, operations));
    assert_eq!(patched["metadata"]["labels"], json!({"a": "1", "b": "2", "d": ""}));
}
