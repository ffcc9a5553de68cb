//! PUT.

use fake_apiserver::request::{FieldValidation, PatchType, Request};
use serde_json::{Value, json};

use crate::{Cluster, configmap, pod};

#[test]
fn a_stale_write_conflicts_and_a_fresh_one_moves_the_version() {
    let mut cluster = Cluster::new();
    let mut made = cluster.configmap("x", json!({}));
    made["data"]["a"] = json!("2");
    let written = cluster.ok(&Request::update("v1", "configmaps", made.clone()));
    assert_eq!(written["metadata"]["resourceVersion"], cluster.api.revision().to_string());
    made["data"]["a"] = json!("3");
    let status = cluster.refusal(&Request::update("v1", "configmaps", made.clone()));
    assert_eq!((status.code, status.reason), (409, "Conflict"));
    assert!(status.message.contains("the object has been modified"), "{}", status.message);
    made["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(cluster.ok(&Request::update("v1", "configmaps", made))["data"]["a"], "3");
}

#[test]
fn a_write_that_changes_nothing_keeps_the_version() {
    let mut cluster = Cluster::new();
    let made = cluster.configmap("x", json!({}));
    cluster.now += jiff::SignedDuration::from_secs(5);
    assert_eq!(cluster.ok(&Request::update("v1", "configmaps", made.clone())), made);
    let mut bare = made.clone();
    bare["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(cluster.ok(&Request::update("v1", "configmaps", bare)), made);
}

#[test]
fn what_the_server_sets_cannot_be_changed() {
    let mut cluster = Cluster::new();
    let made = cluster.configmap("x", json!({}));
    let mut other = made.clone();
    other["metadata"]["uid"] = json!("another");
    assert_eq!(cluster.refusal(&Request::update("v1", "configmaps", other)).code, 409);
    let mut timed = made.clone();
    timed["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(cluster.ok(&Request::update("v1", "configmaps", timed)), made);
    let mut gone = made.clone();
    gone["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
    assert_eq!(cluster.refusal(&Request::update("v1", "configmaps", gone)).code, 422);
    let renamed = Request::update("v1", "configmaps", made).name("y");
    assert_eq!(cluster.refusal(&renamed).code, 404);
}

#[test]
fn generation_counts_changes_of_the_spec_alone() {
    let mut cluster = Cluster::new();
    let body = json!({"metadata": {"name": "d", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let mut made = cluster.ok(&Request::create("apps/v1", "deployments", body));
    assert_eq!(made["metadata"]["generation"], 1);
    made["spec"]["replicas"] = json!(3);
    made["status"]["replicas"] = json!(9);
    let mut written = cluster.ok(&Request::update("apps/v1", "deployments", made));
    assert_eq!((written["metadata"]["generation"].as_i64(), &written["status"]), (Some(2), &json!({})));
    written["metadata"]["labels"] = json!({"x": "y"});
    let mut labelled = cluster.ok(&Request::update("apps/v1", "deployments", written));
    assert_eq!(labelled["metadata"]["generation"], 2);
    labelled["status"]["replicas"] = json!(3);
    labelled["spec"]["replicas"] = json!(7);
    let status = cluster.ok(&Request::update("apps/v1", "deployments", labelled).subresource("status"));
    assert_eq!((&status["status"]["replicas"], &status["spec"]["replicas"]), (&json!(3), &json!(3)));
    assert_eq!(status["metadata"]["generation"], 2);
}

#[test]
fn selectors_of_workloads_and_most_of_a_pod_are_immutable() {
    let mut cluster = Cluster::new();
    let mut made = cluster.ok(&Request::create("v1", "pods", pod("x")));
    made["spec"]["containers"][0]["image"] = json!("busybox:2");
    let mut made = cluster.ok(&Request::update("v1", "pods", made));
    made["spec"]["containers"][0]["command"] = json!(["true"]);
    let status = cluster.refusal(&Request::update("v1", "pods", made));
    assert!(status.message.contains("pod updates may not change fields other than"), "{}", status.message);
}

#[test]
fn leases_need_a_version_and_may_be_created_by_put() {
    let mut cluster = Cluster::new();
    let lease = json!({"metadata": {"name": "l", "namespace": "default"}, "spec": {"holderIdentity": "a"}});
    cluster.ok(&Request::update("coordination.k8s.io/v1", "leases", lease.clone()));
    let status = cluster.refusal(&Request::update("coordination.k8s.io/v1", "leases", lease));
    assert_eq!(status.code, 422);
    assert_eq!(status.details.causes[0].field, "metadata.resourceVersion");
    assert_eq!(cluster.refusal(&configmap("none")).code, 404);
}

/// What a real server of 1.36 answered, as `cargo xtask hunt` found it.
#[test]
fn who_owns_what_the_server_says_of_a_deletion_loses_it_to_an_update_that_does_not_say_it() {
    let mut cluster = Cluster::new();
    let body = json!({"metadata": {"name": "x", "namespace": "default", "finalizers": ["example.org/a"]}, "data": {"a": "1"}});
    cluster.ok(&Request::create("v1", "configmaps", body.clone()));
    cluster.ok(&Request::delete("v1", "configmaps").namespace("default").name("x"));
    let forget = json!([{"op": "add", "path": "/metadata/managedFields", "value": []}]);
    cluster.ok(&Request::patch(PatchType::Json, "v1", "configmaps", forget).namespace("default").name("x"));
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}});
    let owned = cluster.ok(&Request::apply("me", "v1", "configmaps", applied));
    let fields = |object: &Value| object["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"].clone();
    assert_eq!(fields(&owned)["f:deletionTimestamp"], json!({}));
    let updated = cluster.ok(&Request::update("v1", "configmaps", body));
    assert_eq!(fields(&updated)["f:deletionTimestamp"], Value::Null);
    assert_eq!(updated["metadata"]["deletionTimestamp"], owned["metadata"]["deletionTimestamp"]);
}

#[test]
fn an_unknown_field_is_told_too_when_the_write_is_refused_for_something_else() {
    let mut cluster = Cluster::new();
    cluster.configmap("x", json!({}));
    let body = json!({"metadata": {"name": "x", "namespace": "default", "resourceVersion": "1"}, "other": 1});
    let mut stale = Request::update("v1", "configmaps", body);
    stale.params.field_validation = FieldValidation::Warn;
    let refusal = cluster.refusal(&stale);
    assert_eq!(
        (refusal.code, refusal.warnings.as_slice()),
        (409, &["unknown field \"other\"".to_owned()][..])
    );
}
