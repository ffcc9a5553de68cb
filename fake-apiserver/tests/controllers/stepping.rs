use fake_apiserver::controllers::Options;
use fake_apiserver::request::Request;
use serde_json::json;

use super::cluster::{Cluster, workload};

/// Creates a Deployment and runs one unit at a time, chosen by `choose` from how many there are.
fn run(mut choose: impl FnMut(usize) -> usize) -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::with(Options { record_events: false, ..Options::default() });
    let mut deployment = workload("Deployment", "web", 3);
    deployment["apiVersion"] = "apps/v1".into();
    let request = Request::create("apps/v1", "deployments", deployment).namespace("default");
    cluster.send(&request).unwrap();
    let mut served = Vec::new();
    loop {
        let units = cluster.server.pending_work(cluster.now);
        if units.is_empty() {
            return (cluster, served);
        }
        let index = choose(units.len());
        served.push(format!("{} {}", units[index].controller, units[index].work.key.name));
        cluster.server.step_one(index, cluster.now);
    }
}

#[test]
fn units_can_be_served_one_at_a_time() {
    let (mut cluster, served) = run(|_| 0);
    assert_eq!(served[0], "deployment-controller web");
    assert_eq!(cluster.get("Deployment", "web")["status"]["availableReplicas"], 3);
}

#[test]
fn any_order_of_the_units_ends_in_the_same_state() {
    let mut seed = 1_usize;
    for _ in 0..20 {
        let choose = |count: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % count
        };
        let (mut cluster, _) = run(choose);
        let status = cluster.get("Deployment", "web")["status"].clone();
        assert_eq!((&status["availableReplicas"], &status["replicas"]), (&json!(3), &json!(3)));
        assert_eq!(cluster.names("Pod").len(), 3);
        assert_eq!(cluster.names("ReplicaSet").len(), 1);
    }
}

#[test]
fn a_step_without_changes_writes_nothing() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 3));
    let before = cluster.server.revision();
    cluster.settle();
    assert_eq!(cluster.server.revision(), before);
    assert!(cluster.server.pending_work(cluster.now).is_empty());
}

#[test]
fn controllers_that_lost_history_begin_anew() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 3));
    let pod = cluster.names("Pod")[0].clone();
    let request = Request::delete("v1", "pods").namespace("default").name(&*pod);
    cluster.send(&request).unwrap();
    cluster.server.compact(cluster.server.revision());
    cluster.settle();
    assert_eq!(cluster.names("Pod").len(), 3);
    assert_eq!(cluster.get("Deployment", "web")["status"]["availableReplicas"], 3);
}
