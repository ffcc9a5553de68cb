//! Pod specs and pod templates, wherever they stand.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::defaults;
use crate::quantity;
use crate::server::names;
use crate::status::Cause;

/// Fills in the defaults of a template (`metadata` and `spec`).
pub(super) fn fill_template(template: &mut Value) {
    if template.is_object()
        && let Some(spec) = template.get_mut("spec").filter(|spec| spec.is_object())
    {
        fill(spec);
    }
}

/// Fills in the defaults of a pod spec.
pub(super) fn fill(spec: &mut Value) {
    defaults::pod_spec(spec);
    let on_host = spec["hostNetwork"] == true;
    drop_empty(
        spec,
        &["hostNetwork", "hostPID", "hostIPC"],
        &["volumes", "initContainers", "tolerations", "imagePullSecrets"],
    );
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in defaults::items(spec, list) {
            drop_empty(
                container,
                &["stdin", "stdinOnce", "tty"],
                &["args", "command", "env", "envFrom", "ports", "volumeMounts"],
            );
            if container.get("imagePullPolicy").is_none() {
                let image = container["image"].as_str().unwrap_or_default();
                container["imagePullPolicy"] = json!(pull_policy(image));
            }
            for amounts in ["limits", "requests"] {
                if let Some(amounts) = container.pointer_mut(&format!("/resources/{amounts}")) {
                    canonical_amounts(amounts);
                }
            }
            if on_host {
                for port in defaults::items(container, "ports") {
                    if port.get("hostPort").is_none() {
                        port["hostPort"] = port["containerPort"].clone();
                    }
                }
            }
        }
    }
    let account =
        ["serviceAccountName", "serviceAccount"].iter().find_map(|f| spec[*f].as_str()).map(str::to_owned);
    if let Some(account) = account {
        spec["serviceAccountName"] = json!(account);
        spec["serviceAccount"] = json!(account);
    }
}

/// Go leaves out flags that are false and lists that are empty.
fn drop_empty(value: &mut Value, flags: &[&str], lists: &[&str]) {
    let Some(object) = value.as_object_mut() else { return };
    object.retain(|field, value| {
        let unset = flags.contains(&field.as_str()) && *value == false;
        let empty = lists.contains(&field.as_str()) && value.as_array().is_some_and(Vec::is_empty);
        !unset && !empty
    });
}

/// Writes quantities as the real server does: numbers as text, in their canonical unit.
pub(super) fn canonical_amounts(amounts: &mut Value) {
    for amount in amounts.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
        if let Some(canonical) = quantity::canonical(&text) {
            *amount = json!(canonical);
        }
    }
}

/// `Always` for images without a tag or with `latest`.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if latest { "Always" } else { "IfNotPresent" }
}

/// What is wrong with a pod spec; `path` is where it stands.
pub(super) fn faults(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    if containers.is_empty() {
        causes.push(required(&format!("{path}.containers")));
    }
    let volumes = spec["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    let volumes = volume_faults(volumes, path, &mut causes);
    let mut seen = BTreeSet::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            container_faults(container, &path, &mut seen, &volumes, &mut causes);
        }
    }
    one_of(spec, path, "restartPolicy", &["Always", "OnFailure", "Never"], &mut causes);
    one_of(
        spec,
        path,
        "dnsPolicy",
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        &mut causes,
    );
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64().filter(|seconds| *seconds < 1) {
        let fault = format!("Invalid value: {seconds}: must be between 1 and 2147483647, inclusive");
        causes.push(Cause::new("FieldValueInvalid", format!("{path}.activeDeadlineSeconds"), fault));
    }
    for (field, check) in
        [("hostname", names::dns_label as fn(&str) -> Vec<String>), ("nodeName", names::dns_subdomain)]
    {
        let Some(text) = spec[field].as_str().filter(|text| !text.is_empty()) else { continue };
        causes.extend(check(text).iter().map(|fault| invalid(&format!("{path}.{field}"), text, fault)));
    }
    causes
}

fn volume_faults(volumes: &[Value], path: &str, causes: &mut Vec<Cause>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let field = format!("{path}.volumes[{index}].name");
        let name = volume["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(required(&field));
            continue;
        }
        causes.extend(names::dns_label(name).iter().map(|fault| invalid(&field, name, fault)));
        if !seen.insert(name.to_owned()) {
            causes.push(duplicate(&field, name));
        }
        if volume.as_object().is_some_and(|volume| volume.len() > 2) {
            let fault = "Forbidden: may not specify more than 1 volume type";
            causes.push(Cause::new("FieldValueForbidden", format!("{path}.volumes[{index}]"), fault));
        }
    }
    seen
}

