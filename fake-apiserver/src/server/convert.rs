//! The versions an object is kept and served in.
//!
//! Custom resources are converted as `strategy: None` does: only `apiVersion` differs. Events are kept as core/v1 and
//! served as events.k8s.io/v1 too; autoscalers are kept as v2.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::registry::Resource;
use crate::storage::Stored;

/// Field of core/v1 and of events.k8s.io/v1.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// An object as it is served under `resource`; the same bytes where nothing differs.
pub(super) fn present(resource: &Resource, object: &Arc<Stored>) -> Arc<Stored> {
    if resource.api_version() == resource.storage_api_version && resource.edition() == object.edition {
        return Arc::clone(object);
    }
    let mut value = object.value();
    from_storage(resource, &mut value);
    let mut shown = Stored::from_value(&value, &resource.selectable_fields, resource.edition());
    if resource.custom.is_none() {
        shown.fields.clone_from(&object.fields);
    }
    Arc::new(shown)
}

/// A value from storage as it is served under `resource`.
pub(super) fn from_storage(resource: &Resource, value: &mut Value) {
    value["apiVersion"] = json!(resource.api_version());
    if let (Some(_), Some(schema)) = (&resource.custom, resource.schema()) {
        schema.prune(value);
        schema.default(value);
    }
    match (resource.group.as_str(), resource.version.as_str()) {
        ("events.k8s.io", _) => {
            rename(value, EVENT_FIELDS.iter().map(|(core, new)| (*core, *new)));
            if let Some(event) = value.as_object_mut() {
                // core/v1 always writes these, events.k8s.io/v1 only with a value.
                event.retain(|field, value| !(field.starts_with("reporting") && *value == ""));
            }
        }
        ("autoscaling", "v1") => autoscaler_to_v1(value),
        _ => {}
    }
}

/// A value of a request under `resource` as it is kept.
pub(super) fn to_storage(resource: &Resource, value: &mut Value) {
    match (resource.group.as_str(), resource.version.as_str()) {
        ("events.k8s.io", _) => rename(value, EVENT_FIELDS.iter().map(|(core, new)| (*new, *core))),
        ("autoscaling", "v1") => autoscaler_to_v2(value),
        _ => {}
    }
    value["apiVersion"] = json!(resource.storage_api_version);
}

fn rename<'a>(value: &mut Value, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(object) = value.as_object_mut() else { return };
    for (from, to) in fields {
        if let Some(field) = object.remove(from) {
            object.insert(to.into(), field);
        }
    }
}

fn autoscaler_to_v1(value: &mut Value) {
    let metrics = value["spec"].as_object_mut().and_then(|spec| spec.remove("metrics"));
    let cpu = metrics.iter().flat_map(|m| m.as_array().into_iter().flatten());
    let cpu = cpu
        .filter(|m| m["resource"]["name"] == "cpu")
        .find_map(|m| m["resource"]["target"]["averageUtilization"].as_i64());
    if let Some(percent) = cpu {
        value["spec"]["targetCPUUtilizationPercentage"] = json!(percent);
    }
}

fn autoscaler_to_v2(value: &mut Value) {
    let percent = value["spec"].as_object_mut().and_then(|s| s.remove("targetCPUUtilizationPercentage"));
    if let Some(percent) = percent {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        value["spec"]["metrics"] =
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
}
