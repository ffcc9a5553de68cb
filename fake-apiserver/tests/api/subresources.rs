//! Subresources and reviews.

use fake_apiserver::request::{PatchType, Request};
use serde_json::json;

use crate::{Cluster, pod};

fn deployment() -> Request {
    let body = json!({"metadata": {"name": "d", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    Request::create("apps/v1", "deployments", body)
}

#[test]
fn scale_reads_and_writes_the_replicas() {
    let mut cluster = Cluster::new();
    cluster.ok(&deployment());
    let at = |request: Request| request.namespace("default").name("d").subresource("scale");
    let scale = cluster.ok(&at(Request::get("apps/v1", "deployments")));
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(1)));
    assert_eq!(scale["status"], json!({"replicas": 0, "selector": "a=b"}));
    let change = json!({"spec": {"replicas": 4}});
    let scale = cluster.ok(&at(Request::patch(PatchType::Merge, "apps/v1", "deployments", change)));
    assert_eq!(scale["spec"]["replicas"], 4);
    let written = cluster.ok(&Request::get("apps/v1", "deployments").namespace("default").name("d"));
    assert_eq!((&written["spec"]["replicas"], &written["metadata"]["generation"]), (&json!(4), &json!(2)));
    let negative = json!({"spec": {"replicas": -1}});
    let negative = at(Request::patch(PatchType::Merge, "apps/v1", "deployments", negative));
    assert_eq!(cluster.refusal(&negative).code, 422);
    let stale = json!({"metadata": {"name": "d", "resourceVersion": "1"}, "spec": {"replicas": 2}});
    assert_eq!(cluster.refusal(&at(Request::update("apps/v1", "deployments", stale))).code, 409);
}

#[test]
fn a_pod_is_bound_once() {
    let mut cluster = Cluster::new();
    cluster.ok(&Request::create("v1", "pods", pod("p")));
    let bind = || {
        let body = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
        Request::create("v1", "pods", body).namespace("default").name("p").subresource("binding")
    };
    cluster.ok(&bind());
    let bound = cluster.ok(&Request::get("v1", "pods").namespace("default").name("p"));
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(cluster.refusal(&bind()).code, 409);
}

#[test]
fn an_eviction_deletes_unless_a_budget_refuses() {
    let mut cluster = Cluster::new();
    let mut body = pod("p");
    body["metadata"]["labels"] = json!({"a": "b"});
    cluster.ok(&Request::create("v1", "pods", body));
    let budget = json!({"metadata": {"name": "b", "namespace": "default"}, "spec": {"minAvailable": 1,
        "selector": {"matchLabels": {"a": "b"}}}});
    cluster.ok(&Request::create("policy/v1", "poddisruptionbudgets", budget));
    let running = json!({"status": {"phase": "Running"}});
    let status = Request::patch(PatchType::Merge, "v1", "pods", running).subresource("status");
    cluster.ok(&status.namespace("default").name("p"));
    let evict = Request::create("v1", "pods", json!({"metadata": {"name": "p"}}));
    let evict = evict.namespace("default").name("p").subresource("eviction");
    assert_eq!(cluster.refusal(&evict).code, 429);
    cluster.ok(&Request::delete("policy/v1", "poddisruptionbudgets").namespace("default").name("b"));
    cluster.ok(&evict);
    assert_eq!(cluster.refusal(&evict).code, 404);
}

#[test]
fn logs_of_simulated_pods_are_text() {
    let mut cluster = Cluster::new();
    let mut body = pod("p");
    body["metadata"]["annotations"] = json!({"fake-apiserver/log": "one\ntwo\nthree\n"});
    cluster.ok(&Request::create("v1", "pods", body));
    let mut log = Request::get("v1", "pods").namespace("default").name("p").subresource("log");
    let status = cluster.refusal(&log);
    assert!(status.message.contains("is waiting to start: ContainerCreating"), "{}", status.message);
    let running = json!({"status": {"containerStatuses": [{"name": "main", "ready": true, "restartCount": 0,
        "image": "busybox", "imageID": "", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
    let patch = Request::patch(PatchType::Merge, "v1", "pods", running).subresource("status");
    cluster.ok(&patch.namespace("default").name("p"));
    log.params.log.tail_lines = Some(2);
    match cluster.ask(&log).unwrap().reply {
        fake_apiserver::response::Reply::Text(text) => assert_eq!(text, "two\nthree\n"),
        other => panic!("{other:?}"),
    }
    log.params.container = Some("none".into());
    assert_eq!(cluster.refusal(&log).code, 400);
}

#[test]
fn reviews_say_that_everything_is_allowed_and_who_asks() {
    let mut cluster = Cluster::new();
    let review = |kind: &str, body| {
        Request::create(kind.rsplit_once('/').unwrap().0, kind.rsplit_once('/').unwrap().1, body)
    };
    let access = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let access = cluster.ok(&review("authorization.k8s.io/v1/selfsubjectaccessreviews", access));
    assert_eq!(access["status"]["allowed"], true);
    let me = cluster.ok(&review("authentication.k8s.io/v1/selfsubjectreviews", json!({})));
    assert_eq!(me["status"]["userInfo"]["username"], "admin");
    cluster.ok(&Request::create(
        "v1",
        "serviceaccounts",
        json!({"metadata": {"name": "sa", "namespace": "default"}}),
    ));
    let token = Request::create("v1", "serviceaccounts", json!({"spec": {}})).namespace("default").name("sa");
    let token = cluster.ok(&token.subresource("token"))["status"]["token"].clone();
    let who = cluster.ok(&review("authentication.k8s.io/v1/tokenreviews", json!({"spec": {"token": token}})));
    assert_eq!(who["status"]["user"]["username"], "system:serviceaccount:default:sa");
    let who = cluster.ok(&review("authentication.k8s.io/v1/tokenreviews", json!({"spec": {"token": "x"}})));
    assert!(who["status"].get("authenticated").is_none());
}

/// What a real server of 1.36 answered, as `cargo xtask hunt` found it.
#[test]
fn applying_the_status_of_a_service_that_is_not_there_tries_to_make_it() {
    let mut cluster = Cluster::new();
    let apply = |version: &str, kind: &str, plural: &str| {
        let metadata = json!({"name": "x", "namespace": "default"});
        let body = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
        Request::apply("me", version, plural, body).subresource("status")
    };
    let refusal = cluster.refusal(&apply("v1", "Service", "services"));
    assert_eq!(refusal.message, "Service \"x\" is invalid: spec.ports: Required value");
    assert_eq!(cluster.refusal(&apply("v1", "ResourceQuota", "resourcequotas")).code, 404);
}

#[test]
fn a_scale_of_none_owns_no_replicas() {
    let mut cluster = Cluster::new();
    cluster.ok(&deployment());
    let mut scale = |replicas: i64| {
        let body = json!({"spec": {"replicas": replicas}});
        let request = Request::patch(PatchType::Merge, "apps/v1", "deployments", body).namespace("default");
        cluster.ok(&request.name("d").subresource("scale").manager("me"));
        let made = cluster.ok(&Request::get("apps/v1", "deployments").namespace("default").name("d"));
        let owners = made["metadata"]["managedFields"].as_array().unwrap().clone();
        owners.iter().any(|owner| owner["subresource"] == "scale")
    };
    assert_eq!((scale(5), scale(0)), (true, false));
}

/// What a real server of 1.36 answered: entries of the object and of its Scale differ in their versions, so that they are taken apart.
#[test]
fn a_scale_that_changes_nothing_takes_the_replicas_out_of_their_owners_entry() {
    let mut cluster = Cluster::new();
    cluster.ok(&deployment().manager("red"));
    let mut owners = |manager: &str, replicas: i64| {
        let body = json!({"spec": {"replicas": replicas}});
        let request = Request::patch(PatchType::Merge, "apps/v1", "deployments", body).namespace("default");
        let before = cluster.ok(&Request::get("apps/v1", "deployments").namespace("default").name("d"));
        let replicas = if replicas < 0 { before["spec"]["replicas"].clone() } else { json!(replicas) };
        let request = Request { body: Some(json!({"spec": {"replicas": replicas}})), ..request };
        cluster.ok(&request.name("d").subresource("scale").manager(manager));
        let object = cluster.ok(&Request::get("apps/v1", "deployments").namespace("default").name("d"));
        let entries = object["metadata"]["managedFields"].as_array().unwrap().clone();
        let owning = entries.iter().filter(|entry| entry["fieldsV1"]["f:spec"]["f:replicas"].is_object());
        (entries.len(), owning.map(|entry| entry["manager"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(owners("blue", -1), (2, vec!["red".to_owned()]), "the same, in an entry of its own");
    assert_eq!(
        owners("blue", 7),
        (1, vec![]),
        "two entries of one identity are one again, and nobody is recorded"
    );
}

#[test]
fn an_eviction_names_the_pod_of_its_url() {
    let mut cluster = Cluster::new();
    let eviction = Request::create("v1", "pods", json!({"metadata": {"name": "other"}}));
    let refusal = cluster.refusal(&eviction.namespace("default").name("p").subresource("eviction"));
    assert_eq!(
        (refusal.code, refusal.message.as_str()),
        (400, "name in URL does not match name in Eviction object")
    );
}
