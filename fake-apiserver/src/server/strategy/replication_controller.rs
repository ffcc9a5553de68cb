//! `ReplicationControllers`, by `pkg/apis/core/validation`.

use serde_json::Value;

use super::pod_spec;
use super::rules::{Rows, Rule, text};
use crate::schema::cause;
use crate::status::Cause;

const TABLE: Rows = &[
    ("spec.minReadySeconds", Rule::Natural),
    ("spec.selector", Rule::Required("")),
    ("spec.replicas", Rule::Natural),
    ("spec.template", Rule::Required("")),
    ("spec", Rule::Own(template)),
];

/// A controller without a selector or labels takes those of its pods.
pub(super) fn fill(controller: &mut Value) {
    let labels = controller["spec"]["template"]["metadata"]["labels"].clone();
    let missing = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    if missing(&labels) {
        return;
    }
    if missing(&controller["spec"]["selector"]) {
        controller["spec"]["selector"] = labels.clone();
    }
    if missing(&controller["metadata"]["labels"]) {
        controller["metadata"]["labels"] = labels;
    }
}

/// What is wrong with a controller.
pub(super) fn faults(controller: &Value) -> Vec<Cause> {
    super::rules::faults(TABLE, controller)
}

fn template(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (template, path) = (&spec["template"], format!("{path}.template"));
    if template.is_null() {
        return;
    }
    let labels = &template["metadata"]["labels"];
    let chosen = spec["selector"].as_object().into_iter().flatten();
    if chosen.into_iter().any(|(key, value)| labels[key] != *value) {
        let why = "`selector` does not match template `labels`";
        causes.push(cause::invalid(format!("{path}.metadata.labels"), labels, why));
    }
    let (pod, path) = (&template["spec"], format!("{path}.spec"));
    causes.extend(pod_spec::faults(pod, &path));
    if text(&pod["restartPolicy"]) != "Always" {
        let at = format!("{path}.restartPolicy");
        causes.push(super::rules::not_supported(&at, &pod["restartPolicy"], &["Always"]));
    }
    if !pod["activeDeadlineSeconds"].is_null() {
        let why = "activeDeadlineSeconds in ReplicationController is not Supported";
        causes.push(cause::forbidden(format!("{path}.activeDeadlineSeconds"), why));
    }
}
