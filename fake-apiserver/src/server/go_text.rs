//! Values as Go writes them into messages.

use serde_json::Value;

use crate::schema::cause::quote;

/// The members of ObjectMeta in the order of its Go type.
const META: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];
const MANAGER: [&str; 7] =
    ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1", "subresource"];
const OWNER: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];

/// A text as `%q` shows it.
pub(super) fn quoted(text: &str) -> String {
    quote(text)
}

/// An object as JSON after a patch: its own members by name, those of `metadata` as the Go type has them. Members of
/// custom resources have no Go type.
pub(super) fn object(value: &Value) -> String {
    let api_version = value["apiVersion"].as_str().unwrap_or_default();
    // Kubernetes' own groups have no dot or end so; a custom resource's group is somebody else's domain.
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let custom = group.contains('.') && !group.ends_with(".k8s.io");
    let Some(map) = value.as_object().filter(|_| !custom) else { return value.to_string() };
    let members = map.iter().map(|(key, child)| {
        let text = if key == "metadata" { meta(child) } else { child.to_string() };
        format!("{}:{text}", Value::from(key.as_str()))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// ObjectMeta as JSON.
pub(super) fn meta(meta: &Value) -> String {
    struct_of(meta, &META, |key, child| match (key, child.as_array()) {
        ("managedFields", Some(all)) => list(all, |entry| struct_of(entry, &MANAGER, |_, v| v.to_string())),
        ("ownerReferences", Some(all)) => list(all, owner),
        _ => child.to_string(),
    })
}

/// An owner reference as JSON.
pub(super) fn owner(owner: &Value) -> String {
    struct_of(owner, &OWNER, |_, value| value.to_string())
}

/// A value with the names of Go's internal types, which have no tags, and the fields that are always there.
pub(crate) fn untagged(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let name = |field: &str| {
                let mut letters = field.chars();
                letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            };
            let named = |(field, value): (&String, &Value)| Some((name(field)?, untagged(value)));
            let mut fields: serde_json::Map<String, Value> = fields.iter().filter_map(named).collect();
            if fields.contains_key("MatchExpressions") {
                fields.entry("MatchFields").or_insert(Value::Null);
            }
            Value::Object(fields)
        }
        Value::Array(items) => Value::Array(items.iter().map(untagged).collect()),
        other => other.clone(),
    }
}

fn list(items: &[Value], shown: impl Fn(&Value) -> String) -> String {
    format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(","))
}

/// An object as JSON with its members in this order.
pub(crate) fn ordered(value: &Value, order: &[&str]) -> String {
    struct_of(value, order, |_, value| value.to_string())
}

fn struct_of(value: &Value, order: &[&str], shown: impl Fn(&str, &Value) -> String) -> String {
    let Some(map) = value.as_object() else { return value.to_string() };
    let known = order.iter().filter_map(|name| Some((*name, map.get(*name)?)));
    let others = map.iter().filter(|(name, _)| !order.contains(&name.as_str())).map(|(n, v)| (n.as_str(), v));
    let members: Vec<String> =
        known.chain(others).map(|(name, value)| format!("\"{name}\":{}", shown(name, value))).collect();
    format!("{{{}}}", members.join(","))
}

/// What the JSON decoder says of text that is no JSON.
pub(crate) fn syntax_error(bytes: &[u8], error: &serde_json::Error) -> String {
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    match line.get(error.column().saturating_sub(1)) {
        Some(byte) if !error.is_eof() => {
            format!("invalid character {} looking for beginning of value", character(*byte))
        }
        _ => "unexpected end of JSON input".to_owned(),
    }
}

/// A byte as `encoding/json` quotes it.
fn character(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => format!("{:?}", char::from(byte)),
    }
}

/// A value as `%v` shows it.
pub(crate) fn printed(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", printed(v))).collect();
            format!("map[{}]", entries.join(" "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}
