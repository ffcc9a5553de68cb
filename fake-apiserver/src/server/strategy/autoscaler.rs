//! HorizontalPodAutoscalers, as they are kept: autoscaling/v2.
//!
//! The rules are those of `pkg/apis/autoscaling/validation`, the defaults those of `pkg/apis/autoscaling/v2`.

use serde_json::{Value, json};

use super::rules::{Rows, Rule, faults as check, items, join, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const SOURCES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

const TABLE: Rows = &[
    ("spec.minReplicas", Rule::AtLeast(1, "must be greater than or equal to 1")),
    ("spec", Rule::Own(most)),
    ("spec.scaleTargetRef", Rule::Rows(REFERENCE)),
];
/// After what depends on the object as it was.
const METRICS: Rows = &[
    ("spec.metrics[]", Rule::Own(metric)),
    ("spec", Rule::Own(zero)),
    ("spec.behavior?", Rule::Rows(BEHAVIOR)),
];
const REFERENCE: Rows = &[
    ("kind", Rule::Required("")),
    ("kind", Rule::Text(names::path_segment)),
    ("name", Rule::Required("")),
    ("name", Rule::Text(names::path_segment)),
];
const STATUS: Rows = &[("status.currentReplicas", Rule::Natural), ("status.desiredReplicas", Rule::Natural)];
const BEHAVIOR: Rows = &[("scaleUp?", Rule::Rows(RULES)), ("scaleDown?", Rule::Rows(RULES))];
const RULES: Rows = &[
    ("stabilizationWindowSeconds", Rule::AtLeast(0, "must be greater than or equal to zero")),
    ("stabilizationWindowSeconds", Rule::AtMost(3600, "must be less than or equal to 3600")),
    ("selectPolicy", Rule::OneOf(&["Disabled", "Max", "Min"])),
    ("policies", Rule::Required("must specify at least one Policy")),
    ("policies[]", Rule::Rows(POLICY)),
    ("tolerance", Rule::Own(tolerance)),
];
const POLICY: Rows = &[
    ("type", Rule::Chosen(&["Percent", "Pods"])),
    ("value", Rule::AtLeast(1, "must be greater than zero")),
    ("periodSeconds", Rule::AtLeast(1, "must be greater than zero")),
    ("periodSeconds", Rule::AtMost(1800, "must be less than or equal to 1800")),
];
const IDENTIFIER: Rows =
    &[("name", Rule::Required("must specify a metric name")), ("name", Rule::Text(names::path_segment))];
const TARGET: Rows = &[
    ("type", Rule::Required("must specify a metric target type")),
    ("type", Rule::Own(target_type)),
    ("value", Rule::Positive("must be positive")),
    ("averageValue", Rule::Positive("must be positive")),
    ("averageUtilization", Rule::AtLeast(1, "must be greater than 0")),
];
const OBJECT: Rows = &[
    ("describedObject", Rule::Rows(REFERENCE)),
    ("describedObject.apiVersion", Rule::Own(group_version)),
    ("metric", Rule::Rows(IDENTIFIER)),
    ("target", Rule::Rows(TARGET)),
    ("target", Rule::Own(object_target)),
];
const EXTERNAL: Rows = &[
    ("metric", Rule::Rows(IDENTIFIER)),
    ("target", Rule::Rows(TARGET)),
    ("target", Rule::Own(external_target)),
];
const PODS: Rows = &[
    ("metric", Rule::Rows(IDENTIFIER)),
    ("target", Rule::Rows(TARGET)),
    ("target.averageValue", Rule::Required("must specify a positive target averageValue")),
];
const RESOURCE: Rows = &[
    ("name", Rule::Required("must specify a resource name")),
    ("target", Rule::Rows(TARGET)),
    ("target", Rule::Own(resource_target)),
];
const CONTAINER_RESOURCE: Rows = &[
    ("name", Rule::Required("must specify a resource name")),
    ("container", Rule::Required("must specify a container")),
    ("container", Rule::Text(names::dns_label)),
    ("target", Rule::Rows(TARGET)),
    ("target", Rule::Own(resource_target)),
];
/// Sources of a metric in the order in which they are looked at: type, field, rules.
const BY_SOURCE: [(&str, &str, Rows); 5] = [
    ("Object", "object", OBJECT),
    ("External", "external", EXTERNAL),
    ("Pods", "pods", PODS),
    ("Resource", "resource", RESOURCE),
    ("ContainerResource", "containerResource", CONTAINER_RESOURCE),
];

/// A behavior that says something is completed.
pub(super) fn fill(autoscaler: &mut Value) {
    if !autoscaler["spec"]["behavior"].is_object() {
        return;
    }
    let behavior = &mut autoscaler["spec"]["behavior"];
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, percent]});
    let down = json!({"selectPolicy": "Max", "policies": [percent]});
    for (direction, defaults) in [("scaleUp", up), ("scaleDown", down)] {
        for (field, default) in defaults.as_object().into_iter().flatten() {
            if behavior[direction].get(field).is_none() {
                behavior[direction][field] = default.clone();
            }
        }
    }
}

