//! `StorageClasses`, by `pkg/apis/storage/validation`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::{Rows, Rule, grammar, items, join, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

pub(super) const TABLE: Rows = &[
    ("provisioner", Rule::Required("")),
    ("provisioner", Rule::Text(lower_name)),
    ("parameters", Rule::Own(parameters)),
    ("reclaimPolicy", Rule::OneOf(&["Delete", "Retain"])),
    ("volumeBindingMode", Rule::OneOf(&["Immediate", "WaitForFirstConsumer"])),
    ("allowedTopologies[]", Rule::Own(topology)),
];

fn lower_name(text: &str) -> Vec<String> {
    names::qualified_name(&text.to_lowercase())
}

fn parameters(parameters: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !parameters[""].is_null() {
        causes.push(cause::invalid(path, &Value::from(""), "field can not be empty."));
    }
}

fn topology(term: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut keys = BTreeSet::new();
    for (index, requirement) in items(&term["matchLabelExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchLabelExpressions[{index}]");
        let values = items(&requirement["values"]);
        if values.is_empty() {
            causes.push(cause::required(join(&path, "values"), ""));
        }
        let mut seen = BTreeSet::new();
        for (index, value) in values.iter().enumerate() {
            if !seen.insert(text(value)) {
                causes.push(cause::duplicate(format!("{path}.values[{index}]"), value));
            }
        }
        let key = text(&requirement["key"]);
        causes.extend(grammar(&join(&path, "key"), key, names::qualified_name));
        if !keys.insert(key) {
            causes.push(cause::duplicate(join(&path, "key"), &Value::from(key)));
        }
    }
}
