//! Nodes, by `pkg/apis/core/validation`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::rules::{grammar, items, text};
use crate::schema::cause;
use crate::server::{address, names};
use crate::status::Cause;

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// One network of pods is the first of all of them.
pub(super) fn fill(node: &mut Value) {
    let first = items(&node["spec"]["podCIDRs"]).first().cloned();
    match (text(&node["spec"]["podCIDR"]).to_owned(), first) {
        (one, None) if one.is_empty() => {}
        (one, Some(first)) if one.is_empty() => node["spec"]["podCIDR"] = first,
        (one, first) if first.as_ref().map(text) != Some(&one) => node["spec"]["podCIDRs"] = json!([one]),
        _ => {}
    }
}

/// What is wrong with a new node.
pub(super) fn faults(node: &Value) -> Vec<Cause> {
    let mut causes = taint_faults(node);
    for (index, network) in items(&node["spec"]["podCIDRs"]).iter().enumerate() {
        causes.extend(grammar(&format!("spec.podCIDRs[{index}]"), text(network), address::strict_network));
    }
    causes
}

/// What of a node may not change once it is known.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (has, had) = (&new["spec"], &old["spec"]);
    if !items(&had["podCIDRs"]).is_empty() && had["podCIDRs"] != has["podCIDRs"] {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        causes.push(cause::forbidden("spec.podCIDRs", why));
    }
    if !text(&had["providerID"]).is_empty() && had["providerID"] != has["providerID"] {
        let why = "node updates may not change providerID except from \"\" to valid";
        causes.push(cause::forbidden("spec.providerID", why));
    }
    causes.extend(taint_faults(new));
    causes
}

/// The real server looks for taints in `metadata`, in its messages.
fn taint_faults(node: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, taint) in items(&node["spec"]["taints"]).iter().enumerate() {
        let path = format!("metadata.taints[{index}]");
        let (key, value, effect) = (text(&taint["key"]), text(&taint["value"]), text(&taint["effect"]));
        causes.extend(grammar(&format!("{path}.key"), key, names::qualified_name));
        let faults = names::label_value(value);
        if !faults.is_empty() {
            causes.push(cause::invalid(format!("{path}.value"), &json!(value), &faults.join(";")));
        }
        let at = format!("{path}.effect");
        if effect.is_empty() {
            causes.push(cause::required(at, ""));
        } else if !EFFECTS.contains(&effect) {
            causes.push(super::rules::not_supported(&at, &taint["effect"], EFFECTS));
        }
        if !seen.insert((effect, key)) {
            // In the order of the Go type.
            let shown = format!(
                "{{\"Key\":{},\"Value\":{},\"Effect\":{},\"TimeAdded\":{}}}",
                json!(key),
                json!(value),
                json!(effect),
                taint["timeAdded"]
            );
            let fault = format!("Duplicate value: {shown}: taints must be unique by key and effect pair");
            causes.push(Cause::new("FieldValueDuplicate", path, fault));
        }
    }
    causes
}
