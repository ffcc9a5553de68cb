//! Pods.

use serde_json::{Value, json};

use super::rules::{items, text};
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
    // A negative time to end is the shortest.
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        spec["terminationGracePeriodSeconds"] = json!(1);
    }
    for list in ["containers", "initContainers"] {
        for container in defaults::items(spec, list) {
            ask_for_limits(&mut container["resources"]);
        }
    }
    if let Some(own) = spec.get_mut("resources") {
        for list in ["limits", "requests"] {
            own.get_mut(list).into_iter().for_each(pod_spec::canonical_amounts);
        }
        ask_for_limits(own);
    }
}

/// Who may use so much and does not say what is needed asks for all of it.
fn ask_for_limits(resources: &mut Value) {
    let Some(limits) = resources["limits"].as_object().cloned() else { return };
    for (what, limit) in limits {
        if resources["requests"].get(&what).is_none() {
            resources["requests"][what] = limit;
        }
    }
}

/// The status a pod begins with.
pub(super) fn begin(pod: &mut Value, now: &str) {
    pod["status"] = json!({"phase": "Pending", "qosClass": quality(&pod["spec"])});
    if is_gated(pod) {
        pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime": null,
            "lastTransitionTime": now}]);
    }
}

fn is_gated(pod: &Value) -> bool {
    !items(&pod["spec"]["schedulingGates"]).is_empty()
}

/// A status as the real server keeps it: the class of quality stays, and both fields with addresses agree.
pub(super) fn fill_status(new: &mut Value, old: &Value) {
    if !new["status"].is_object() {
        return;
    }
    if new["status"]["qosClass"].is_null() {
        let class = old["status"].get("qosClass").cloned();
        super::set_or_remove(&mut new["status"], "qosClass", class);
    }
    for (one, all) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        let changed = new["status"][one] != old["status"][one];
        let address = text(&new["status"][one]).to_owned();
        let first = text(&new["status"][all][0]["ip"]).to_owned();
        // Who changes only the older field means that one.
        if !address.is_empty() && address != first && (first.is_empty() || changed) && one == "podIP" {
            new["status"][all] = json!([{"ip": address}]);
        } else if !first.is_empty() && one == "podIP" {
            new["status"][one] = json!(first);
        }
    }
}

