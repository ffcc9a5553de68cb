//! Containers that are added to a running pod, as `kubectl debug` does.

use fake_apiserver::request::{PatchType, Request};
use serde_json::json;

use crate::{Cluster, pod};

fn patch(containers: serde_json::Value) -> Request {
    let body = json!({"spec": {"ephemeralContainers": containers}});
    let request = Request::patch(PatchType::Strategic, "v1", "pods", body);
    request.namespace("default").name("p").subresource("ephemeralcontainers")
}

#[test]
fn a_pod_gets_further_containers_and_keeps_the_rest() {
    let mut cluster = Cluster::new();
    cluster.ok(&Request::create("v1", "pods", pod("p")));
    let added = cluster.ok(&patch(json!([{"name": "debug", "image": "busybox"}])));
    let container = &added["spec"]["ephemeralContainers"][0];
    assert_eq!((&container["name"], &container["imagePullPolicy"]), (&json!("debug"), &json!("Always")));
    assert_eq!(added["metadata"]["generation"], 2);
    let mut whole = added.clone();
    whole["spec"]["containers"][0]["image"] = json!("other");
    let put = Request::update("v1", "pods", whole).subresource("ephemeralcontainers");
    assert_eq!(cluster.ok(&put)["spec"]["containers"], added["spec"]["containers"]);
}

#[test]
fn what_was_added_stays_as_it_is() {
    let mut cluster = Cluster::new();
    cluster.ok(&Request::create("v1", "pods", pod("p")));
    cluster.ok(&patch(json!([{"name": "debug", "image": "busybox"}])));
    let refused = cluster.refusal(&patch(json!([{"name": "debug", "image": "other"}])));
    assert_eq!((refused.code, refused.details.causes[0].field.as_str()), (422, "spec.ephemeralContainers"));
    let ports = json!([{"name": "two", "image": "i", "ports": [{"containerPort": 1}]}]);
    let refused = cluster.refusal(&patch(ports));
    assert_eq!(refused.details.causes[0].field, "spec.ephemeralContainers[0].ports");
    let lost = json!([{"name": "two", "image": "i", "targetContainerName": "nobody"}]);
    assert_eq!(cluster.refusal(&patch(lost)).details.causes[0].reason, "FieldValueNotFound");
    let mut with = pod("q");
    with["spec"]["ephemeralContainers"] = json!([{"name": "e", "image": "i"}]);
    assert_eq!(cluster.refusal(&Request::create("v1", "pods", with)).code, 422);
}
