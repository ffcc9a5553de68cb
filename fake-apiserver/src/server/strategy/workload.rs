//! Deployments, ReplicaSets, StatefulSets, DaemonSets: what is filled in and may not change. What is wrong with them is
//! in `workload_rules`.

use serde_json::{Value, json};

use super::pod_spec;
use crate::registry::Resource;
use crate::server::meta;
use crate::status::Cause;

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

/// Selectors may not change; of a StatefulSet only a few fields may.
pub(super) fn update_faults(resource: &Resource, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let whole = resource.plural == "statefulsets";
    if !whole && new["spec"]["selector"] != old["spec"]["selector"] {
        causes.push(meta::immutable("spec.selector", &new["spec"]["selector"]));
    }
    if whole {
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
            ] {
                super::set_or_remove(&mut spec, field, None);
            }
            if spec["volumeClaimTemplates"].as_array().is_some_and(Vec::is_empty) {
                super::set_or_remove(&mut spec, "volumeClaimTemplates", None);
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

const GENERATION: &str = "deprecated.daemonset.template.generation";

/// Which template of a DaemonSet this is, as the server counts them: clients cannot say.
pub(super) fn count_templates(new: &mut Value, old: &Value) {
    let before =
        old["metadata"]["annotations"][GENERATION].as_str().and_then(|text| text.parse::<i64>().ok());
    let changed = old["spec"]["template"] != new["spec"]["template"];
    let now = before.unwrap_or_default() + i64::from(changed);
    new["metadata"]["annotations"][GENERATION] = json!(now.to_string());
}

/// Fields of features that are not on: whoever has said them owns them, and they are not kept.
pub(super) fn drop_disabled(resource: &Resource, value: &mut Value) {
    if resource.plural == "statefulsets"
        && let Some(rolling) = value.pointer_mut("/spec/updateStrategy/rollingUpdate")
    {
        super::set_or_remove(rolling, "maxUnavailable", None);
    }
}
