//! POST.

use fake_apiserver::request::{FieldValidation, Request};
use serde_json::json;

use crate::{Cluster, configmap, configmaps, pod};

#[test]
fn a_new_object_gets_identity_time_and_version() {
    let mut cluster = Cluster::new();
    let made = cluster.configmap("x", json!({"app": "web"}));
    let metadata = &made["metadata"];
    assert_eq!(metadata["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert!(metadata["uid"].as_str().unwrap().len() == 36);
    assert_eq!(metadata["resourceVersion"], cluster.api.revision().to_string());
    assert!(metadata.get("generation").is_none(), "config maps have no generation");
    assert_eq!(metadata["managedFields"][0]["manager"], "unknown");
    assert_eq!((made["kind"].as_str(), made["apiVersion"].as_str()), (Some("ConfigMap"), Some("v1")));
    assert_eq!(cluster.ok(&configmap("x")), made);
}

#[test]
fn a_second_object_of_the_same_name_is_refused() {
    let mut cluster = Cluster::new();
    cluster.configmap("x", json!({}));
    let body = json!({"metadata": {"name": "x", "namespace": "default"}});
    let status = cluster.refusal(&Request::create("v1", "configmaps", body));
    assert_eq!((status.code, status.reason), (409, "AlreadyExists"));
    assert_eq!(status.message, "configmaps \"x\" already exists");
}

/// What is wrong with the object comes first, since it is the storage that minds; a dry run does not reach that and shows what was sent.
#[test]
fn a_new_object_has_no_version_yet() {
    let mut cluster = Cluster::new();
    let create = |name: &str, version: &str| {
        let metadata = json!({"name": name, "namespace": "default", "resourceVersion": version});
        Request::create("v1", "configmaps", json!({"metadata": metadata}))
    };
    let status = cluster.refusal(&create("x", "77"));
    assert_eq!((status.code, status.reason), (500, ""));
    assert_eq!(status.message, "resourceVersion should not be set on objects to be created");
    assert_eq!(cluster.refusal(&create("Bad_", "77")).code, 422);
    let dry = |version: &str| create("x", version).dry_run();
    assert_eq!(cluster.ok(&dry("77"))["metadata"]["resourceVersion"], "77");
    assert_eq!(cluster.ok(&dry("abc"))["metadata"]["resourceVersion"], "abc");
    cluster.configmap("x", json!({}));
    assert_eq!(cluster.refusal(&create("x", "77")).code, 500);
    assert_eq!(cluster.refusal(&dry("77")).code, 409);
}

#[test]
fn generated_names_are_distinct_and_repeatable() {
    let make = || {
        let mut cluster = Cluster::new();
        let body = json!({"metadata": {"generateName": "job-", "namespace": "default"}});
        let request = Request::create("v1", "configmaps", body);
        let names = [cluster.ok(&request), cluster.ok(&request)];
        names.map(|made| made["metadata"]["name"].as_str().unwrap().to_owned())
    };
    let [first, second] = make();
    assert_ne!(first, second);
    assert!(first.starts_with("job-") && first.len() == 9);
    assert_eq!(make(), [first, second]);
}

#[test]
fn names_labels_and_annotations_are_checked() {
    let mut cluster = Cluster::new();
    for metadata in [
        json!({"name": "Upper"}),
        json!({"name": "x", "labels": {"a b": "c"}}),
        json!({"name": "x", "labels": {"a": "white space"}}),
        json!({"name": "x", "annotations": {"/": "c"}}),
        json!({"name": "x", "finalizers": ["no good"]}),
        json!({}),
    ] {
        let mut body = json!({"metadata": metadata});
        body["metadata"]["namespace"] = json!("default");
        let status = cluster.refusal(&Request::create("v1", "configmaps", body));
        assert_eq!((status.code, status.reason), (422, "Invalid"), "{metadata}");
        assert!(!status.details.causes.is_empty());
    }
    let body = json!({"metadata": {"name": "x", "namespace": "default", "labels": {"a": 1}}});
    assert_eq!(cluster.refusal(&Request::create("v1", "configmaps", body)).code, 400);
}

#[test]
fn a_missing_namespace_is_404_and_a_terminating_one_403() {
    let mut cluster = Cluster::new();
    let inside = |namespace: &str| json!({"metadata": {"name": "x", "namespace": namespace}});
    let status = cluster.refusal(&Request::create("v1", "configmaps", inside("gone")));
    assert_eq!((status.code, status.message.as_str()), (404, "namespaces \"gone\" not found"));
    cluster.ok(&Request::create("v1", "namespaces", json!({"metadata": {"name": "going"}})));
    let going = cluster.ok(&Request::delete("v1", "namespaces").name("going"));
    assert_eq!(going["status"]["phase"], "Terminating");
    let status = cluster.refusal(&Request::create("v1", "configmaps", inside("going")));
    assert_eq!(status.code, 403);
    assert_eq!(status.details.causes[0].reason, "NamespaceTerminating");
}

#[test]
fn a_dry_run_answers_and_stores_nothing() {
    let mut cluster = Cluster::new();
    let before = cluster.api.revision();
    let made = cluster.ok(&Request::create("v1", "pods", pod("x")).dry_run());
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert!(made["metadata"]["uid"].is_string());
    assert_eq!(cluster.api.revision(), before);
    assert_eq!(cluster.refusal(&Request::get("v1", "pods").namespace("default").name("x")).code, 404);
}

#[test]
fn unknown_fields_are_dropped_warned_about_or_refused() {
    let mut cluster = Cluster::new();
    let mut body = pod("x");
    body["spec"]["foo"] = json!(1);
    let request = Request::create("v1", "pods", body);
    let status = cluster.refusal(&request.clone().field_validation(FieldValidation::Strict));
    assert_eq!(status.code, 400);
    assert!(
        status.message.contains("strict decoding error: unknown field \"spec.foo\""),
        "{}",
        status.message
    );
    let response = cluster.ask(&request.dry_run()).unwrap();
    assert_eq!(response.warnings, ["unknown field \"spec.foo\""]);
}

#[test]
fn paths_that_are_not_served_are_404_and_verbs_405() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.refusal(&Request::list("v1", "unicorns")).code, 404);
    assert_eq!(
        cluster.refusal(&Request::list("authorization.k8s.io/v1", "selfsubjectaccessreviews")).code,
        405
    );
    assert_eq!(cluster.refusal(&Request::get("v1", "nodes").namespace("default").name("x")).code, 404);
}

