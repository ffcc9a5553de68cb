//! `metadata`: what the server fills in and what it refuses, as in `k8s.io/apimachinery/pkg/api/validation`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{go_text, names};
use crate::registry::Resource;
use crate::schema::go_name;
use crate::status::{Cause, Status};

/// RFC 3339 with whole seconds, as `metav1.Time` is written.
pub(super) fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The uid with this number: unique for the life of the server, the same in every run of the same history.
pub(super) fn uid(number: u64) -> String {
    format!("{:08x}-{:04x}-4000-8000-{number:012x}", number >> 32, (number >> 16) & 0xffff)
}

/// The suffix that `generateName` gets for this number: five characters of Kubernetes' alphabet, without repetition
/// for the first 14 million numbers.
pub(super) fn suffix(number: u64) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    const SPACE: u64 = 27_u64.pow(5);
    let mut rest = (number.wrapping_mul(9_973_181) + 4_271_939) % SPACE;
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(ALPHABET[(rest % 27) as usize]));
        rest /= 27;
    }
    text
}

/// The metadata of an object as a map; a missing one is made.
pub(super) fn of(value: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    let object = value.as_object_mut().ok_or_else(|| Status::bad_request("the body is not an object"))?;
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut().ok_or_else(|| Status::bad_request("metadata is not an object"))
}

/// What the server says of a deletion that has begun.
const DELETION: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];

const KNOWN: &[&str] = &[
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Decodes `metadata` as Go would: nulls and empty collections vanish, unknown fields are returned, wrong types are
/// refused.
pub(super) fn decode(metadata: &mut Map<String, Value>) -> Result<Vec<String>, Status> {
    let mut unknown = Vec::new();
    metadata.retain(|key, value| {
        if !KNOWN.contains(&key.as_str()) {
            unknown.push(format!("metadata.{key}"));
            return false;
        }
        match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => key == "managedFields" || !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            _ => true,
        }
    });
    for (key, value) in metadata.iter() {
        let wrong = |value: &Value, wanted: &str| {
            Err(Status::bad_request(format!(
                "json: cannot unmarshal {} into Go struct field ObjectMeta.metadata.{key} of type {wanted}",
                go_name(value)
            )))
        };
        let (inner, wanted) = match key.as_str() {
            "labels" | "annotations" => match value.as_object() {
                Some(map) => (map.values().find(|v| !v.is_string()), "string"),
                None => (Some(value), "map[string]string"),
            },
            "finalizers" => match value.as_array() {
                Some(items) => (items.iter().find(|v| !v.is_string()), "string"),
                None => (Some(value), "[]string"),
            },
            "ownerReferences" | "managedFields" => match value.as_array() {
                Some(items) => (items.iter().find(|v| !v.is_object()), "object"),
                None => (Some(value), "[]object"),
            },
            "generation" | "deletionGracePeriodSeconds" => {
                (Some(value).filter(|v| v.as_i64().is_none()), "int64")
            }
            _ => (Some(value).filter(|v| !v.is_string()), "string"),
        };
        if let Some(inner) = inner {
            return wrong(inner, wanted);
        }
    }
    Ok(unknown)
}

/// Faults of names, labels, annotations, finalizers and owner references.
pub(super) fn validate(resource: &Resource, metadata: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = metadata["name"].as_str().unwrap_or_default();
    if let Some(prefix) = metadata["generateName"].as_str() {
        let sample = format!("{prefix}x");
        let faults = name_faults(resource, &sample).into_iter();
        causes.extend(faults.map(|fault| invalid("metadata.generateName", prefix, &fault)));
    }
    causes
        .extend(name_faults(resource, name).into_iter().map(|fault| invalid("metadata.name", name, &fault)));
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        causes.extend(names::qualified_name(key).iter().map(|f| invalid("metadata.labels", key, f)));
        causes.extend(names::label_value(value).iter().map(|f| invalid("metadata.labels", value, f)));
    }
    causes.extend(annotation_faults(&metadata["annotations"]));
    for (index, finalizer) in metadata["finalizers"].as_array().into_iter().flatten().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        causes.extend(names::qualified_name(text).iter().map(|f| invalid("metadata.finalizers", text, f)));
        let standard = ["orphan", "foregroundDeletion", "kubernetes"].contains(&text);
        if resource.custom.is_none() && !standard && !text.contains('/') {
            let fault = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(invalid(&format!("metadata.finalizers[{index}]"), text, fault));
        }
    }
    let finalizers = &metadata["finalizers"];
    let has = |name: &str| finalizers.as_array().is_some_and(|all| all.iter().any(|f| f == name));
    if has("orphan") && has("foregroundDeletion") {
        let fault = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(invalid_value("metadata.finalizers", finalizers, fault));
    }
    causes.extend(owner_faults(&metadata["ownerReferences"]));
    causes
}