/// What is wrong with a new autoscaler, or one that was `old`.
pub(super) fn faults(autoscaler: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = check(TABLE, autoscaler);
    let target = &autoscaler["spec"]["scaleTargetRef"];
    let same = old.is_some_and(|old| {
        let old = &old["spec"]["scaleTargetRef"];
        old["apiVersion"] == target["apiVersion"] && old["kind"] == target["kind"]
    });
    // The only kind of the core group that can be scaled may leave its version out; what was accepted stays.
    let fault = version_fault(text(&target["apiVersion"]), target["kind"] == "ReplicationController");
    if let (false, Some(why)) = (same, fault) {
        let said = Value::from(text(&target["apiVersion"]));
        causes.push(cause::invalid("spec.scaleTargetRef.apiVersion", &said, &why));
    }
    causes.extend(check(METRICS, autoscaler));
    causes
}

/// What is wrong with a status.
pub(super) fn status_faults(autoscaler: &Value) -> Vec<Cause> {
    check(STATUS, autoscaler)
}

fn version_fault(version: &str, group_is_optional: bool) -> Option<String> {
    match version.matches('/').count() {
        0 if !group_is_optional => Some("apiVersion must specify API group".into()),
        0 | 1 => None,
        _ => Some(format!("unexpected GroupVersion string: {version}")),
    }
}

fn group_version(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    causes.extend(version_fault(text(value), true).map(|why| cause::invalid(path, value, &why)));
}

fn most(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let most = spec["maxReplicas"].as_i64().unwrap_or_default();
    let at = join(path, "maxReplicas");
    let shown = json!(most);
    if most == 0 {
        causes.push(cause::required(&at, "must be set and greater than 0"));
    } else if most < 0 {
        causes.push(cause::invalid(&at, &shown, "must be greater than or equal to 1"));
    }
    if spec["minReplicas"].as_i64().is_some_and(|least| most < least) {
        causes.push(cause::invalid(&at, &shown, "must be greater than or equal to `minReplicas`"));
    }
}

fn zero(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let outside = |metric: &Value| matches!(text(&metric["type"]), "Object" | "External");
    if spec["minReplicas"] == 0 && !items(&spec["metrics"]).iter().any(outside) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        causes.push(cause::forbidden(join(path, "metrics"), why));
    }
}

fn metric(metric: &Value, path: &str, causes: &mut Vec<Cause>) {
    let kind = text(&metric["type"]);
    let at = join(path, "type");
    if kind.is_empty() {
        causes.push(cause::required(&at, "must specify a metric source type"));
    }
    let unknown = !SOURCES.contains(&kind);
    if unknown {
        causes.push(super::rules::not_supported(&at, &Value::from(kind), &SOURCES));
    }
    let present: Vec<_> = BY_SOURCE.iter().filter(|(_, field, _)| !metric[*field].is_null()).collect();
    if let Some((_, field, rows)) = present.first() {
        super::rules::check(rows, &metric[*field], &join(path, field), causes);
    }
    let expected = BY_SOURCE.iter().find(|(name, ..)| *name == kind).map(|(_, field, _)| *field);
    match expected {
        Some(field) if metric[field].is_null() => {
            let why = "must populate information for the given metric source";
            causes.push(cause::required(join(path, field), why));
        }
        Some(_) => {}
        None => causes.push(super::rules::not_supported(&at, &Value::from(kind), &SOURCES)),
    }
    if present.len() > 1 {
        for (_, field, _) in present.iter().filter(|(_, field, _)| Some(*field) != expected) {
            let why = "must populate the given metric source only";
            causes.push(cause::forbidden(join(path, field), why));
        }
    }
}

fn target_type(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !matches!(text(value), "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        causes.push(cause::invalid(path, &Value::from(text(value)), why));
    }
}

fn object_target(target: &Value, path: &str, causes: &mut Vec<Cause>) {
    if target["value"].is_null() && target["averageValue"].is_null() {
        let why = "must set either a target value or averageValue";
        causes.push(cause::required(join(path, "averageValue"), why));
    }
}

fn external_target(target: &Value, path: &str, causes: &mut Vec<Cause>) {
    match (target["value"].is_null(), target["averageValue"].is_null()) {
        (true, true) => causes.push(cause::required(
            join(path, "averageValue"),
            "must set either a target value for metric or a per-pod target",
        )),
        (false, false) => causes.push(cause::forbidden(
            join(path, "value"),
            "may not set both a target value for metric and a per-pod target",
        )),
        _ => {}
    }
}

fn resource_target(target: &Value, path: &str, causes: &mut Vec<Cause>) {
    match (target["averageUtilization"].is_null(), target["averageValue"].is_null()) {
        (true, true) => causes.push(cause::required(
            join(path, "averageUtilization"),
            "must set either a target raw value or a target utilization",
        )),
        (false, false) => causes.push(cause::forbidden(
            join(path, "averageValue"),
            "may not set both a target raw value and a target utilization",
        )),
        _ => {}
    }
}

fn tolerance(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.as_str().and_then(crate::quantity::milli).is_some_and(|amount| amount < 0) {
        causes.push(cause::invalid(path, value, "must be greater than or equal to 0"));
    }
}
