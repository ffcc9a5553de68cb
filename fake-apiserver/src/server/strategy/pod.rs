//! Pods.

use serde_json::{Value, json};

use super::{defaults, pod_spec};
use crate::quantity;
use crate::schema::cause;
use crate::status::Cause;

/// Defaults that only pods have, not templates.
pub(super) fn fill(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    pod_spec::fill(spec);
    if spec.get("enableServiceLinks").is_none() {
        spec["enableServiceLinks"] = json!(true);
    }
    for list in ["containers", "initContainers"] {
        for container in defaults::items(spec, list) {
            let Some(limits) = container["resources"]["limits"].as_object().cloned() else { continue };
            for (what, limit) in limits {
                if container["resources"]["requests"].get(&what).is_none() {
                    container["resources"]["requests"][what] = limit;
                }
            }
        }
    }
}

/// The status a pod begins with.
pub(super) fn begin(pod: &mut Value) {
    pod["status"] = json!({"phase": "Pending", "qosClass": quality(&pod["spec"])});
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from requests and limits of cpu and memory.
fn quality(spec: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    let lists = ["containers", "initContainers"].into_iter();
    for container in lists.flat_map(|list| spec[list].as_array().into_iter().flatten()) {
        for what in ["cpu", "memory"] {
            let amount = |list: &str| {
                let text = container["resources"][list][what].as_str();
                text.and_then(quantity::milli).filter(|amount| *amount > 0)
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            any |= request.is_some() || limit.is_some();
            all &= limit.is_some() && request == limit;
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// What is wrong with a new pod.
pub(super) fn faults(pod: &Value) -> Vec<Cause> {
    let mut causes = pod_spec::faults(&pod["spec"], "spec");
    if pod["spec"]["ephemeralContainers"].as_array().is_some_and(|all| !all.is_empty()) {
        causes.push(cause::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    causes
}

/// The subresource through which a running pod gets further containers.
pub(super) const EPHEMERAL: &str = "ephemeralcontainers";

/// Through that endpoint nothing else changes (`podEphemeralContainersStrategy`).
pub(super) fn keep_all_but_ephemeral(new: &mut Value, old: &Value) {
    let containers = new["spec"].get("ephemeralContainers").cloned();
    let sent = new["metadata"].clone();
    *new = old.clone();
    super::set_or_remove(&mut new["spec"], "ephemeralContainers", containers);
    for field in ["managedFields", "resourceVersion"] {
        super::set_or_remove(&mut new["metadata"], field, sent.get(field).cloned());
    }
    pod_spec::fill(&mut new["spec"]);
}

/// Ephemeral containers are added and never changed, and do less than others
/// (`ValidatePodEphemeralContainersUpdate`, `validateEphemeralContainers`).
pub(super) fn ephemeral_faults(new: &Value, old: &Value) -> Vec<Cause> {
    const LISTS: [&str; 2] = ["containers", "initContainers"];
    let (at, list) = ("spec.ephemeralContainers", "ephemeralContainers");
    let all = |pod: &Value, list: &str| pod["spec"][list].as_array().cloned().unwrap_or_default();
    let mut causes = pod_spec::faults(&new["spec"], "spec");
    let (has, had) = (all(new, list), all(old, list));
    for (index, container) in has.iter().enumerate() {
        let path = format!("{at}[{index}]");
        let refused =
            ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "restartPolicy"];
        let is_set = |value: &Value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty());
        for field in refused.into_iter().filter(|field| is_set(&container[*field])) {
            causes.push(cause::forbidden(
                format!("{path}.{field}"),
                "cannot be set for an Ephemeral Container",
            ));
        }
        if is_set(&container["resources"]) {
            let why = "cannot be set for an Ephemeral Container";
            causes.push(cause::forbidden(format!("{path}.resources"), why));
        }
        if let Some(target) = container["targetContainerName"].as_str().filter(|name| !name.is_empty())
            && !LISTS.iter().any(|list| all(new, list).iter().any(|other| other["name"] == target))
        {
            let fault = format!("Not found: {target:?}");
            causes.push(Cause::new("FieldValueNotFound", format!("{path}.targetContainerName"), fault));
        }
    }
    for container in &had {
        let name = container["name"].as_str().unwrap_or_default();
        match has.iter().find(|other| other["name"] == container["name"]) {
            None => causes.push(cause::forbidden(
                at,
                &format!("existing ephemeral containers {name:?} may not be removed\n"),
            )),
            Some(other) if other != container => causes.push(cause::forbidden(
                at,
                &format!("existing ephemeral containers {name:?} may not be changed\n"),
            )),
            Some(_) => {}
        }
    }
    causes
}

/// A pod's spec may change only in images, tolerations (added), deadlines.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    if new["spec"] == old["spec"] {
        return Vec::new();
    }
    let mut causes = pod_spec::faults(&new["spec"], "spec");
    let mut allowed = new["spec"].clone();
    for list in ["containers", "initContainers"] {
        for (index, container) in defaults::items(&mut allowed, list).enumerate() {
            container["image"] = old["spec"][list][index]["image"].clone();
        }
    }
    let kept = |field: &str| old["spec"].get(field).cloned();
    super::set_or_remove(&mut allowed, "activeDeadlineSeconds", kept("activeDeadlineSeconds"));
    super::set_or_remove(
        &mut allowed,
        "terminationGracePeriodSeconds",
        kept("terminationGracePeriodSeconds"),
    );
    let tolerations = |spec: &Value| spec["tolerations"].as_array().cloned().unwrap_or_default();
    let (had, has) = (tolerations(&old["spec"]), tolerations(&new["spec"]));
    if had.iter().all(|toleration| has.contains(toleration)) {
        super::set_or_remove(&mut allowed, "tolerations", kept("tolerations"));
    }
    // Gates of a pod that is not scheduled may be removed, and then its node selector may narrow.
    super::set_or_remove(&mut allowed, "schedulingGates", kept("schedulingGates"));
    if allowed != old["spec"] {
        causes.push(Cause::new(
            "FieldValueForbidden",
            "spec",
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
             existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
             previously negative)",
        ));
    }
    causes
}

/// What a client that sends an older form of the spec did not mean to remove.
pub(super) fn carry(new: &mut Value, old: &Value) {
    for field in ["serviceAccount", "serviceAccountName", "nodeName", "priority", "preemptionPolicy"] {
        let missing = new["spec"].is_object() && new["spec"].get(field).is_none();
        if let Some(value) = old["spec"].get(field).filter(|_| missing) {
            new["spec"][field] = value.clone();
        }
    }
}

/// Seconds a pod has to end: none before it is on a node or after it has ended.
pub(super) fn grace(pod: &Value, asked: Option<i64>) -> i64 {
    let waiting = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if waiting || ended {
        return 0;
    }
    match asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30) {
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}
