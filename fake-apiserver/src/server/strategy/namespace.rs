//! Namespaces: their own finalizer, their phase, their name as a label.

use serde_json::{Value, json};

use super::rules::{grammar, items, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const NOT_QUALIFIED: &str = "name is neither a standard finalizer name nor is it fully qualified";

/// The label every namespace carries.
pub(super) fn fill(namespace: &mut Value) {
    let name = namespace["metadata"]["name"].clone();
    if name.is_string() {
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
}

/// A namespace begins active and waits for its content when it is deleted.
pub(super) fn begin(namespace: &mut Value) {
    let mut finalizers = namespace["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
        finalizers.push(json!("kubernetes"));
    }
    namespace["spec"]["finalizers"] = json!(finalizers);
    namespace["status"] = json!({"phase": "Active"});
}

/// Only the endpoint `finalize` changes `spec.finalizers`.
pub(super) fn carry(subresource: Option<&str>, new: &mut Value, old: &Value) {
    if subresource != Some("finalize") {
        new["spec"] = old["spec"].clone();
    }
}

/// What is wrong with a new namespace.
pub(super) fn faults(namespace: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for finalizer in items(&namespace["spec"]["finalizers"]) {
        finalizer_fault("spec.finalizers", finalizer, &mut causes);
    }
    causes
}

/// What is wrong with what `finalize` is sent.
pub(super) fn finalizer_faults(namespace: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, finalizer) in items(&namespace["spec"]["finalizers"]).iter().enumerate() {
        finalizer_fault(&format!("spec.finalizers[{index}]"), finalizer, &mut causes);
    }
    causes
}

fn finalizer_fault(path: &str, finalizer: &Value, causes: &mut Vec<Cause>) {
    let name = text(finalizer);
    causes.extend(grammar(path, name, names::qualified_name));
    let known = matches!(name, "kubernetes" | "orphan" | "foregroundDeletion");
    if !name.contains('/') && !known {
        causes.push(cause::invalid(path, finalizer, NOT_QUALIFIED));
    }
}

/// A namespace is active until it is deleted.
pub(super) fn status_faults(namespace: &Value) -> Vec<Cause> {
    let phase = &namespace["status"]["phase"];
    let deleted = !namespace["metadata"]["deletionTimestamp"].is_null();
    let why = match deleted {
        false if phase != "Active" => "may only be 'Active' if `deletionTimestamp` is empty",
        true if phase != "Terminating" => "may only be 'Terminating' if `deletionTimestamp` is not empty",
        _ => return Vec::new(),
    };
    vec![cause::invalid("status.Phase", phase, why)]
}
