//! A new node gets no pods before a controller has seen that it is ready.
//!
//! Follows `plugin/pkg/admission/nodetaint`.

use serde_json::{Value, json};

const TAINT: &str = "node.kubernetes.io/not-ready";

pub(super) fn admit(node: &mut Value) {
    if !node["spec"].is_object() {
        node["spec"] = json!({});
    }
    let taint = json!({"key": TAINT, "effect": "NoSchedule"});
    match node["spec"]["taints"].as_array_mut() {
        Some(taints) if taints.iter().any(|had| had["key"] == TAINT && had["effect"] == "NoSchedule") => {}
        Some(taints) => taints.push(taint),
        None => node["spec"]["taints"] = json!([taint]),
    }
}
