//! A model of Dask beside the pods: a scheduler answers while its pod is ready; workers register when their pods are ready and
//! leave when they go. A retired worker does not come back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Sim;
use crate::names;
use crate::scheduler::scripted::Model;

/// Port of every simulated worker.
const PORT: u16 = 40_000;

/// Brings the schedulers' models in line with the pods.
pub fn register(sim: &mut Sim) {
    let pods = sim.list("v1", "pods");
    let label =
        |object: &Value, key: &str| object["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
    let mut hosts = BTreeMap::new();
    for service in sim.list("v1", "services") {
        if label(&service, names::COMPONENT) == "scheduler" {
            let place = (namespace(&service), label(&service, names::CLUSTER_NAME));
            hosts.insert(place, service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned());
        }
    }
    for ((namespace_of, cluster), host) in hosts {
        let of_cluster =
            |pod: &&Value| namespace(pod) == namespace_of && label(pod, names::CLUSTER_NAME) == cluster;
        let up = pods
            .iter()
            .filter(of_cluster)
            .any(|pod| label(pod, names::COMPONENT) == "scheduler" && ready(pod));
        if !up {
            sim.scheduler.remove(&host);
            continue;
        }
        let workers: BTreeMap<String, String> = pods
            .iter()
            .filter(of_cluster)
            .filter(|pod| label(pod, names::COMPONENT) == "worker" && ready(pod))
            .map(|pod| (address(pod), dask_name(pod)))
            .collect();
        sim.scheduler.set(&host, |model| follow(model, &workers));
    }
}

fn follow(model: &mut Model, workers: &BTreeMap<String, String>) {
    model.workers.retain(|address, _| workers.contains_key(address));
    for (address, name) in workers {
        if !model.workers.contains_key(address) && !model.retired.contains(address) {
            model.join(address, name);
        }
    }
}

/// The host under which the operator finds a cluster's scheduler.
pub fn host(sim: &Sim, namespace_of: &str, cluster: &str) -> Option<String> {
    let service = sim.list("v1", "services").into_iter().find(|service| {
        namespace(service) == namespace_of && service["metadata"]["name"] == names::scheduler(cluster)
    })?;
    service["spec"]["clusterIP"].as_str().map(str::to_owned)
}

/// The address a worker pod registers with.
pub fn address(pod: &Value) -> String {
    format!("tcp://{}:{PORT}", pod["status"]["podIP"].as_str().unwrap_or_default())
}

fn dask_name(pod: &Value) -> String {
    let environment = pod["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let named = environment.iter().find(|entry| entry["name"] == "DASK_WORKER_NAME");
    named.and_then(|entry| entry["value"].as_str()).unwrap_or_default().to_owned()
}

fn namespace(object: &Value) -> String {
    object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned()
}

fn ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}
