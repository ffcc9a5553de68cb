//! Taints that say what is wrong with a node, so that no pods come to it.
//!
//! Follows `doNoScheduleTaintingPass` of `pkg/controller/nodelifecycle`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::object::{items, text, time};

pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Condition, status, and the taint that goes with both.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Gives a node the taints of its conditions; those of others stay. `lost` is for a node whose pods are taken away.
/// Whether anything has changed.
pub(crate) fn taint(node: &mut Value, lost: bool, now: Timestamp) -> bool {
    let wanted = wanted(node, lost);
    let ours = |taint: &Value| {
        let (key, effect) = (text(&taint["key"]), text(&taint["effect"]));
        match effect {
            "NoSchedule" => key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, known)| *known == key),
            "NoExecute" => key == UNREACHABLE,
            _ => false,
        }
    };
    let is = |taint: &Value, (key, effect): (&str, &str)| taint["key"] == key && taint["effect"] == effect;
    let had = items(&node["spec"]["taints"]).to_vec();
    let mut taints: Vec<Value> =
        had.iter().filter(|taint| !ours(taint) || wanted.iter().any(|w| is(taint, *w))).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, (key, effect))) {
            taints.push(json!({"key": key, "effect": effect, "timeAdded": time(now)}));
        }
    }
    if taints == had {
        return false;
    }
    if taints.is_empty() {
        node["spec"].as_object_mut().and_then(|spec| spec.remove("taints"));
    } else {
        node["spec"]["taints"] = Value::Array(taints);
    }
    true
}

fn wanted(node: &Value, lost: bool) -> Vec<(&'static str, &'static str)> {
    let says = |kind: &str, status: &str| {
        items(&node["status"]["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == status)
    };
    let conditions =
        BY_CONDITION.iter().filter(|(kind, status, _)| says(kind, status)).map(|(_, _, key)| *key);
    let cordoned = (node["spec"]["unschedulable"] == true).then_some(UNSCHEDULABLE);
    let no_schedule = conditions.chain(cordoned).map(|key| (key, "NoSchedule"));
    no_schedule.chain(lost.then_some((UNREACHABLE, "NoExecute"))).collect()
}
