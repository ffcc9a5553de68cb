//! The environment of containers: values, and where they come from (`ValidateEnv`, `ValidateEnvFrom`).

use serde_json::Value;

use super::configuration::key_grammar;
use super::rules::{items, join, not_supported, text};
use crate::quantity;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

/// What a variable may be of its pod.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a file may be of its pod.
pub(super) const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields that have a label at all.
const LABELLED: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const UNITS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// What is wrong with the environment of a container.
pub(super) fn faults(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, variable) in items(&container["env"]).iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        let (at, name) = (join(&path, "name"), text(&variable["name"]));
        if name.is_empty() {
            causes.push(cause::required(at, ""));
        } else {
            variable_name(&at, name, causes);
        }
        if !variable["valueFrom"].is_null() {
            source_faults(variable, &join(&path, "valueFrom"), causes);
        }
    }
    for (index, source) in items(&container["envFrom"]).iter().enumerate() {
        let list = join(path, "envFrom");
        let path = format!("{list}[{index}]");
        let prefix = text(&source["prefix"]);
        if !prefix.is_empty() {
            variable_name(&join(&path, "prefix"), prefix, causes);
        }
        let said: Vec<&str> =
            ["configMapRef", "secretRef"].into_iter().filter(|field| !source[field].is_null()).collect();
        for field in &said {
            let (at, name) = (format!("{path}.{field}.name"), text(&source[*field]["name"]));
            if name.is_empty() {
                causes.push(cause::required(at, ""));
            } else {
                let faults = names::dns_subdomain(name);
                causes.extend(faults.iter().map(|why| cause::invalid(&at, &Value::from(name), why)));
            }
        }
        let why = match said.len() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        causes.push(cause::invalid(list, &Value::from(""), why));
    }
}

fn variable_name(at: &str, name: &str, causes: &mut Vec<Cause>) {
    let faults = names::environment_name(name);
    causes.extend(faults.iter().map(|why| cause::invalid(at, &Value::from(name), why)));
}

fn source_faults(variable: &Value, path: &str, causes: &mut Vec<Cause>) {
    let source = &variable["valueFrom"];
    let mut said = 0;
    for field in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        if source[field].is_null() {
            continue;
        }
        said += 1;
        let path = join(path, field);
        match field {
            "fieldRef" => field_faults(&source[field], &path, &FIELDS, causes),
            "resourceFieldRef" => resource_faults(&source[field], &path, false, causes),
            "fileKeyRef" => {}
            _ => key_of_object_faults(&source[field], &path, causes),
        }
    }
    let none = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
    let mut fault = |why: &str| causes.push(cause::invalid(path, &Value::from(""), why));
    if said == 0 {
        fault(none);
    }
    if !text(&variable["value"]).is_empty() {
        if said > 0 {
            fault("may not be specified when `value` is not empty");
        }
    } else if said > 1 {
        fault("may not have more than one field specified at a time");
    }
}

fn key_of_object_faults(reference: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = text(&reference["name"]);
    let faults = names::dns_subdomain(name);
    causes.extend(faults.iter().map(|why| cause::invalid(join(path, "name"), &Value::from(name), why)));
    let (at, key) = (join(path, "key"), text(&reference["key"]));
    if key.is_empty() {
        causes.push(cause::required(at, ""));
    } else {
        causes.extend(key_grammar(key).iter().map(|why| cause::invalid(&at, &Value::from(key), why)));
    }
}

/// A field of the pod (`validateObjectFieldSelector`).
pub(super) fn field_faults(field: &Value, path: &str, known: &[&str], causes: &mut Vec<Cause>) {
    let (version, name) = (text(&field["apiVersion"]), text(&field["fieldPath"]));
    let at = join(path, "fieldPath");
    if name.is_empty() {
        causes.push(cause::required(at, ""));
        return;
    }
    let whole = name.split_once('[').and_then(|(map, key)| Some((map, key.strip_suffix(']')?)));
    let whole = whole.and_then(|(map, key)| Some((map, key.strip_prefix('\'')?.strip_suffix('\'')?)));
    let subscripted = whole.filter(|(map, _)| matches!(*map, "metadata.annotations" | "metadata.labels"));
    let why = if !matches!(version, "" | "v1") {
        format!("unsupported pod version: {version}")
    } else if subscripted.is_none() && !FIELDS.contains(&name) && !LABELLED.contains(&name) {
        format!("field label not supported: {name}")
    } else if let Some((map, key)) = subscripted {
        let lower = key.to_lowercase();
        let faults = names::qualified_name(if map.ends_with("annotations") { &lower } else { key });
        causes.extend(faults.iter().map(|why| cause::invalid(path, &Value::from(key), why)));
        return;
    } else {
        if !known.contains(&name) {
            causes.push(not_supported(&at, &field["fieldPath"], known));
        }
        return;
    };
    causes.push(cause::invalid(at, &field["fieldPath"], &format!("error converting fieldPath: {why}")));
}

/// An amount of a container (`validateContainerResourceFieldSelector`); a file must say of which.
pub(super) fn resource_faults(field: &Value, path: &str, named: bool, causes: &mut Vec<Cause>) {
    let resource = text(&field["resource"]);
    if named && text(&field["containerName"]).is_empty() {
        causes.push(cause::required(join(path, "containerName"), ""));
    } else if resource.is_empty() {
        causes.push(cause::required(join(path, "resource"), ""));
    } else {
        let huge =
            ["limits.hugepages-", "requests.hugepages-"].iter().any(|start| resource.starts_with(start));
        if !huge && !RESOURCES.contains(&resource) {
            causes.push(not_supported(&join(path, "resource"), &field["resource"], &RESOURCES));
            return;
        }
    }
    let Some((_, what)) = resource.split_once('.') else { return };
    let divisor = field["divisor"].as_str().and_then(quantity::canonical);
    let Some(divisor) = divisor.filter(|divisor| divisor != "0") else { return };
    let (known, units): (&[&str], _) =
        if what == "cpu" { (&["1m", "1"], "1m and 1".to_owned()) } else { (&UNITS, UNITS.join(", ")) };
    if !known.contains(&divisor.as_str()) {
        let what = if what.starts_with("hugepages-") { "hugepages" } else { what };
        let why = format!("only divisor's values {units} are supported with the {what} resource");
        causes.push(cause::invalid(join(path, "divisor"), &field["resource"], &why));
    }
}
