use serde_json::json;

use super::cluster::{Cluster, condition, pod};

#[test]
fn the_simulated_node_is_ready_and_costs_no_writes_while_nothing_happens() {
    let mut cluster = Cluster::new();
    let node = cluster.get("Node", "node-1");
    assert_eq!(condition(&node, "Ready")["reason"], "KubeletReady");
    assert_eq!(node["status"]["allocatable"], node["status"]["capacity"]);
    cluster.create(pod("a"));
    let before = cluster.server.revision();
    cluster.pass(600);
    assert_eq!(cluster.server.revision(), before);
}

#[test]
fn pods_of_a_lost_node_are_not_ready_and_are_deleted_after_five_minutes() {
    let mut cluster = Cluster::new();
    cluster.create(pod("a"));
    let lost = json!({"metadata": {"annotations": {"fake-apiserver.dev/lost": "true"}}});
    cluster.patch("Node", "node-1", lost);
    assert_eq!(condition(&cluster.get("Node", "node-1"), "Ready")["status"], "Unknown");
    let ready = condition(&cluster.get("Pod", "a"), "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("NodeNotReady")));
    cluster.pass(299);
    assert!(cluster.get("Pod", "a")["metadata"]["deletionTimestamp"].is_null());
    cluster.pass(100);
    assert!(
        cluster.get("Pod", "a")["metadata"]["deletionTimestamp"].is_string(),
        "stuck: no kubelet ends it"
    );
    cluster.patch("Node", "node-1", json!({"metadata": {"annotations": {"fake-apiserver.dev/lost": null}}}));
    assert_eq!(cluster.find("Pod", "a"), None);
    assert_eq!(condition(&cluster.get("Node", "node-1"), "Ready")["status"], "True");
    assert!(cluster.get("Node", "node-1")["spec"]["taints"].as_array().is_none_or(Vec::is_empty));
}

#[test]
fn pods_of_a_node_that_is_deleted_go() {
    let mut cluster = Cluster::new();
    cluster.create(pod("a"));
    cluster.delete("Node", "node-1");
    assert_eq!(cluster.find("Pod", "a"), None);
}
