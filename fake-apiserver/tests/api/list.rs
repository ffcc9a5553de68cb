//! GET of collections.

use fake_apiserver::request::Request;
use serde_json::json;

use crate::{Cluster, configmaps, pod};

fn five(cluster: &mut Cluster) {
    for name in ["a", "b", "c", "d", "e"] {
        cluster.configmap(name, json!({"app": if name < "c" { "x" } else { "y" }}));
    }
}

#[test]
fn selectors_narrow_a_list() {
    let mut cluster = Cluster::new();
    five(&mut cluster);
    for (selector, wanted) in
        [("app=x", "ab"), ("app!=x", "cde"), ("app in (x,y),app notin (y)", "ab"), ("!app", "")]
    {
        assert_eq!(cluster.names(&configmaps().labels(selector)).concat(), wanted, "{selector}");
    }
    assert_eq!(cluster.names(&configmaps().fields("metadata.name=b,metadata.name=b")), ["b"]);
    assert_eq!(cluster.names(&configmaps().fields("metadata.name!=b")).concat(), "acde");
    assert_eq!(cluster.refusal(&configmaps().fields("spec.foo=b")).code, 400);
    assert_eq!(cluster.refusal(&configmaps().labels("a b")).code, 400);
    let everywhere = Request::list("v1", "configmaps").fields("metadata.namespace=default,metadata.name=c");
    assert_eq!(cluster.names(&everywhere), ["c"]);
}

#[test]
fn pods_are_selected_by_node_and_phase() {
    let mut cluster = Cluster::new();
    let mut on_node = pod("x");
    on_node["spec"]["nodeName"] = json!("n1");
    cluster.ok(&Request::create("v1", "pods", on_node));
    cluster.ok(&Request::create("v1", "pods", pod("y")));
    let pods = |fields: &str| Request::list("v1", "pods").fields(fields);
    assert_eq!(cluster.names(&pods("spec.nodeName=n1")), ["x"]);
    assert_eq!(cluster.names(&pods("spec.nodeName=")), ["y"]);
    assert_eq!(cluster.names(&pods("status.phase=Pending,spec.restartPolicy=Always")).len(), 2);
}

#[test]
fn pages_show_one_revision_while_the_world_moves_on() {
    let mut cluster = Cluster::new();
    five(&mut cluster);
    let first = cluster.list(&configmaps().limit(2));
    assert_eq!((first.items.len(), first.remaining), (2, Some(3)));
    cluster.ok(&Request::delete("v1", "configmaps").namespace("default").name("d"));
    cluster.configmap("cc", json!({}));
    let token = first.continue_token.unwrap();
    let rest = cluster.list(&configmaps().limit(10).continue_from(&token));
    let names: Vec<&str> = rest.items.iter().map(|object| object.key.name.as_str()).collect();
    assert_eq!(names, ["c", "d", "e"]);
    assert_eq!((rest.resource_version, rest.continue_token), (first.resource_version, None));
    assert_eq!(cluster.refusal(&configmaps().continue_from("nonsense")).code, 400);
}

#[test]
fn a_forgotten_page_is_410_and_offers_a_token_that_goes_on() {
    let mut cluster = Cluster::new();
    five(&mut cluster);
    let token = cluster.list(&configmaps().limit(2)).continue_token.unwrap();
    cluster.configmap("f", json!({}));
    cluster.api.compact(cluster.api.revision());
    let status = cluster.refusal(&configmaps().limit(2).continue_from(&token));
    assert_eq!((status.code, status.reason), (410, "Expired"));
    let token = status.to_value()["metadata"]["continue"].as_str().unwrap().to_owned();
    assert_eq!(cluster.names(&configmaps().continue_from(&token)).concat(), "cdef");
}

#[test]
fn resource_versions_choose_the_state() {
    let mut cluster = Cluster::new();
    five(&mut cluster);
    let then = cluster.api.revision();
    cluster.configmap("f", json!({}));
    let exact = configmaps().resource_version(then).resource_version_match("Exact");
    let list = cluster.list(&exact);
    assert_eq!((list.items.len(), list.resource_version), (5, then));
    for newest in [configmaps(), configmaps().resource_version(0), configmaps().resource_version(then)] {
        assert_eq!(cluster.names(&newest).len(), 6);
    }
    let future = cluster.refusal(&configmaps().resource_version(then + 100));
    assert_eq!((future.code, future.reason), (504, "Timeout"));
    assert!(future.message.starts_with("Timeout: Too large resource version"));
    assert_eq!(cluster.refusal(&configmaps().resource_version("x")).code, 400);
    assert_eq!(cluster.refusal(&configmaps().resource_version_match("Exact")).code, 422);
    cluster.api.compact(then + 1);
    assert_eq!(cluster.refusal(&exact).code, 410);
}
