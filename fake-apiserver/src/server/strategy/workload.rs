//! Deployments, ReplicaSets, StatefulSets, DaemonSets.

use serde_json::{Value, json};

use super::pod_spec;
use crate::registry::Resource;
use crate::server::meta;
use crate::status::Cause;
use crate::storage::{self, LabelSelector};

/// Defaults that depend on other fields, and those of the pod template.
pub(super) fn fill(resource: &Resource, value: &mut Value) {
    let Some(spec) = value.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    match resource.plural.as_str() {
        "deployments" if spec["strategy"]["type"] == "RollingUpdate" => {
            let rolling = &mut spec["strategy"]["rollingUpdate"];
            for field in ["maxUnavailable", "maxSurge"] {
                if rolling.get(field).is_none() {
                    rolling[field] = json!("25%");
                }
            }
        }
        "daemonsets" if spec["updateStrategy"]["type"] == "RollingUpdate" => {
            let rolling = &mut spec["updateStrategy"]["rollingUpdate"];
            for (field, default) in [("maxUnavailable", 1), ("maxSurge", 0)] {
                if rolling.get(field).is_none() {
                    rolling[field] = json!(default);
                }
            }
        }
        "statefulsets" if spec["updateStrategy"]["type"] == "RollingUpdate" => {
            let rolling = &mut spec["updateStrategy"]["rollingUpdate"];
            if rolling.get("partition").is_none() {
                rolling["partition"] = json!(0);
            }
        }
        _ => {}
    }
    pod_spec::fill_template(&mut spec["template"]);
}

/// The status each kind begins with: the fields Go always writes.
pub(super) fn begin(resource: &Resource, value: &mut Value) {
    let status = match resource.plural.as_str() {
        "replicasets" | "replicationcontrollers" => json!({"replicas": 0}),
        "statefulsets" => json!({"replicas": 0, "availableReplicas": 0}),
        "daemonsets" => {
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
            "numberReady": 0})
        }
        _ => json!({}),
    };
    value["status"] = status;
}

/// What is wrong with a workload.
pub(super) fn faults(resource: &Resource, value: &Value) -> Vec<Cause> {
    let spec = &value["spec"];
    let mut causes = Vec::new();
    if let Some(replicas) = spec["replicas"].as_i64().filter(|replicas| *replicas < 0) {
        let fault = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        causes.push(Cause::new("FieldValueInvalid", "spec.replicas", fault));
    }
    let labels = storage::labels(&spec["template"]);
    match LabelSelector::from_object(&spec["selector"]) {
        None => causes.extend([pod_spec::required("spec.selector"), mismatch(&labels)]),
        Some(selector) if selector.is_empty() => causes.push(Cause::new(
            "FieldValueInvalid",
            "spec.selector",
            "Invalid value: {}: empty selector is invalid for deployment",
        )),
        Some(selector) if !selector.matches(&labels) => causes.push(mismatch(&labels)),
        Some(_) => {}
    }
    causes.extend(pod_spec::faults(&spec["template"]["spec"], "spec.template.spec"));
    if let Some(policy) =
        spec["template"]["spec"]["restartPolicy"].as_str().filter(|policy| *policy != "Always")
    {
        let fault = format!("Unsupported value: {policy:?}: supported values: \"Always\"");
        causes.push(Cause::new("FieldValueNotSupported", "spec.template.spec.restartPolicy", fault));
    }
    if resource.plural == "deployments"
        && spec["strategy"]["type"] == "Recreate"
        && spec["strategy"]["rollingUpdate"].is_object()
    {
        let fault = "Forbidden: may not be specified when strategy `type` is 'Recreate'";
        causes.push(Cause::new("FieldValueForbidden", "spec.strategy.rollingUpdate", fault));
    }
    causes
}

fn mismatch(labels: &std::collections::BTreeMap<String, String>) -> Cause {
    Cause::new(
        "FieldValueInvalid",
        "spec.template.metadata.labels",
        format!("Invalid value: {}: `selector` does not match template `labels`", json!(labels)),
    )
}

/// Selectors may not change; of a StatefulSet only a few fields may.
pub(super) fn update_faults(resource: &Resource, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if new["spec"]["selector"] != old["spec"]["selector"] {
        causes.push(meta::immutable("spec.selector", &new["spec"]["selector"]));
    }
    if resource.plural == "statefulsets" {
        let rest = |value: &Value| {
            let mut spec = value["spec"].clone();
            for field in [
                "replicas",
                "ordinals",
                "template",
                "updateStrategy",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
                "minReadySeconds",
                "selector",
            ] {
                super::set_or_remove(&mut spec, field, None);
            }
            spec
        };
        if rest(new) != rest(old) {
            causes.push(Cause::new(
                "FieldValueForbidden",
                "spec",
                "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                 'minReadySeconds' are forbidden",
            ));
        }
    }
    causes
}
