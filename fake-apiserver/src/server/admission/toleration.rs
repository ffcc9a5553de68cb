//! Pods stay on a node that is not ready or not reachable for five minutes, unless they say otherwise.
//!
//! Follows `plugin/pkg/admission/defaulttolerationseconds`.

use serde_json::{Value, json};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: u32 = 300;

pub(super) fn admit(pod: &mut Value) {
    let spec = &mut pod["spec"];
    let had = spec["tolerations"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |toleration: &Value, field: &str| toleration[field].as_str().unwrap_or_default().to_owned();
    let missing: Vec<Value> = TAINTS
        .iter()
        .filter(|taint| {
            !had.iter().any(|toleration| {
                let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
                (key == **taint || key.is_empty()) && (effect.is_empty() || effect == "NoExecute")
            })
        })
        .map(|taint| {
            json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS})
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    match spec["tolerations"].as_array_mut() {
        Some(tolerations) => tolerations.extend(missing),
        None => spec["tolerations"] = Value::Array(missing),
    }
}
