use fake_apiserver::controllers::{NodeOptions, Options};
use serde_json::json;

use super::cluster::{Cluster, workload};

fn three_nodes() -> Options {
    let node = |n: u32| NodeOptions {
        name: format!("node-{n}"),
        address: format!("10.0.0.{n}"),
        ..NodeOptions::default()
    };
    Options { nodes: (1..=3).map(node).collect(), ..Options::default() }
}

#[test]
fn one_pod_runs_on_each_node() {
    let mut cluster = Cluster::with(three_nodes());
    cluster.create(workload("DaemonSet", "agent", 0));
    let mut nodes: Vec<_> = cluster.list("Pod").iter().map(|pod| pod["spec"]["nodeName"].clone()).collect();
    nodes.sort_by_key(ToString::to_string);
    assert_eq!(nodes, ["node-1", "node-2", "node-3"]);
    let status = cluster.get("DaemonSet", "agent")["status"].clone();
    for field in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "numberAvailable",
        "updatedNumberScheduled",
    ] {
        assert_eq!(status[field], 3, "{field} in {status}");
    }
    assert_eq!(status["numberMisscheduled"], 0);
}

#[test]
fn a_node_selector_narrows_the_nodes_and_a_new_label_widens_them() {
    let mut cluster = Cluster::with(three_nodes());
    let mut set = workload("DaemonSet", "agent", 0);
    set["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "fast"});
    cluster.create(set);
    assert_eq!(cluster.names("Pod").len(), 0);
    cluster.patch("Node", "node-2", json!({"metadata": {"labels": {"disk": "fast"}}}));
    assert_eq!(cluster.list("Pod")[0]["spec"]["nodeName"], "node-2");
    cluster.patch("Node", "node-2", json!({"metadata": {"labels": {"disk": null}}}));
    assert_eq!(cluster.names("Pod").len(), 0);
}

#[test]
fn an_update_replaces_every_pod() {
    let mut cluster = Cluster::with(three_nodes());
    cluster.create(workload("DaemonSet", "agent", 0));
    let containers = json!([{"name": "main", "image": "example.com/image:2"}]);
    cluster.patch("DaemonSet", "agent", json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    for pod in cluster.list("Pod") {
        assert_eq!(pod["spec"]["containers"][0]["image"], "example.com/image:2");
    }
    assert_eq!(cluster.get("DaemonSet", "agent")["status"]["updatedNumberScheduled"], 3);
}
