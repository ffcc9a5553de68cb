//! The versions an object is kept and served in.
//!
//! Custom resources without a webhook ([`super::conversion`]) are converted as `strategy: None` does: only `apiVersion` differs. Events are kept as core/v1 and
//! served as events.k8s.io/v1 too; autoscalers are kept as v2.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::{ApiServer, autoscaler_versions};
use crate::patch;
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
        ("autoscaling", "v1") => autoscaler_versions::to_v1(value),
        _ => {}
    }
}

/// A value of a request under `resource` as it is kept.
pub(super) fn to_storage(resource: &Resource, value: &mut Value) {
    match (resource.group.as_str(), resource.version.as_str()) {
        ("events.k8s.io", _) => rename(value, EVENT_FIELDS.iter().map(|(core, new)| (*new, *core))),
        ("autoscaling", "v1") => autoscaler_versions::to_v2(value),
        _ => {}
    }
    value["apiVersion"] = json!(resource.storage_api_version);
}

/// A copy of a stored value as it is served under `resource`.
fn shown(resource: &Resource, value: &Value) -> Value {
    let mut shown = value.clone();
    from_storage(resource, &mut shown);
    shown
}

impl ApiServer {
    /// Records who owns which fields of an object in storage, which are those of the version that the client speaks.
    pub(super) fn track(&self, call: &Call<'_>, old: Option<&Value>, new: &mut Value) {
        let resource = &call.resource;
        let schema = resource.schema().map(AsRef::as_ref);
        if resource.custom.is_some() {
            patch::track_update(schema, old, new, &call.applier());
            return;
        }
        if schema.is_some_and(|schema| schema.has_empty(new)) {
            // Nobody owns what is not written; whether it was said still matters to the rules of its kind.
            let mut written = new.clone();
            schema.map(|schema| schema.drop_empty(&mut written));
            // An empty list of owners is an order: to begin anew.
            if new["metadata"]["managedFields"] == json!([]) {
                written["metadata"]["managedFields"] = json!([]);
            }
            self.track_written(call, old, &mut written);
            take_entries(&mut written, new);
        } else {
            self.track_written(call, old, new);
        }
    }

    /// The same for an object of a built-in kind, as it is written.
    fn track_written(&self, call: &Call<'_>, old: Option<&Value>, new: &mut Value) {
        let resource = &call.resource;
        let schema = resource.schema().map(AsRef::as_ref);
        if resource.api_version() == resource.storage_api_version {
            patch::track_update(schema, old, new, &call.applier());
        } else {
            let (old, mut tracked) = (old.map(|old| shown(resource, old)), shown(resource, new));
            patch::track_update(schema, old.as_ref(), &mut tracked, &call.applier());
            take_entries(&mut tracked, new);
        }
        if let Some(old) = old {
            self.track_other_versions(resource, old, new);
        }
    }

    /// Who owns fields of another version loses those that have changed there.
    fn track_other_versions(&self, resource: &Resource, old: &Value, new: &mut Value) {
        let own = resource.api_version();
        let entries = new["metadata"]["managedFields"].as_array();
        let versions: BTreeSet<String> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["apiVersion"].as_str())
            .filter(|version| *version != own)
            .map(str::to_owned)
            .collect();
        for version in versions {
            let (group, name) = version.split_once('/').unwrap_or(("", &version));
            let other = self.registry.get(group, name, &resource.plural);
            let Some(other) = other.filter(|other| other.storage == resource.storage) else { continue };
            let (before, after) = (shown(other, old), shown(other, new));
            patch::lose(other.schema().map(AsRef::as_ref), &before, &after, &version, new);
        }
    }
}

/// Gives one value the recorded owners of another, or none if that has none.
fn take_entries(from: &mut Value, to: &mut Value) {
    let entries = from["metadata"].get_mut("managedFields").map(Value::take);
    let Some(metadata) = to["metadata"].as_object_mut() else { return };
    match entries {
        Some(entries) => drop(metadata.insert("managedFields".into(), entries)),
        None => drop(metadata.remove("managedFields")),
    }
}

fn rename<'a>(value: &mut Value, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(object) = value.as_object_mut() else { return };
    for (from, to) in fields {
        if let Some(field) = object.remove(from) {
            object.insert(to.into(), field);
        }
    }
}
