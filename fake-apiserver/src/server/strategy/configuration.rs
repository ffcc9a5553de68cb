//! Kinds that hold configuration: Secrets, ConfigMaps, role bindings, CustomResourceDefinitions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::server::meta;
use crate::status::Cause;

/// `stringData` becomes `data`, whose values lose their line ends: they are decoded and encoded again.
pub(super) fn fill_secret(secret: &mut Value) {
    let data = secret.get_mut("data").and_then(Value::as_object_mut);
    for value in data.into_iter().flat_map(|data| data.values_mut()) {
        if let Some(text) = value.as_str().filter(|text| text.contains(['\r', '\n'])) {
            *value = json!(text.replace(['\r', '\n'], ""));
        }
    }
    let Some(texts) = secret.as_object_mut().and_then(|secret| secret.remove("stringData")) else { return };
    for (key, text) in texts.as_object().into_iter().flatten() {
        secret["data"][key] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
    }
}

/// Names that follow from the kind, and the conversion.
pub(super) fn fill_definition(definition: &mut Value) {
    let Some(names) = definition.pointer_mut("/spec/names").filter(|names| names.is_object()) else { return };
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    if names["singular"].as_str().unwrap_or_default().is_empty() && !kind.is_empty() {
        names["singular"] = json!(kind.to_lowercase());
    }
    if names["listKind"].as_str().unwrap_or_default().is_empty() && !kind.is_empty() {
        names["listKind"] = json!(format!("{kind}List"));
    }
}

/// What is wrong with the keys of a Secret or ConfigMap.
pub(super) fn faults(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            size += value.as_str().map_or(0, str::len);
            let valid = !key.is_empty()
                && key.len() <= 253
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
                && !matches!(key.as_str(), "." | "..");
            if !valid {
                let fault = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                causes.push(meta::invalid(&format!("{field}[{key}]"), key, fault));
            }
        }
    }
    if size > 1024 * 1024 * 4 / 3 {
        causes.push(Cause::new("FieldValueTooLong", "data", "Too long: may not be more than 1048576 bytes"));
    }
    causes
}

/// What is immutable stays so.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if old["immutable"] == true {
        if new["immutable"] != true {
            let fault = "Forbidden: field is immutable when `immutable` is set";
            causes.push(Cause::new("FieldValueForbidden", "immutable", fault));
        }
        for field in ["data", "binaryData"] {
            if new[field] != old[field] {
                let fault = "Forbidden: field is immutable when `immutable` is set";
                causes.push(Cause::new("FieldValueForbidden", field, fault));
            }
        }
    }
    if old["kind"] == "Secret" && new["type"] != old["type"] {
        causes.push(meta::immutable("type", &new["type"]));
    }
    causes
}
