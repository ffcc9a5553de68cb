//! Short ways into an object, and the forms several kinds share.

use jiff::Timestamp;
use serde_json::Value;

use super::age;

/// Text at a JSON pointer; empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Number at a JSON pointer; 0 where there is none.
pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Elements of the array at a JSON pointer.
pub(super) fn array<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `text`, or the placeholder where it is empty.
pub(super) fn or<'a>(text: &'a str, placeholder: &'a str) -> &'a str {
    if text.is_empty() { placeholder } else { text }
}

/// The object's name.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The object's age.
pub(super) fn created(object: &Value, now: Timestamp) -> String {
    age::since(text(object, "/metadata/creationTimestamp"), now)
}

/// Access modes of a volume in their short form, each once and in Kubernetes' order.
pub(super) fn access_modes(object: &Value, pointer: &str) -> String {
    const MODES: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let said = array(object, pointer);
    let has = |mode: &&(&str, &str)| said.iter().any(|said| said == mode.0);
    MODES.iter().filter(has).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// Whether the object is being deleted.
pub(super) fn deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// Whether a condition of `status.conditions` is True.
pub(super) fn condition(object: &Value, kind: &str) -> bool {
    array(object, "/status/conditions")
        .iter()
        .any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

/// Number of keys of the maps at the given pointers.
pub(super) fn count_keys(object: &Value, pointers: &[&str]) -> i64 {
    pointers
        .iter()
        .filter_map(|pointer| object.pointer(pointer)?.as_object())
        .map(|map| map.len() as i64)
        .sum()
}

/// Names and images of a pod template's containers, each joined by commas.
pub(super) fn containers(object: &Value, pod_spec: &str) -> (String, String) {
    let list = array(object, &format!("{pod_spec}/containers"));
    let join = |field: &str| list.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
    (join("/name"), join("/image"))
}

/// Labels as `a=b,c=d`; `<none>` where there are none.
pub(super) fn labels(map: Option<&Value>) -> String {
    let pairs: Vec<String> = map
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// A label selector in its text form.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector.filter(|s| !s.is_null()) else { return "<none>".into() };
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for requirement in array(selector, "/matchExpressions") {
        let values: Vec<&str> = array(requirement, "/values").iter().filter_map(Value::as_str).collect();
        let key = text(requirement, "/key");
        parts.push(match text(requirement, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    if parts.is_empty() { "<none>".into() } else { parts.join(",") }
}

/// At most three of a list, and how many more there are.
pub(super) fn three_of(list: &[String]) -> String {
    match list.len() {
        0 => "<unset>".into(),
        1..=3 => list.join(","),
        more => format!("{} + {} more...", list[..3].join(","), more - 3),
    }
}
