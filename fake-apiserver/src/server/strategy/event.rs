//! Events, as they are kept: core/v1. What is asked of them depends on the group that is written to.
//!
//! Follows `pkg/apis/core/validation/events.go`.

use serde_json::{Value, json};

use super::rules::{grammar, text};
use crate::schema::cause;
use crate::server::{meta, names};
use crate::status::Cause;

/// The group whose events must be complete and do not change.
pub(super) const STRICT: &str = "events.k8s.io";

/// The longest texts of an event.
const LONGEST: [(&str, usize); 4] =
    [("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)];

/// What is wrong with a new event.
pub(super) fn faults(group: &str, event: &Value) -> Vec<Cause> {
    let mut causes = legacy_faults(group, event);
    if group != STRICT {
        return causes;
    }
    causes.extend(series_faults(event));
    if event["eventTime"].is_null() {
        causes.push(cause::required("eventTime", ""));
    }
    let mut fault = |field: &str, why: &str| causes.push(cause::invalid(field, &json!(""), why));
    if !matches!(text(&event["type"]), "Normal" | "Warning") {
        fault("type", &format!("has invalid value: {}", text(&event["type"])));
    }
    let source = ["component", "host"].iter().any(|field| !text(&event["source"][*field]).is_empty());
    let unset = [
        ("firstTimestamp", event["firstTimestamp"].is_null()),
        ("lastTimestamp", event["lastTimestamp"].is_null()),
        ("count", event["count"].as_i64().unwrap_or_default() == 0),
        ("source", !source),
    ];
    for (field, _) in unset.iter().filter(|(_, unset)| !unset) {
        fault(field, "needs to be unset");
    }
    causes
}

/// What is wrong with a change of an event.
pub(super) fn update_faults(group: &str, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = legacy_faults(group, new);
    if group != STRICT {
        return causes;
    }
    if new["series"] != old["series"] {
        causes.extend(series_faults(new));
    }
    let fields = [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "reason",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ];
    for field in fields.into_iter().filter(|field| new[*field] != old[*field]) {
        let name = if field == "reportingComponent" { "reportingController" } else { field };
        causes.push(match field {
            "involvedObject" | "related" => {
                let fault = format!("Invalid value: {}: field is immutable", reference(&new[field]));
                Cause::new("FieldValueInvalid", name, fault)
            }
            _ => meta::immutable(name, &new[field]),
        });
    }
    causes
}

/// A reference as Go's internal type shows it.
fn reference(object: &Value) -> String {
    let names = [
        ("Kind", "kind"),
        ("Namespace", "namespace"),
        ("Name", "name"),
        ("UID", "uid"),
        ("APIVersion", "apiVersion"),
        ("ResourceVersion", "resourceVersion"),
        ("FieldPath", "fieldPath"),
    ];
    let member = |(shown, field): &(&str, &str)| format!("{shown:?}:{}", json!(text(&object[*field])));
    format!("{{{}}}", names.iter().map(member).collect::<Vec<_>>().join(","))
}

fn series_faults(event: &Value) -> Vec<Cause> {
    let series = &event["series"];
    let mut causes = Vec::new();
    if series.is_null() {
        return causes;
    }
    if series["count"].as_i64().unwrap_or_default() < 2 {
        causes.push(cause::invalid("series.count", &json!(""), "should be at least 2"));
    }
    if series["lastObservedTime"].is_null() {
        causes.push(cause::required("series.lastObservedTime", ""));
    }
    causes
}

fn legacy_faults(group: &str, event: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (own, about) = (text(&event["metadata"]["namespace"]), text(&event["involvedObject"]["namespace"]));
    let elsewhere =
        cause::invalid("involvedObject.namespace", &json!(about), "does not match event.namespace");
    if event["eventTime"].is_null() {
        if if about.is_empty() { own != "default" } else { own != about } {
            causes.push(elsewhere);
        }
        return causes;
    }
    if about.is_empty() && own != "default" && own != "kube-system" {
        causes.push(elsewhere);
    }
    let (field, reporter) = (
        if group == STRICT { "reportingController" } else { "reportingComponent" },
        &event["reportingComponent"],
    );
    if text(reporter).is_empty() {
        causes.push(cause::required(field, ""));
    }
    causes.extend(grammar(field, text(reporter), names::qualified_name));
    for (field, most) in LONGEST {
        let value = text(&event[field]);
        if value.is_empty() && field != "message" {
            causes.push(cause::required(field, ""));
        }
        if value.len() > most {
            causes.push(cause::invalid(field, &json!(""), &format!("can have at most {most} characters")));
        }
    }
    causes
}
