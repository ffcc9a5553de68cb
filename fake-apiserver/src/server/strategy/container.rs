//! Containers of all three kinds (`validateContainers`, `validateInitContainers`, `validateEphemeralContainers`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::{Rows, Rule, check, items, join, not_supported, text};
use super::{environment, probe, resources, security, volume};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const PROPAGATION: &[&str] = &["Bidirectional", "HostToContainer", "None"];
const SIDECAR: &str = "may not be set for init containers without restartPolicy=Always";
const TABLE: Rows = &[
    ("", Rule::Own(image)),
    ("terminationMessagePolicy", Rule::OneOf(&["File", "FallbackToLogsOnError"])),
    ("", Rule::Own(ports)),
];
const RESTARTS: &[&str] = &["Always", "Never", "OnFailure"];

/// What containers are checked against.
pub(super) struct Around<'a> {
    /// Volumes with which nothing is wrong, and whether each can be a block device.
    pub(super) volumes: &'a [(String, bool)],
    /// Names of the pod's resource claims.
    pub(super) claimed: &'a [&'a str],
    /// Seconds the pod has to end.
    pub(super) grace: i64,
    /// Whether the pod restarts its containers.
    pub(super) restarts: bool,
}

/// What is wrong with the containers of a pod.
pub(super) fn faults(spec: &Value, path: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, container) in items(&spec["containers"]).iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        common(container, &path, around, causes);
        named_twice(container, &path, &mut seen, causes);
        probe::faults(container, &path, around.grace, causes);
        restart(container, &path, causes);
    }
    host_ports(&spec["containers"], &format!("{path}.containers"), causes);
    for (index, container) in items(&spec["initContainers"]).iter().enumerate() {
        let path = format!("{path}.initContainers[{index}]");
        common(container, &path, around, causes);
        named_twice(container, &path, &mut seen, causes);
        restart(container, &path, causes);
        if container["restartPolicy"] == "Always" {
            probe::faults(container, &path, around.grace, causes);
        } else {
            let set = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"].into_iter();
            for field in set.filter(|field| !container[field].is_null()) {
                causes.push(cause::forbidden(join(&path, field), SIDECAR));
            }
        }
        host_ports(&Value::Array(vec![container.clone()]), &path, causes);
    }
    for (index, container) in items(&spec["ephemeralContainers"]).iter().enumerate() {
        let path = format!("{path}.ephemeralContainers[{index}]");
        common(container, &path, around, causes);
        named_twice(container, &path, &mut seen, causes);
    }
}

fn named_twice<'a>(container: &'a Value, path: &str, seen: &mut BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    let name = text(&container["name"]);
    if !name.is_empty() && !seen.insert(name) {
        causes.push(cause::duplicate(join(path, "name"), &container["name"]));
    }
}

/// What holds for every container.
fn common(container: &Value, path: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let (at, name) = (join(path, "name"), text(&container["name"]));
    if name.is_empty() {
        causes.push(cause::required(at, ""));
    } else {
        causes.extend(names::dns_label(name).iter().map(|why| cause::invalid(&at, &container["name"], why)));
    }
    check(TABLE, container, path, causes);
    environment::faults(container, path, causes);
    mounts(container, path, around, causes);
    devices(container, path, around, causes);
    check(&[("imagePullPolicy", Rule::OneOf(POLICIES))], container, path, causes);
    resources::faults(&container["resources"], &join(path, "resources"), around.claimed, causes);
    let policies = &container["resizePolicy"];
    resources::resize_faults(policies, &join(path, "resizePolicy"), around.restarts, causes);
    security::container_faults(&container["securityContext"], &join(path, "securityContext"), causes);
}

fn image(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (at, image) = (join(path, "image"), text(&container["image"]));
    if image.is_empty() {
        causes.push(cause::required(&at, ""));
    } else if image.trim() != image {
        causes.push(cause::invalid(&at, &container["image"], "must not have leading or trailing whitespace"));
    }
}

fn restart(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let policy = &container["restartPolicy"];
    let at = join(path, "restartPolicy");
    if !policy.is_null() && !RESTARTS.contains(&text(policy)) {
        causes.push(not_supported(&at, policy, RESTARTS));
    }
    if !items(&container["restartPolicyRules"]).is_empty() && policy.is_null() {
        causes.push(cause::required(at, "must specify restartPolicy when restart rules are used"));
    }
}

