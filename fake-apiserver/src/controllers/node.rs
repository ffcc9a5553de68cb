//! Nodes: the simulated ones are registered at the start, all say by taints what is wrong with them; pods of lost and of
//! deleted nodes do not stay for ever.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::kubelet::ANNOTATION_PREFIX;
use super::node_taints::{self, UNREACHABLE};
use super::object::{NODES, PODS, Says, annotation, array_mut, items, set_condition, text, time};
use super::options::{NodeOptions, Options};
use super::queue::{Queue, Work};
use crate::server::{Api, ApiServer};
use crate::status::Status;
use crate::storage::{Key, Stored};

/// What the simulated kubelet has to know of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Simulated {
    /// `hostIP` of its pods.
    pub address: String,
    /// Its kubelet does not answer any more.
    pub lost: bool,
}

impl Simulated {
    /// A Node with the annotation `fake-apiserver.dev/simulated: "true"`; `fake-apiserver.dev/lost: "true"` cuts it off.
    pub(crate) fn read(node: &Stored) -> Option<Self> {
        let value = node.value();
        if annotation(&value, &format!("{ANNOTATION_PREFIX}simulated")) != "true" {
            return None;
        }
        let addresses = items(&value["status"]["addresses"]);
        let internal = addresses.iter().find(|a| a["type"] == "InternalIP");
        Some(Self {
            address: internal.map_or("10.0.0.1", |a| text(&a["address"])).to_owned(),
            lost: annotation(&value, &format!("{ANNOTATION_PREFIX}lost")) == "true",
        })
    }
}

/// Creates the simulated nodes that do not exist yet.
pub(crate) fn register(server: &mut ApiServer, options: &Options, now: Timestamp) {
    let mut api = Api::new(server, now, "kubelet");
    for node in &options.nodes {
        if api.get(&NODES, "", &node.name).is_some() {
            continue;
        }
        let object = node_object(node, now);
        let written = api.create(&NODES, object.clone()).and_then(|created| {
            let mut value = created.value();
            value["status"] = object["status"].clone();
            api.update_status(&NODES, value)
        });
        if let Err(status) = written {
            tracing::warn!(node = node.name, %status, "simulated node not registered");
        }
    }
}

fn node_object(node: &NodeOptions, now: Timestamp) -> Value {
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": node.name,
    });
    for (name, value) in &node.labels {
        labels[name] = value.as_str().into();
    }
    let version = "v1.36.3";
    let mut object = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name, "labels": labels, "annotations": {}},
        "spec": {"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]},
        "status": {
            "capacity": node.capacity, "allocatable": node.capacity,
            "addresses": [
                {"type": "InternalIP", "address": node.address}, {"type": "Hostname", "address": node.name},
            ],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "simulated",
                "kernelVersion": "simulated", "containerRuntimeVersion": "containerd://2.0.0",
                "kubeletVersion": version, "kubeProxyVersion": version,
                "machineID": node.name, "systemUUID": node.name, "bootID": node.name,
            },
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    });
    object["metadata"]["annotations"][format!("{ANNOTATION_PREFIX}simulated")] = "true".into();
    for (kind, state, reason, message) in CONDITIONS {
        set_condition(&mut object["status"], Says { kind, status: state, reason, message }, now);
    }
    for condition in array_mut(&mut object["status"], "conditions") {
        condition["lastHeartbeatTime"] = time(now).into();
    }
    object
}

/// What a healthy kubelet reports.
const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

/// Marks lost nodes, takes their pods away after their toleration, and removes pods of nodes that do not exist.
#[derive(Default)]
pub(crate) struct Nodes;

impl ControlLoop for Nodes {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        if seen.resource() == ("", "nodes") {
            seen.mark(queue, "nodes");
        } else if let Some(pod) = &seen.pods.after
            && !pod.node.is_empty()
            && seen.pods.before.as_ref().is_none_or(|before| before.node != pod.node)
            && seen.server.storage().get(&NODES, &Key::new("", &pod.node)).is_none_or(|node| is_lost(node))
        {
            queue.add(Work { about: "nodes", key: Key::new("", &pod.node) }, seen.now);
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let name = &work.key.name;
        let Some(node) = context.api.get(&NODES, "", name) else {
            return remove_pods(context, name).map(|()| None);
        };
        let Some(simulated) = Simulated::read(&node) else {
            return mark(context, name, false).map(|()| None);
        };
        show(context, &node, simulated.lost)?;
        mark(context, name, simulated.lost)?;
        if simulated.lost { evict(context, &node) } else { Ok(None) }
    }
}

