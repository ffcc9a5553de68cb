//! `PersistentVolumeClaims`, by `pkg/apis/core/validation` (`ValidatePersistentVolumeClaim…`).

use serde_json::{Map, Value, json};

use super::persistent_volume::{VOLUME_MODES, access_modes};
use super::rules::{Rows, Rule, faults as check, grammar, join, text};
use crate::quantity;
use crate::schema::cause;
use crate::server::go_diff::{Shown, unified};
use crate::server::names;
use crate::status::Cause;

const TABLE: Rows = &[
    ("spec.accessModes", Rule::Required("at least 1 access mode is required")),
    ("spec.selector?", Rule::Selector),
    ("spec.accessModes", Rule::Own(access_modes)),
    ("spec", Rule::Own(size)),
    ("spec.storageClassName", Rule::Text(names::dns_subdomain)),
    ("spec.volumeMode", Rule::OneOf(VOLUME_MODES)),
    ("spec.dataSource?", Rule::Own(source)),
    ("spec.dataSourceRef?", Rule::Own(source)),
    ("spec.dataSourceRef?.namespace", Rule::Text(names::dns_label)),
    ("spec", Rule::Own(one_source)),
    ("spec.volumeAttributesClassName", Rule::Text(names::dns_subdomain)),
];

/// Each of the two sources from the other.
pub(super) fn join_sources(claim: &mut Value) {
    let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else { return };
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(source), None) => drop(spec.insert("dataSourceRef".into(), source)),
        (None, Some(source)) if text(&source["namespace"]).is_empty() => {
            spec.insert("dataSource".into(), source);
        }
        _ => {}
    }
}

/// What is wrong with a claim.
pub(super) fn faults(claim: &Value) -> Vec<Cause> {
    check(TABLE, claim)
}

/// What a client should know about a claim.
pub(super) fn warnings(claim: &Value) -> Vec<String> {
    let amount = text(&claim["spec"]["resources"]["requests"]["storage"]);
    let fraction = quantity::milli(amount).is_some_and(|amount| amount % 1000 != 0);
    let said = format!(
        "spec.resources.requests[storage]: fractional byte value {amount:?} is invalid, must be an integer"
    );
    fraction.then_some(said).into_iter().collect()
}

/// What of a claim may not change: all but its volume, which is given once, and the size of a bound one.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (mut wanted, mut had) = (new["spec"].clone(), old["spec"].clone());
    if text(&old["spec"]["volumeName"]).is_empty() {
        super::set_or_remove(&mut had, "volumeName", wanted.get("volumeName").cloned());
    }
    // A class may be named later, once.
    if old["spec"]["storageClassName"].is_null() {
        super::set_or_remove(&mut wanted, "storageClassName", None);
    }
    let storage = |claim: &Value| claim["spec"]["resources"]["requests"]["storage"].clone();
    if new["status"]["phase"] == "Bound" {
        if wanted["resources"]["requests"].is_object() {
            wanted["resources"]["requests"]["storage"] = storage(old);
        }
        super::set_or_remove(
            &mut wanted,
            "volumeAttributesClassName",
            had.get("volumeAttributesClassName").cloned(),
        );
    }
    if wanted != had {
        let difference = unified(&shown(&had), &shown(&wanted));
        let why = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
             claims\n{difference}"
        );
        causes.push(cause::forbidden("spec", &why));
    }
    let amount = |value: &Value| value.as_str().and_then(quantity::milli).unwrap_or_default();
    let has = amount(&storage(new));
    if has < amount(&storage(old)) && has <= amount(&old["status"]["capacity"]["storage"]) {
        let why = "field can not be less than status.capacity";
        causes.push(cause::forbidden("spec.resources.requests.storage", why));
    }
    causes
}

/// What is wrong with a status.
pub(super) fn status_faults(claim: &Value) -> Vec<Cause> {
    let capacity = claim["status"]["capacity"].as_object().into_iter().flatten();
    capacity
        .filter_map(|(name, amount)| {
            super::persistent_volume::basic(&format!("status.capacity[{name}]"), amount)
        })
        .collect()
}

fn size(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let at = format!("{path}.resources[storage]");
    let amount = &spec["resources"]["requests"]["storage"];
    match amount.as_str().and_then(quantity::milli) {
        _ if amount.is_null() => causes.push(cause::required(at, "")),
        Some(value) if value <= 0 => causes.push(cause::invalid(at, amount, "must be greater than zero")),
        _ => {}
    }
}

fn source(source: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (group, kind) = (text(&source["apiGroup"]), text(&source["kind"]));
    for (field, value) in [("name", text(&source["name"])), ("kind", kind)] {
        if value.is_empty() {
            causes.push(cause::required(join(path, field), ""));
        }
    }
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        causes.push(cause::invalid(path, &Value::from(kind), why));
    }
    if !group.is_empty() {
        causes.extend(grammar(&join(path, "apiGroup"), group, names::dns_subdomain));
    }
}

fn one_source(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    if source.is_null() || reference.is_null() {
        return;
    }
    let fields = ["apiGroup", "kind", "name"];
    if !text(&reference["namespace"]).is_empty() {
        let why = "may not be specified when dataSourceRef.namespace is specified";
        causes.push(cause::invalid(path, &json!({}), why));
    } else if fields.iter().any(|field| source[*field] != reference[*field]) {
        causes.push(cause::invalid(path, &json!({}), "must match dataSourceRef"));
    }
}

/// The spec as Go's internal type shows it.
fn shown(spec: &Value) -> Shown {
    let value = |field: &str| Shown::Value(spec[field].clone());
    let text = |field: &str| Shown::Value(json!(text(&spec[field])));
    let amounts = |list: &str| Shown::Value(spec["resources"][list].clone());
    let reference = |field: &str, with_namespace: bool| match spec[field].as_object() {
        None => Shown::Value(Value::Null),
        Some(source) => Shown::Struct(reference(source, with_namespace)),
    };
    Shown::Struct(vec![
        ("AccessModes", value("accessModes")),
        ("Selector", value("selector")),
        ("Resources", Shown::Struct(vec![("Limits", amounts("limits")), ("Requests", amounts("requests"))])),
        ("VolumeName", text("volumeName")),
        ("StorageClassName", value("storageClassName")),
        ("VolumeMode", value("volumeMode")),
        ("DataSource", reference("dataSource", false)),
        ("DataSourceRef", reference("dataSourceRef", true)),
        ("VolumeAttributesClassName", value("volumeAttributesClassName")),
    ])
}

fn reference(source: &Map<String, Value>, with_namespace: bool) -> Vec<(&'static str, Shown)> {
    let value = |field: &str| Shown::Value(source.get(field).cloned().unwrap_or_default());
    let mut fields = vec![("APIGroup", value("apiGroup")), ("Kind", value("kind")), ("Name", value("name"))];
    if with_namespace {
        fields.push(("Namespace", value("namespace")));
    }
    fields
}