fn ports(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, port) in items(&container["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let (at, name) = (join(&path, "name"), text(&port["name"]));
        if !name.is_empty() {
            let faults = names::port_name(name);
            if faults.is_empty() && !seen.insert(name) {
                causes.push(cause::duplicate(&at, &port["name"]));
            }
            causes.extend(faults.iter().map(|why| cause::invalid(&at, &port["name"], why)));
        }
        let number = port["containerPort"].as_i64().unwrap_or_default();
        if number == 0 {
            causes.push(cause::required(join(&path, "containerPort"), ""));
        } else {
            causes.extend(names::port_number(&join(&path, "containerPort"), &port["containerPort"]));
        }
        if port["hostPort"].as_i64().is_some_and(|port| port != 0) {
            causes.extend(names::port_number(&join(&path, "hostPort"), &port["hostPort"]));
        }
        check(&[("protocol", Rule::OneOf(PROTOCOLS))], port, &path, causes);
    }
}

/// Each port of the host is taken once.
fn host_ports(containers: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    for (index, container) in items(containers).iter().enumerate() {
        for (number, port) in items(&container["ports"]).iter().enumerate() {
            let Some(host) = port["hostPort"].as_i64().filter(|host| *host != 0) else { continue };
            let place = format!("{}/{}/{host}", text(&port["protocol"]), text(&port["hostIP"]));
            if !taken.insert(place.clone()) {
                let at = format!("{path}[{index}].ports[{number}].hostPort");
                causes.push(cause::duplicate(at, &place.into()));
            }
        }
    }
}

fn mounts(container: &Value, path: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let list = join(path, "volumeMounts");
    let mut places = BTreeSet::new();
    for (index, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let path = format!("{list}[{index}]");
        known_volume(mount, &path, around, causes);
        let place = text(&mount["mountPath"]);
        if place.is_empty() {
            causes.push(cause::required(join(&path, "mountPath"), ""));
        } else if !places.insert(place) {
            causes.push(cause::invalid(join(&path, "mountPath"), &mount["mountPath"], "must be unique"));
        }
        // Below here the real server names the list, not the mount.
        let (sub, expression) = (&mount["subPath"], &mount["subPathExpr"]);
        volume::descending(sub, &join(&list, "subPath"), causes);
        if !text(expression).is_empty() {
            if !text(sub).is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                causes.push(cause::invalid(join(&path, "subPathExpr"), expression, why));
            }
            volume::descending(expression, &join(&list, "subPathExpr"), causes);
        }
        propagation(container, mount, &list, causes);
    }
}

fn propagation(container: &Value, mount: &Value, list: &str, causes: &mut Vec<Cause>) {
    let (at, how) = (join(list, "mountPropagation"), &mount["mountPropagation"]);
    check(&[("", Rule::OneOf(PROPAGATION))], how, &at, causes);
    if how == "Bidirectional" && container["securityContext"]["privileged"] != true {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        causes.push(cause::forbidden(at, why));
    }
    let (at, recursive) = (join(list, "recursiveReadOnly"), &mount["recursiveReadOnly"]);
    match text(recursive) {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if mount["readOnly"] != true {
                causes.push(cause::forbidden(&at, "may only be specified when readOnly is true"));
            }
            if !matches!(text(how), "" | "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                causes.push(cause::forbidden(&at, why));
            }
        }
        _ => causes.push(not_supported(&at, recursive, &["Disabled", "Enabled", "IfPossible"])),
    }
}

fn devices(container: &Value, path: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let mut places = BTreeSet::new();
    for (index, device) in items(&container["volumeDevices"]).iter().enumerate() {
        let path = format!("{path}.volumeDevices[{index}]");
        known_volume(device, &path, around, causes);
        let name = text(&device["name"]);
        if around.volumes.iter().any(|(known, block)| known == name && !block) {
            let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            causes.push(cause::invalid(join(&path, "name"), &device["name"], why));
        }
        let place = text(&device["devicePath"]);
        if place.is_empty() {
            causes.push(cause::required(join(&path, "devicePath"), ""));
        } else if !places.insert(place) {
            causes.push(cause::invalid(join(&path, "devicePath"), &device["devicePath"], "must be unique"));
        }
    }
}

fn known_volume(mount: &Value, path: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let (at, name) = (join(path, "name"), text(&mount["name"]));
    if name.is_empty() {
        causes.push(cause::required(&at, ""));
    }
    if !around.volumes.iter().any(|(known, _)| known == name) {
        causes.push(Cause::new("FieldValueNotFound", at, format!("Not found: {name:?}")));
    }
}
