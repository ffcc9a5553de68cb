//! WATCH.

use fake_apiserver::request::{PatchType, Request};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::{Cluster, configmaps};

fn watch() -> Request {
    Request::watch("v1", "configmaps").namespace("default")
}

fn relabel(cluster: &mut Cluster, name: &str, app: &str) -> Value {
    let patch = json!({"metadata": {"labels": {"app": app}}});
    cluster.ok(&Request::patch(PatchType::Merge, "v1", "configmaps", patch).namespace("default").name(name))
}

fn delete(cluster: &mut Cluster, name: &str) {
    cluster.ok(&Request::delete("v1", "configmaps").namespace("default").name(name));
}

#[test]
fn a_watch_without_a_version_begins_with_the_state() {
    let mut cluster = Cluster::new();
    cluster.configmap("a", json!({}));
    let mut any = cluster.watch(&watch());
    let mut zero = cluster.watch(&watch().resource_version(0));
    cluster.configmap("b", json!({}));
    assert_eq!(cluster.seen(&mut any), ["ADDED a", "ADDED b"]);
    assert_eq!(cluster.seen(&mut zero), ["ADDED a", "ADDED b"]);
    assert!(cluster.seen(&mut any).is_empty());
}

#[test]
fn a_watch_resumes_after_its_version() {
    let mut cluster = Cluster::new();
    cluster.configmap("a", json!({}));
    let from = cluster.api.revision();
    relabel(&mut cluster, "a", "x");
    delete(&mut cluster, "a");
    let mut watch = cluster.watch(&watch().resource_version(from));
    let events = cluster.events(&mut watch);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].kind.as_str(), "DELETED");
    assert_eq!(
        events[1].object.meta.resource_version,
        cluster.api.revision(),
        "the revision of the deletion"
    );
    assert_eq!(events[1].object.meta.labels["app"], "x");
}

#[test]
fn entering_and_leaving_a_selector_is_added_and_deleted() {
    let mut cluster = Cluster::new();
    cluster.configmap("a", json!({"app": "x"}));
    let mut watch = cluster.watch(&watch().labels("app=x").resource_version(cluster.api.revision()));
    let left = relabel(&mut cluster, "a", "y");
    let events = cluster.events(&mut watch);
    assert_eq!(events[0].kind.as_str(), "DELETED");
    assert_eq!(events[0].object.meta.labels["app"], "x", "its last matching state");
    assert_eq!(events[0].object.meta.resource_version.to_string(), left["metadata"]["resourceVersion"]);
    relabel(&mut cluster, "a", "x");
    assert_eq!(cluster.seen(&mut watch), ["ADDED a"]);
}

#[test]
fn a_watch_that_falls_out_of_history_is_410() {
    let mut cluster = Cluster::with_history(3);
    let from = cluster.api.revision();
    let mut slow = cluster.watch(&watch().resource_version(from));
    for name in ["a", "b", "c", "d"] {
        cluster.configmap(name, json!({}));
    }
    let gone = cluster.api.poll_watch(&mut slow, 10).unwrap_err();
    assert_eq!((gone.code, gone.reason), (410, "Expired"));
    assert!(gone.message.starts_with("too old resource version"), "{}", gone.message);
}

#[test]
fn a_streaming_list_ends_its_state_with_a_bookmark() {
    let mut cluster = Cluster::new();
    cluster.configmap("a", json!({}));
    let mut request = watch().resource_version_match("NotOlderThan");
    request.params.send_initial_events = Some(true);
    request.params.allow_watch_bookmarks = true;
    let mut stream = cluster.watch(&request);
    let events = cluster.events(&mut stream);
    let bookmark = events[1].object.value();
    assert_eq!((events.len(), events[1].kind.as_str()), (2, "BOOKMARK"));
    assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((&bookmark["kind"], &bookmark["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(bookmark["metadata"]["resourceVersion"], cluster.api.revision().to_string());
    request.params.resource_version_match = None;
    assert_eq!(cluster.refusal(&request).code, 422);
}

#[test]
fn bookmarks_tell_how_far_a_quiet_watch_has_come() {
    let mut cluster = Cluster::new();
    let mut quiet = cluster.watch(&watch());
    cluster.ok(&Request::create("v1", "namespaces", json!({"metadata": {"name": "n"}})));
    assert!(cluster.seen(&mut quiet).is_empty());
    let bookmark = cluster.api.bookmark(&quiet).object.value();
    assert_eq!(bookmark["metadata"]["resourceVersion"], cluster.api.revision().to_string());
}

/// What a client knows: names with their versions.
type Known = BTreeMap<String, u64>;

fn listed(cluster: &mut Cluster, selector: &str) -> (Known, u64) {
    let list = cluster.list(&configmaps().labels(selector));
    let known = list.items.iter().map(|o| (o.key.name.clone(), o.meta.resource_version)).collect();
    (known, list.resource_version)
}

fn act(cluster: &mut Cluster, (what, name): (u8, u8)) {
    let name = format!("n{name}");
    let exists = cluster.ask(&crate::configmap(&name)).is_ok();
    match (what, exists) {
        (_, false) => drop(cluster.configmap(&name, json!({"app": if what == 0 { "x" } else { "y" }}))),
        (0, true) => delete(cluster, &name),
        (1, true) => drop(relabel(cluster, &name, "x")),
        (_, true) => drop(relabel(cluster, &name, "y")),
    }
}

proptest! {
    #[test]
    fn a_list_and_the_watch_after_it_know_what_a_later_list_knows(
        before in prop::collection::vec((0_u8..3, 0_u8..5), 0..20),
        after in prop::collection::vec((0_u8..3, 0_u8..5), 0..30),
        batch in 1_usize..5,
        selector in prop::sample::select(vec!["", "app=x", "app!=x"]),
    ) {
        let mut cluster = Cluster::new();
        for step in before {
            act(&mut cluster, step);
        }
        let (mut known, version) = listed(&mut cluster, selector);
        let then = known.clone();
        let mut watch = cluster.watch(&watch().labels(selector).resource_version(version));
        for step in after {
            act(&mut cluster, step);
        }
        let mut last = version;
        loop {
            let events = cluster.api.poll_watch(&mut watch, batch).unwrap();
            if events.is_empty() {
                break;
            }
            for event in events {
                let (name, at) = (event.object.key.name.clone(), event.object.meta.resource_version);
                prop_assert!(at > last, "events come in the order of their revisions");
                last = at;
                match event.kind.as_str() {
                    "ADDED" => prop_assert!(known.insert(name, at).is_none()),
                    "MODIFIED" => prop_assert!(known.insert(name, at).is_some()),
                    _ => prop_assert!(known.remove(&name).is_some()),
                }
            }
        }
        prop_assert_eq!(known, listed(&mut cluster, selector).0);
        let exact = configmaps().labels(selector).resource_version(version).resource_version_match("Exact");
        let again: Known = cluster.list(&exact).items.iter().map(|o| (o.key.name.clone(), o.meta.resource_version)).collect();
        prop_assert_eq!(again, then, "history shows the old state");
    }
}
