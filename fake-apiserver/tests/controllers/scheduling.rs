use fake_apiserver::controllers::{NodeOptions, Options};
use serde_json::{Value, json};

use super::cluster::{Cluster, condition, pod};

fn nodes(names: &[&str], cpu: &str) -> Options {
    let node = |name: &&str| {
        let mut node = NodeOptions { name: (*name).into(), ..NodeOptions::default() };
        node.capacity.insert("cpu".into(), cpu.into());
        node.labels.insert("zone".into(), (*name).into());
        node
    };
    Options { nodes: names.iter().map(node).collect(), ..Options::default() }
}

fn asking(name: &str, cpu: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

#[test]
fn a_pod_that_fits_nowhere_says_why_and_is_bound_once_there_is_room() {
    let mut cluster = Cluster::with(nodes(&["a"], "1"));
    cluster.create(asking("first", "600m"));
    cluster.create(asking("second", "600m"));
    let waiting = cluster.get("Pod", "second");
    let scheduled = condition(&waiting, "PodScheduled");
    assert_eq!((&scheduled["status"], &scheduled["reason"]), (&json!("False"), &json!("Unschedulable")));
    let message = scheduled["message"].as_str().unwrap();
    assert!(message.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{message}");
    let rest = "no new claims to deallocate, preemption: 0/1 nodes are available: \
                1 No preemption victims found for incoming pod.";
    assert!(message.ends_with(rest), "{message}");
    assert_eq!(scheduled["observedGeneration"], 1);
    assert_eq!(waiting["status"]["phase"], "Pending");
    assert_eq!(cluster.reasons("second"), ["FailedScheduling"]);
    cluster.delete("Pod", "first");
    assert_eq!(cluster.get("Pod", "second")["status"]["phase"], "Running");
}

#[test]
fn what_would_fit_no_empty_node_is_not_helped_by_preemption() {
    let mut cluster = Cluster::with(nodes(&["a"], "1"));
    cluster.create(asking("large", "2"));
    let message = condition(&cluster.get("Pod", "large"), "PodScheduled")["message"].clone();
    assert_eq!(
        message,
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: \
         1 Preemption is not helpful for scheduling."
    );
}

#[test]
fn pods_spread_over_the_nodes() {
    let mut cluster = Cluster::with(nodes(&["a", "b"], "8"));
    for name in ["1", "2", "3", "4"] {
        cluster.create(pod(name));
    }
    let nodes: Vec<_> = cluster.list("Pod").iter().map(|pod| pod["spec"]["nodeName"].clone()).collect();
    assert_eq!(nodes, ["a", "b", "a", "b"]);
}

#[test]
fn selectors_taints_and_cordons_are_respected() {
    let mut cluster = Cluster::with(nodes(&["a", "b"], "8"));
    let mut picky = pod("picky");
    picky["spec"]["nodeSelector"] = json!({"zone": "b"});
    cluster.create(picky);
    assert_eq!(cluster.get("Pod", "picky")["spec"]["nodeName"], "b");
    cluster.patch("Node", "a", json!({"spec": {"unschedulable": true}}));
    let taint = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
    cluster.patch("Node", "b", json!({"spec": {"taints": taint}}));
    cluster.create(pod("plain"));
    let message = condition(&cluster.get("Pod", "plain"), "PodScheduled")["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("1 node(s) had untolerated taint(s), 1 node(s) were unschedulable"),
        "{message}"
    );
    let mut tolerant = pod("tolerant");
    tolerant["spec"]["tolerations"] = json!([{"key": "gpu", "operator": "Exists"}]);
    cluster.create(tolerant);
    assert_eq!(cluster.get("Pod", "tolerant")["spec"]["nodeName"], "b");
    cluster.patch("Node", "a", json!({"spec": {"unschedulable": null}}));
    assert_eq!(cluster.get("Pod", "plain")["spec"]["nodeName"], "a");
}

#[test]
fn a_gated_pod_waits_for_its_gates() {
    let mut cluster = Cluster::new();
    let mut gated = pod("gated");
    gated["spec"]["schedulingGates"] = json!([{"name": "example.com/quota"}]);
    cluster.create(gated);
    assert_eq!(condition(&cluster.get("Pod", "gated"), "PodScheduled")["reason"], "SchedulingGated");
    cluster.patch("Pod", "gated", json!({"spec": {"schedulingGates": null}}));
    assert_eq!(cluster.get("Pod", "gated")["status"]["phase"], "Running");
}

#[test]
fn pods_of_another_scheduler_are_left_alone() {
    let mut cluster = Cluster::new();
    let mut other = pod("other");
    other["spec"]["schedulerName"] = "mine".into();
    cluster.create(other);
    assert!(cluster.get("Pod", "other")["spec"]["nodeName"].is_null());
}

#[test]
fn without_a_node_pods_wait_for_one() {
    let mut cluster = Cluster::with(Options { nodes: Vec::new(), ..Options::default() });
    cluster.create(pod("early"));
    let message = condition(&cluster.get("Pod", "early"), "PodScheduled")["message"].clone();
    assert_eq!(message, "no nodes available to schedule pods");
    cluster.create(json!({"kind": "Node", "metadata": {"name": "real"}}));
    let room = json!({"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}});
    cluster.patch_status("Node", "real", room);
    let pod = cluster.get("Pod", "early");
    assert_eq!(pod["spec"]["nodeName"], "real");
    assert_eq!(pod["status"]["phase"], "Pending", "the kubelet of that node is not simulated");
}
