//! Properties of a rolling update: at every moment enough workers serve, and never too many exist.

use dask_operator::names;
use dask_operator::sim::{Sim, SimConfig, create, patch, story};
use jiff::SignedDuration;
use serde_json::{Value, json};

const REPLICAS: usize = 6;
const UNAVAILABLE: usize = 2;
const SURGE: usize = 1;

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

fn workers(sim: &Sim) -> Vec<Value> {
    let mut pods = sim.list("v1", "pods");
    pods.retain(|pod| {
        pod["metadata"]["labels"][names::COMPONENT] == "worker"
            && pod["metadata"]["deletionTimestamp"].is_null()
    });
    pods
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

#[test]
fn pain_13_a_rolling_update_keeps_its_bounds_at_every_moment() {
    let mut sim = Sim::new(SimConfig::default());
    let mut cluster = story::cluster("simple", REPLICAS);
    cluster["spec"]["worker"]["metadata"] = json!({"annotations": {"fake-apiserver.dev/ready-after": "4s"}});
    cluster["spec"]["worker"]["updateStrategy"] = json!({
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": UNAVAILABLE, "maxSurge": SURGE},
    });
    sim.user(&create(names::API_VERSION, "daskclusters", Some("default"), &cluster)).expect("it is accepted");
    sim.advance(SignedDuration::from_secs(30));
    let containers = json!([{"name": "worker", "image": "ghcr.io/dask/dask:next"}]);
    let body = json!({"spec": {"worker": {"spec": {"containers": containers}}}});
    sim.user(&patch(names::API_VERSION, "daskclusters", "default", "simple", body)).expect("it is accepted");
    let mut largest = 0;
    for _ in 0..600 {
        while let Some(choice) = sim.choices().into_iter().next() {
            sim.take(&choice);
            let workers = workers(&sim);
            let ready = workers.iter().filter(|pod| is_ready(pod)).count();
            assert!(workers.len() <= REPLICAS + SURGE, "{} workers exist", workers.len());
            assert!(ready >= REPLICAS - UNAVAILABLE, "only {ready} workers are ready");
            largest = largest.max(workers.len());
        }
        sim.server.advance(SignedDuration::from_millis(500));
    }
    let workers = workers(&sim);
    assert_eq!(workers.len(), REPLICAS);
    assert!(
        workers.iter().all(|pod| image(pod).ends_with(":next")),
        "some are still of the earlier template"
    );
    assert_eq!(largest, REPLICAS + SURGE, "the surge was used");
}