/// What is wrong with a status.
pub(super) fn status_faults(pod: &Value) -> Vec<Cause> {
    let (status, mut causes) = (&pod["status"], Vec::new());
    for list in ["podIPs", "hostIPs"] {
        let addresses = items(&status[list]);
        if list == "hostIPs" && !addresses.is_empty() && addresses[0]["ip"] != status["hostIP"] {
            let why = "must be equal to `hostIP`";
            causes.push(cause::invalid("status.hostIPs[0].ip", &addresses[0]["ip"], why));
        }
        for (index, address) in addresses.iter().enumerate() {
            if crate::server::address::sloppy(text(&address["ip"])).is_none() {
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                causes.push(cause::invalid(format!("status.{list}[{index}]"), &address["ip"], why));
            }
        }
        let of = |v4: bool| {
            let all = addresses.iter().filter(|a| text(&a["ip"]).contains(':') != v4);
            all.count()
        };
        if of(true) > 1 || of(false) > 1 {
            let shown =
                crate::server::go_text::untagged(&status[list]).to_string().replace("\"Ip\"", "\"IP\"");
            let why = "may specify no more than one IP for each IP family";
            let fault = format!("Invalid value: {shown}: {why}");
            causes.push(Cause::new("FieldValueInvalid", format!("status.{list}"), fault));
        }
    }
    causes
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from requests and limits of cpu and memory.
pub(super) fn quality(spec: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    // What the pod says as a whole wins over what its containers say.
    let whole = spec["resources"].as_object().is_some_and(|resources| !resources.is_empty());
    let containers = ["containers", "initContainers"].into_iter().flat_map(|list| items(&spec[list]));
    let holders = std::iter::once(spec).filter(|_| whole).chain(containers.filter(|_| !whole));
    for container in holders {
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
    let mut causes = annotation_faults(&pod["metadata"]["annotations"]);
    causes.extend(pod_spec::faults(&pod["spec"], "spec"));
    if !items(&pod["spec"]["ephemeralContainers"]).is_empty() {
        causes.push(cause::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    if is_gated(pod) && !text(&pod["spec"]["nodeName"]).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        causes.push(cause::forbidden("spec.nodeName", why));
    }
    causes
}

/// Annotations from before there were fields.
fn annotation_faults(annotations: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (name, value) in annotations.as_object().into_iter().flatten() {
        let profile = text(value);
        let local = profile.starts_with("localhost/");
        if name == "seccomp.security.alpha.kubernetes.io/pod" {
            if !local && !matches!(profile, "runtime/default" | "docker/default" | "unconfined") {
                let at = format!("metadata.annotations.{name}");
                causes.push(cause::invalid(at, value, "must be a valid seccomp profile"));
            }
        } else if name.starts_with("container.apparmor.security.beta.kubernetes.io/")
            && !local
            && !matches!(profile, "" | "runtime/default" | "unconfined")
        {
            let why = format!("invalid AppArmor profile name: {profile:?}");
            causes.push(cause::invalid(format!("metadata.annotations[{name}]"), value, &why));
        }
    }
    causes.sort_by_key(|cause| cause.field.contains('['));
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
        if let Some(target) = container["targetContainerName"].as_str().filter(|name| !name.is_empty())
            && !LISTS.iter().any(|list| all(new, list).iter().any(|other| other["name"] == target))
        {
            let fault = format!("Not found: {target:?}");
            causes.push(Cause::new("FieldValueNotFound", format!("{path}.targetContainerName"), fault));
        }
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

/// A pod's spec may change only in images, tolerations (added), deadlines (earlier), and before it is scheduled where it
/// may run (`ValidatePodUpdate`).
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let (is, was) = (&new["spec"], &old["spec"]);
    if is == was {
        return Vec::new();
    }
    let mut causes = pod_spec::faults(is, "spec");
    for list in ["containers", "initContainers"] {
        if items(&is[list]).len() != items(&was[list]).len() {
            let why = "pod updates may not add or remove containers";
            causes.push(cause::forbidden(format!("spec.{list}"), why));
            return causes;
        }
    }
    deadline_faults(is, was, &mut causes);
    toleration_faults(is, was, &mut causes);
    let gates = |spec: &Value| -> Vec<Value> { items(&spec["schedulingGates"]).to_vec() };
    let had = gates(was);
    for (index, gate) in gates(is).iter().enumerate().filter(|(_, gate)| !had.contains(gate)) {
        let why =
            format!("only deletion is allowed, but found new scheduling gate '{}'", text(&gate["name"]));
        causes.push(cause::forbidden(format!("spec.schedulingGates[{index}].name"), &why));
    }
    let mut allowed = is.clone();
    for list in ["containers", "initContainers"] {
        for (index, container) in defaults::items(&mut allowed, list).enumerate() {
            container["image"] = was[list][index]["image"].clone();
        }
    }
    let mut kept = vec!["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    if is_gated(old) {
        gated_faults(is, was, &mut causes);
        kept.extend(["nodeSelector", "affinity"]);
    }
    if was["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        kept.push("terminationGracePeriodSeconds");
    }
    for field in kept {
        super::set_or_remove(&mut allowed, field, was.get(field).cloned());
    }
    if allowed != *was {
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

fn deadline_faults(is: &Value, was: &Value, causes: &mut Vec<Cause>) {
    let (at, new) = ("spec.activeDeadlineSeconds", &is["activeDeadlineSeconds"]);
    let Some(before) = was["activeDeadlineSeconds"].as_i64() else { return };
    match new.as_i64() {
        None => causes.push(cause::invalid(at, new, "must not update from a positive integer to nil value")),
        Some(seconds) if seconds > before => {
            causes.push(cause::invalid(at, new, "must be less than or equal to previous value"));
        }
        Some(_) => {}
    }
}

/// Tolerations are added, and keep all but their time.
fn toleration_faults(is: &Value, was: &Value, causes: &mut Vec<Cause>) {
    let same = |one: &Value, other: &Value| {
        ["key", "operator", "value", "effect"].iter().all(|field| one[*field] == other[*field])
    };
    let all = items(&is["tolerations"]);
    if items(&was["tolerations"]).iter().any(|old| !all.iter().any(|new| same(old, new))) {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        causes.push(cause::forbidden("spec.tolerations", why));
    }
}

/// Before a pod is scheduled, where it may run can only become narrower.
fn gated_faults(is: &Value, was: &Value, causes: &mut Vec<Cause>) {
    let selector = &is["nodeSelector"];
    let kept = |(key, value): (&String, &Value)| selector[key] == *value;
    if !was["nodeSelector"].as_object().into_iter().flatten().all(kept) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        causes.push(cause::invalid("spec.nodeSelector", selector, why));
    }
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