fn is_lost(node: &Stored) -> bool {
    Simulated::read(node).is_some_and(|node| node.lost)
}

/// Pods of a node that does not exist have no kubelet to end them.
fn remove_pods(context: &mut Context<'_, '_>, node: &str) -> Result<(), Status> {
    let pods: Vec<Key> = context.observed.on_node(node).map(|pod| pod.stored.key.clone()).collect();
    for key in pods {
        delete(context, &key, json!({"gracePeriodSeconds": 0}))?;
    }
    Ok(())
}

/// Ready is Unknown exactly while the node is lost.
fn show(context: &mut Context<'_, '_>, node: &Stored, lost: bool) -> Result<(), Status> {
    let mut value = node.value();
    let says = if lost {
        Says {
            kind: "Ready",
            status: "Unknown",
            reason: "NodeStatusUnknown",
            message: "Kubelet stopped posting node status.",
        }
    } else {
        let (kind, status, reason, message) = CONDITIONS[3];
        Says { kind, status, reason, message }
    };
    if set_condition(&mut value["status"], says, context.now) {
        context.api.update_status(&NODES, value)?;
    }
    Ok(())
}

/// The taints of its conditions, and of its loss.
fn mark(context: &mut Context<'_, '_>, name: &str, lost: bool) -> Result<(), Status> {
    let Some(node) = context.api.get(&NODES, "", name) else { return Ok(()) };
    let mut value = node.value();
    if node_taints::taint(&mut value, lost, context.now) {
        context.api.update(&NODES, value)?;
    }
    Ok(())
}

/// Pods of a lost node are not ready, and are deleted after their toleration of the taint.
fn evict(context: &mut Context<'_, '_>, node: &Stored) -> Result<Option<Timestamp>, Status> {
    let Some(node) = context.api.get(&NODES, "", &node.key.name) else { return Ok(None) };
    let value = node.value();
    let since = items(&value["status"]["conditions"]).iter().find(|c| c["type"] == "Ready");
    let since = since.and_then(|c| text(&c["lastTransitionTime"]).parse().ok()).unwrap_or(context.now);
    let pods: Vec<_> = context.observed.on_node(&node.key.name).cloned().collect();
    let mut next: Option<Timestamp> = None;
    for pod in pods.iter().filter(|pod| !pod.stored.meta.deleting) {
        let mut value = pod.stored.value();
        if pod.ready {
            let says = Says { kind: "Ready", status: "False", reason: "NodeNotReady", message: "" };
            set_condition(&mut value["status"], says, context.now);
            value["metadata"]["resourceVersion"] = Value::Null;
            context.api.update_status(&PODS, value.clone())?;
        }
        match toleration(&value) {
            Toleration::Forever => {}
            Toleration::For(patience) => {
                let due = since.checked_add(patience).unwrap_or(context.now);
                if due <= context.now {
                    delete(context, &pod.stored.key, json!({}))?;
                } else {
                    next = Some(next.map_or(due, |next| next.min(due)));
                }
            }
            Toleration::Not => delete(context, &pod.stored.key, json!({}))?,
        }
    }
    Ok(next)
}

/// How long a pod tolerates an unreachable node.
enum Toleration {
    Not,
    For(SignedDuration),
    Forever,
}

fn toleration(pod: &Value) -> Toleration {
    let tolerations = items(&pod["spec"]["tolerations"]);
    let fits = tolerations.iter().find(|t| {
        (t["key"] == UNREACHABLE || (text(&t["key"]).is_empty() && t["operator"] == "Exists"))
            && matches!(text(&t["effect"]), "" | "NoExecute")
    });
    match fits {
        Some(toleration) => match toleration["tolerationSeconds"].as_i64() {
            Some(seconds) => Toleration::For(SignedDuration::from_secs(seconds)),
            None => Toleration::Forever,
        },
        // Admission gives every pod five minutes.
        None if tolerations.is_empty() => Toleration::For(SignedDuration::from_secs(300)),
        None => Toleration::Not,
    }
}

fn delete(context: &mut Context<'_, '_>, key: &Key, options: Value) -> Result<(), Status> {
    match context.api.delete(&PODS, key, options) {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}