#[test]
fn the_namespaces_of_every_cluster_exist() {
    let mut cluster = Cluster::new();
    let names = cluster.names(&Request::list("v1", "namespaces"));
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    assert!(cluster.names(&configmaps()).is_empty());
}

/// What a real server of 1.36 answered, as `cargo xtask hunt` found it.
#[test]
fn what_is_said_of_an_object_is_said_too_when_its_name_is_taken() {
    let mut cluster = Cluster::new();
    let spec = json!({"clusterIP": "None", "externalIPs": ["10.9.0.1"]});
    let service = json!({"metadata": {"name": "x", "namespace": "default"}, "spec": spec});
    let request = Request::create("v1", "services", service);
    cluster.ok(&request);
    let refusal = cluster.refusal(&request);
    assert_eq!(
        (refusal.code, refusal.warnings.as_slice()),
        (409, &["spec.externalIPs is ignored for headless services".to_owned()][..])
    );
}

#[test]
fn a_null_in_a_map_or_list_is_the_zero_of_its_type() {
    let mut cluster = Cluster::new();
    let metadata = json!({"name": "x", "namespace": "default", "labels": {"a": null}, "annotations": null});
    let made =
        cluster.ok(&Request::create("v1", "configmaps", json!({"metadata": metadata, "data": {"a": null}})));
    assert_eq!((&made["data"], &made["metadata"]["labels"]), (&json!({"a": ""}), &json!({"a": ""})));
    let quota = json!({"metadata": metadata, "spec": {"hard": {"pods": null}}});
    assert_eq!(
        cluster.ok(&Request::create("v1", "resourcequotas", quota))["spec"]["hard"],
        json!({"pods": "0"})
    );
}
