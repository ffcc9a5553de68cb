//! Namespaces: their own finalizer, their phase, their name as a label.

use serde_json::{Value, json};

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