fn annotation_faults(annotations: &Value) -> Vec<Cause> {
    const BOUND: usize = 256 * 1024;
    let Some(annotations) = annotations.as_object() else { return Vec::new() };
    let mut causes = Vec::new();
    let mut size = 0;
    for (key, value) in annotations {
        let lower = key.to_ascii_lowercase();
        causes.extend(names::qualified_name(&lower).iter().map(|f| invalid("metadata.annotations", key, f)));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > BOUND {
        causes.push(Cause::new(
            "FieldValueTooLong",
            "metadata.annotations",
            format!("Too long: may not be more than {BOUND} bytes"),
        ));
    }
    causes
}

fn owner_faults(owners: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controllers = Vec::new();
    for owner in owners.as_array().into_iter().flatten() {
        let field = "metadata.ownerReferences";
        for part in ["apiVersion", "kind", "name", "uid"] {
            if owner[part].as_str().unwrap_or_default().is_empty() {
                let said =
                    if part == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                causes.push(invalid(&format!("{field}.{part}"), "", said));
            }
        }
        if owner["apiVersion"] == "v1" && owner["kind"] == "Event" {
            let fault = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(Cause::new(
                "FieldValueInvalid",
                field,
                format!("Invalid value: {}: {fault}", go_text::owner(owner)),
            ));
        }
        if owner["controller"] == true {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            controllers.push(format!("{}/{}", text("kind"), text("name")));
        }
    }
    if controllers.len() > 1 {
        let all: Vec<String> = owners.as_array().into_iter().flatten().map(go_text::owner).collect();
        causes.push(Cause::new(
            "FieldValueInvalid",
            "metadata.ownerReferences",
            format!(
                "Invalid value: [{}]: Only one reference can have Controller set to true. Found \"true\" in \
                 references for {} and {}",
                all.join(","),
                controllers[0],
                controllers[1]
            ),
        ));
    }
    causes
}

/// Each kind's own rule for names.
fn name_faults(resource: &Resource, name: &str) -> Vec<String> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        // Names of services may begin with a digit since 1.36 (RelaxedServiceNameValidation).
        ("", "namespaces" | "services") | ("apps", "statefulsets") => names::dns_label(name),
        ("rbac.authorization.k8s.io" | "events.k8s.io" | "apiregistration.k8s.io", _) | ("", "events") => {
            names::path_segment(name)
        }
        _ => names::dns_subdomain(name),
    }
}

/// A cause with the value it speaks of.
pub(super) fn invalid(field: &str, value: &str, fault: &str) -> Cause {
    Cause::new("FieldValueInvalid", field, format!("Invalid value: {value:?}: {fault}"))
}

/// A cause with a value that is no text.
fn invalid_value(field: &str, value: &Value, fault: &str) -> Cause {
    Cause::new("FieldValueInvalid", field, format!("Invalid value: {value}: {fault}"))
}

/// A cause for a field that may not change.
pub(super) fn immutable(field: &str, value: &Value) -> Cause {
    Cause::new("FieldValueInvalid", field, format!("Invalid value: {value}: field is immutable"))
}

/// Carries over what no client may change and finds what it has tried to change.
pub(super) fn keep(old: &Value, new: &mut Map<String, Value>) -> Vec<Cause> {
    let carry = |new: &mut Map<String, Value>, field: &str| match &old[field] {
        Value::Null => drop(new.remove(field)),
        value => drop(new.insert(field.into(), value.clone())),
    };
    let mut causes = Vec::new();
    carry(new, "creationTimestamp");
    carry(new, "generation");
    carry(new, "selfLink");
    if !new.contains_key("uid") {
        carry(new, "uid");
    }
    for field in DELETION {
        if !old[field].is_null() {
            carry(new, field);
        } else if let Some(value) = new.get(field) {
            causes.push(immutable(&format!("metadata.{field}"), value));
        }
    }
    causes.extend(new_finalizers(old, new));
    causes
}

/// What the server says of a deletion that this metadata does not.
pub(super) fn unsaid_deletion(metadata: &Value) -> Vec<&'static str> {
    DELETION.into_iter().filter(|field| metadata[*field].is_null()).collect()
}

/// Takes fields out, to be put back.
pub(super) fn withhold(metadata: &mut Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    fields.iter().filter_map(|field| metadata.remove_entry(*field)).collect()
}

fn new_finalizers(old: &Value, new: &Map<String, Value>) -> Option<Cause> {
    if old["deletionTimestamp"].is_null() {
        return None;
    }
    let had = old["finalizers"].as_array().map_or(&[][..], Vec::as_slice);
    let has = new.get("finalizers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let added: Vec<String> = has.iter().filter(|f| !had.contains(f)).map(Value::to_string).collect();
    (!added.is_empty()).then(|| {
        Cause::new(
            "FieldValueForbidden",
            "metadata.finalizers",
            format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_do_not_repeat_and_use_the_alphabet_of_kubernetes() {
        let suffixes: std::collections::BTreeSet<String> = (0..20_000).map(suffix).collect();
        assert_eq!(suffixes.len(), 20_000);
        assert!(suffixes.iter().all(|s| s.len() == 5 && !s.contains(['a', 'e', 'i', 'o', 'u', '1', '3'])));
    }

    #[test]
    fn uids_are_distinct_and_well_formed() {
        assert_ne!(uid(1), uid(2));
        assert_eq!(uid(7), "00000000-0000-4000-8000-000000000007");
    }

    #[test]
    fn decoding_drops_nulls_and_names_unknown_fields() {
        let mut metadata = json!({"name": "x", "creationTimestamp": null, "labels": {}, "foo": 1});
        let unknown = decode(metadata.as_object_mut().unwrap()).unwrap();
        assert_eq!((metadata, unknown), (json!({"name": "x"}), vec!["metadata.foo".to_owned()]));
        let mut wrong = json!({"labels": {"a": 1}});
        assert_eq!(decode(wrong.as_object_mut().unwrap()).unwrap_err().code, 400);
    }
}
