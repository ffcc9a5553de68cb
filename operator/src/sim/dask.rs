//! A model of Dask beside the pods: a scheduler answers while its pod is ready; workers register some time after their pods are
//! ready and leave when they go. A retired worker comes back if its pod is still there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::Sim;
use crate::names;
use crate::scheduler::model::Model;

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
    // Nobody finds a scheduler whose Service is gone.
    for host in sim.scheduler.hosts() {
        if !hosts.values().any(|known| *known == host) {
            sim.scheduler.remove(&host);
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
        let workers: BTreeMap<String, Vec<String>> = pods
            .iter()
            .filter(of_cluster)
            // What is being deleted has been told to end.
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .filter(|pod| label(pod, names::COMPONENT) == "worker" && ready(pod))
            .map(|pod| (ip(pod), dask_names(pod)))
            .collect();
        let now = sim.now();
        sim.scheduler.set(&host, |model| follow(model, &workers, now));
    }
    sim.scheduler.work(sim.now());
}

fn follow(model: &mut Model, workers: &BTreeMap<String, Vec<String>>, now: Timestamp) {
    let here = |address: &str| workers.keys().any(|ip| address.contains(&host_of(ip)));
    let gone: Vec<String> = model.workers.keys().filter(|address| !here(address)).cloned().collect();
    for address in gone {
        model.lose(&address);
    }
    model.stay(|host| workers.keys().any(|ip| *host == host_of(ip)));
    for (ip, names) in workers {
        let host = host_of(ip);
        if model.workers.keys().any(|address| address.contains(&host)) {
            continue;
        }
        // The kubelet restarts the container of a worker that was let go while its pod is still there.
        match model.returns(&host) {
            Some((at, _)) if at > now => {}
            None if !model.comes(&host, now) => {}
            returns => {
                let lives = returns.map_or(0, |(_, lives)| lives);
                for (number, name) in names.iter().enumerate() {
                    model.join(&at(ip, lives + number), name);
                }
            }
        }
    }
}

/// What the addresses of all workers at this host have in common.
fn host_of(ip: &str) -> String {
    format!("//{ip}:")
}

/// The address of a worker in its n-th life.
fn at(ip: &str, life: usize) -> String {
    format!("tcp://{ip}:{}", usize::from(PORT) + life)
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
    at(&ip(pod), 0)
}

/// The host part of all its addresses.
pub fn ip(pod: &Value) -> String {
    pod["status"]["podIP"].as_str().unwrap_or_default().to_owned()
}

/// The names that the Dask workers of a pod register: with `--nworkers`, several.
fn dask_names(pod: &Value) -> Vec<String> {
    let name = dask_name(pod);
    let arguments = pod["spec"]["containers"][0]["args"].as_array().cloned().unwrap_or_default();
    let mut after = arguments.iter().skip_while(|argument| *argument != "--nworkers").skip(1);
    match after.next().and_then(Value::as_str).and_then(|number| number.parse::<usize>().ok()) {
        Some(number) if number > 1 => (0..number).map(|number| format!("{name}-{number}")).collect(),
        _ => vec![name],
    }
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
