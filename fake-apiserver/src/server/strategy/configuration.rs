//! Kinds that hold configuration: Secrets, ConfigMaps, role bindings, CustomResourceDefinitions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::rules::text;
use crate::schema::{cause, go_name};
use crate::server::{go_text, meta};
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
    if let Some(service) = definition.pointer_mut("/spec/conversion/webhook/clientConfig/service")
        && service["port"].is_null()
    {
        service["port"] = json!(443);
    }
    let Some(names) = definition.pointer_mut("/spec/names").filter(|names| names.is_object()) else { return };
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    if names["singular"].as_str().unwrap_or_default().is_empty() && !kind.is_empty() {
        names["singular"] = json!(kind.to_lowercase());
    }
    if names["listKind"].as_str().unwrap_or_default().is_empty() && !kind.is_empty() {
        names["listKind"] = json!(format!("{kind}List"));
    }
}

/// The most bytes of a Secret or `ConfigMap`.
const MOST_BYTES: usize = 1024 * 1024;

/// What is wrong with a `ConfigMap`.
pub(super) fn map_faults(map: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size = 0;
    for (key, value) in map["data"].as_object().into_iter().flatten() {
        causes.extend(key_faults("data", key));
        if map["binaryData"].get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            causes.push(cause::invalid(format!("data[{key}]"), &json!(key), why));
        }
        size += text(value).len();
    }
    for (key, value) in map["binaryData"].as_object().into_iter().flatten() {
        causes.extend(key_faults("binaryData", key));
        size += decoded(value).len();
    }
    if size > MOST_BYTES {
        causes.push(cause::too_long("", MOST_BYTES as u64));
    }
    causes
}

/// What is wrong with a Secret; its type says which keys it has.
pub(super) fn secret_faults(secret: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size = 0;
    let data = &secret["data"];
    for (key, value) in data.as_object().into_iter().flatten() {
        causes.extend(key_faults("data", key));
        size += decoded(value).len();
    }
    if size > MOST_BYTES {
        causes.push(cause::too_long("data", MOST_BYTES as u64));
    }
    let missing = |key: &str| cause::required(format!("data[{key}]"), "");
    let has = |key: &str| data.get(key).is_some();
    match text(&secret["type"]) {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            if text(&secret["metadata"]["annotations"][ACCOUNT]).is_empty() {
                causes.push(cause::required(format!("metadata.annotations[{ACCOUNT}]"), ""));
            }
        }
        "kubernetes.io/dockercfg" => causes.extend(json_fault(data, ".dockercfg")),
        "kubernetes.io/dockerconfigjson" => causes.extend(json_fault(data, ".dockerconfigjson")),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            causes.extend(["username", "password"].map(missing));
        }
        "kubernetes.io/ssh-auth" if text(&data["ssh-privatekey"]).is_empty() => {
            causes.push(missing("ssh-privatekey"));
        }
        "kubernetes.io/tls" => {
            causes.extend(["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).map(missing));
        }
        _ => {}
    }
    causes
}

/// The bytes of a value in base64.
fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).unwrap_or_default()
}

/// A key that holds a JSON object.
fn json_fault(data: &Value, key: &str) -> Option<Cause> {
    let field = format!("data[{key}]");
    if data.get(key).is_none() {
        return Some(cause::required(field, ""));
    }
    let bytes = decoded(&data[key]);
    let shown = json!("<secret contents redacted>");
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => None,
        Ok(other) => {
            let name = go_name(&other);
            let why =
                format!("json: cannot unmarshal {name} into Go value of type map[string]interface {{}}");
            Some(cause::invalid(field, &shown, &why))
        }
        Err(error) => Some(cause::invalid(field, &shown, &go_text::syntax_error(&bytes, &error))),
    }
}

/// `IsConfigMapKey`.
pub(super) fn key_grammar(key: &str) -> Vec<String> {
    const LONGEST: usize = 253;
    let mut faults = Vec::new();
    if key.len() > LONGEST {
        faults.push(format!("must be no more than {LONGEST} characters"));
    }
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        faults.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    match key {
        "." => faults.push("must not be '.'".to_owned()),
        ".." => faults.push("must not be '..'".to_owned()),
        _ if key.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

fn key_faults(field: &str, key: &str) -> Vec<Cause> {
    let field = format!("{field}[{key}]");
    key_grammar(key).iter().map(|fault| cause::invalid(&field, &json!(key), fault)).collect()
}

/// What is immutable stays so.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if old["kind"] == "Secret" && new["type"] != old["type"] {
        causes.push(meta::immutable("type", &new["type"]));
    }
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
    causes
}
