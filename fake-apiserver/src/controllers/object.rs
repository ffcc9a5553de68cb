//! Reading and writing parts of objects as JSON.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::storage::{GroupResource, Stored};

pub(crate) const PODS: GroupResource = GroupResource::new("", "pods");
pub(crate) const NODES: GroupResource = GroupResource::new("", "nodes");
pub(crate) const NAMESPACES: GroupResource = GroupResource::new("", "namespaces");
pub(crate) const SERVICES: GroupResource = GroupResource::new("", "services");
pub(crate) const ENDPOINTS: GroupResource = GroupResource::new("", "endpoints");
pub(crate) const EVENTS: GroupResource = GroupResource::new("", "events");
pub(crate) const REPLICA_SETS: GroupResource = GroupResource::new("apps", "replicasets");
pub(crate) const DEPLOYMENTS: GroupResource = GroupResource::new("apps", "deployments");
pub(crate) const STATEFUL_SETS: GroupResource = GroupResource::new("apps", "statefulsets");
pub(crate) const DAEMON_SETS: GroupResource = GroupResource::new("apps", "daemonsets");
pub(crate) const REVISIONS: GroupResource = GroupResource::new("apps", "controllerrevisions");
pub(crate) const JOBS: GroupResource = GroupResource::new("batch", "jobs");
pub(crate) const BUDGETS: GroupResource = GroupResource::new("policy", "poddisruptionbudgets");
pub(crate) const SLICES: GroupResource = GroupResource::new("discovery.k8s.io", "endpointslices");

/// A time as objects carry it: UTC, whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A text, empty when absent.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The items of an array, none when absent.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The array at a field, made when absent.
pub(crate) fn array_mut<'a>(parent: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    let at = object_mut(parent).entry(field).or_insert(Value::Null);
    if !at.is_array() {
        *at = Value::Array(Vec::new());
    }
    match at {
        Value::Array(items) => items,
        _ => unreachable!("made an array above"),
    }
}

/// The map behind a value, made when it is something else.
pub(crate) fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// The ownerReference by which `owner` manages another object.
pub(crate) fn controller_ref(owner: &Stored, api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": owner.key.name, "uid": owner.meta.uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// The value of an annotation, empty when absent.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> &'a str {
    text(&object["metadata"]["annotations"][name])
}

/// Sets an annotation; returns whether that changed anything.
pub(crate) fn set_annotation(object: &mut Value, name: &str, value: &str) -> bool {
    if annotation(object, name) == value && object["metadata"]["annotations"][name].is_string() {
        return false;
    }
    object_mut(&mut object["metadata"]["annotations"]).insert(name.into(), value.into());
    true
}

/// One condition of a status.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&object["status"]["conditions"]).iter().find(|c| c["type"] == kind)
}

/// Whether a condition is true.
pub(crate) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == "True")
}

/// What a condition is to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Says<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

/// Sets a condition of `status`; `lastTransitionTime` moves only with the condition's status. Returns whether it changed.
pub(crate) fn set_condition(status: &mut Value, says: Says<'_>, now: Timestamp) -> bool {
    let conditions = array_mut(status, "conditions");
    let known = conditions.iter_mut().find(|c| c["type"] == says.kind);
    let since = match &known {
        Some(c) if c["status"] == says.status && c["lastTransitionTime"].is_string() => {
            text(&c["lastTransitionTime"]).to_owned()
        }
        _ => time(now),
    };
    let mut wanted = json!({"type": says.kind, "status": says.status, "lastTransitionTime": since});
    for (field, words) in [("reason", says.reason), ("message", says.message)] {
        if !words.is_empty() {
            wanted[field] = words.into();
        }
    }
    let Some(known) = known else {
        conditions.push(wanted);
        return true;
    };
    if ["status", "reason", "message", "lastTransitionTime"].iter().all(|f| known[*f] == wanted[*f]) {
        return false;
    }
    // Other fields of the condition (lastProbeTime, observedGeneration) stay.
    let known = object_mut(known);
    known.remove("reason");
    known.remove("message");
    if let Value::Object(wanted) = wanted {
        known.extend(wanted);
    }
    true
}

/// Removes a condition of `status`.
pub(crate) fn remove_condition(status: &mut Value, kind: &str) {
    if status["conditions"].is_array() {
        array_mut(status, "conditions").retain(|c| c["type"] != kind);
    }
}

/// Sets a field, or removes it when the number is zero: fields that Kubernetes marks `omitempty`.
pub(crate) fn set_count(status: &mut Value, field: &str, count: i64) {
    let map = object_mut(status);
    if count == 0 {
        map.remove(field);
    } else {
        map.insert(field.into(), count.into());
    }
}

/// An int-or-percent of a whole, rounded up or down.
pub(crate) fn int_or_percent(value: &Value, whole: i64, round_up: bool) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent: i64 = text(value).trim_end_matches('%').parse().unwrap_or_default();
    let scaled = percent * whole;
    if round_up { (scaled + 99) / 100 } else { scaled / 100 }
}