fn container_faults(
    container: &Value,
    path: &str,
    seen: &mut BTreeSet<String>,
    volumes: &BTreeSet<String>,
    causes: &mut Vec<Cause>,
) {
    let name = container["name"].as_str().unwrap_or_default();
    let field = format!("{path}.name");
    if name.is_empty() {
        causes.push(required(&field));
    } else {
        causes.extend(names::dns_label(name).iter().map(|fault| invalid(&field, name, fault)));
        if !seen.insert(name.to_owned()) {
            causes.push(duplicate(&field, name));
        }
    }
    match container["image"].as_str() {
        None | Some("") => causes.push(required(&format!("{path}.image"))),
        Some(image) if image.trim() != image => {
            let fault = "must not have leading or trailing whitespace";
            causes.push(invalid(&format!("{path}.image"), image, fault));
        }
        Some(_) => {}
    }
    one_of(container, path, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], causes);
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let (field, name) =
            (format!("{path}.env[{index}].name"), variable["name"].as_str().unwrap_or_default());
        if name.is_empty() {
            causes.push(required(&field));
        } else {
            causes.extend(names::environment_name(name).iter().map(|fault| invalid(&field, name, fault)));
        }
        let both =
            variable["value"].as_str().is_some_and(|v| !v.is_empty()) && variable["valueFrom"].is_object();
        if both {
            let fault = "may not be specified when `value` is not empty";
            causes.push(invalid(&format!("{path}.env[{index}].valueFrom"), "", fault));
        }
    }
    port_faults(container, path, causes);
    let mut mounts = BTreeSet::new();
    for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let name = mount["name"].as_str().unwrap_or_default();
        if !volumes.contains(name) {
            let fault = format!("Not found: {name:?}");
            causes.push(Cause::new(
                "FieldValueNotFound",
                format!("{path}.volumeMounts[{index}].name"),
                fault,
            ));
        }
        let at = mount["mountPath"].as_str().unwrap_or_default();
        let field = format!("{path}.volumeMounts[{index}].mountPath");
        if at.is_empty() {
            causes.push(required(&field));
        } else if !mounts.insert(at) {
            causes.push(invalid(&field, at, "must be unique"));
        }
    }
    resource_faults(container, path, causes);
}

fn port_faults(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.ports[{index}]");
        match port["containerPort"].as_i64() {
            None | Some(0) => causes.push(required(&format!("{path}.containerPort"))),
            Some(1..=65535) => {}
            Some(number) => {
                let fault = format!("Invalid value: {number}: must be between 1 and 65535, inclusive");
                causes.push(Cause::new("FieldValueInvalid", format!("{path}.containerPort"), fault));
            }
        }
        if let Some(name) = port["name"].as_str().filter(|name| !name.is_empty()) {
            let field = format!("{path}.name");
            causes.extend(names::port_name(name).iter().map(|fault| invalid(&field, name, fault)));
            if !seen.insert(name) {
                causes.push(duplicate(&field, name));
            }
        }
        one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], causes);
    }
}

fn resource_faults(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let amount =
        |list: &str, what: &str| container["resources"][list][what].as_str().and_then(quantity::milli);
    for list in ["limits", "requests"] {
        for (what, text) in container["resources"][list].as_object().into_iter().flatten() {
            let field = format!("{path}.resources.{list}[{what}]");
            match amount(list, what) {
                None => causes.push(invalid(
                    &field,
                    text.as_str().unwrap_or_default(),
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                )),
                Some(value) if value < 0 => {
                    causes.push(invalid(&field, text.as_str().unwrap_or_default(), "must be greater than or equal to 0"));
                }
                Some(value) if list == "requests" && amount("limits", what).is_some_and(|limit| value > limit) => {
                    let limit = container["resources"]["limits"][what].as_str().unwrap_or_default();
                    let fault = format!("must be less than or equal to {what} limit of {limit}");
                    let text = text.as_str().unwrap_or_default();
                    causes.push(invalid(&format!("{path}.resources.requests"), text, &fault));
                }
                Some(_) => {}
            }
        }
    }
}

fn one_of(value: &Value, path: &str, field: &str, known: &[&str], causes: &mut Vec<Cause>) {
    if let Some(text) = value[field].as_str().filter(|text| !known.contains(text)) {
        let known: Vec<String> = known.iter().map(|k| format!("{k:?}")).collect();
        let fault = format!("Unsupported value: {text:?}: supported values: {}", known.join(", "));
        causes.push(Cause::new("FieldValueNotSupported", format!("{path}.{field}"), fault));
    }
}

pub(super) fn required(field: &str) -> Cause {
    Cause::new("FieldValueRequired", field, "Required value")
}

pub(super) fn duplicate(field: &str, value: &str) -> Cause {
    Cause::new("FieldValueDuplicate", field, format!("Duplicate value: {value:?}"))
}

pub(super) fn invalid(field: &str, value: &str, fault: &str) -> Cause {
    crate::server::meta::invalid(field, value, fault)
}
