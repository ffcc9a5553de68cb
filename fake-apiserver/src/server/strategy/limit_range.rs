//! LimitRanges: items that contradict themselves.
//!
//! Follows `pkg/apis/core/validation` (ValidateLimitRange).

use std::collections::BTreeSet;

use serde_json::Value;

use super::pod_spec;
use crate::quantity;
use crate::status::Cause;

/// The defaults of items for containers.
pub(super) fn fill(range: &mut Value) {
    if !range["spec"].is_object() {
        return;
    }
    for limit in super::defaults::items(&mut range["spec"], "limits") {
        for field in ["default", "defaultRequest", "min", "max", "maxLimitRequestRatio"] {
            if limit[field].is_object() {
                pod_spec::canonical_amounts(&mut limit[field]);
            }
        }
        if limit["type"] != "Container" {
            continue;
        }
        for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            for (what, amount) in limit[from].as_object().cloned().into_iter().flatten() {
                if limit[to].get(&what).is_none() {
                    limit[to][what] = amount;
                }
            }
        }
    }
}

pub(super) fn faults(range: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut types = BTreeSet::new();
    for (index, limit) in range["spec"]["limits"].as_array().into_iter().flatten().enumerate() {
        let path = format!("spec.limits[{index}]");
        let kind = limit["type"].as_str().unwrap_or_default();
        if !types.insert(kind) {
            causes.push(pod_spec::duplicate(&format!("{path}.type"), kind));
        }
        if kind == "Pod" {
            let set = |field: &&&str| limit[**field].as_object().is_some_and(|amounts| !amounts.is_empty());
            for field in ["default", "defaultRequest"].iter().filter(set) {
                let why = "Forbidden: may not be specified when `type` is 'Pod'";
                causes.push(Cause::new("FieldValueForbidden", format!("{path}.{field}"), why));
            }
        }
        let bound = |field: &str| limit[field]["storage"].is_string();
        if kind == "PersistentVolumeClaim" && !bound("min") && !bound("max") {
            let why = "Required value: either minimum or maximum storage value is required, but neither was provided";
            causes.push(Cause::new("FieldValueRequired", format!("{path}.limits"), why));
        }
        let fields = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"].into_iter();
        let names: BTreeSet<&String> = fields
            .flat_map(|field| limit[field].as_object().into_iter().flatten().map(|(name, _)| name))
            .collect();
        for name in names {
            causes.extend(contradictions(&path, limit, name, kind == "Pod"));
        }
    }
    causes
}

/// What is wrong between the amounts of one resource.
fn contradictions(path: &str, limit: &Value, name: &str, pod: bool) -> Vec<Cause> {
    let amount = |field: &str| {
        let text = limit[field][name].as_str()?;
        Some((quantity::milli(text)?, quantity::canonical(text)?))
    };
    let defaults = |field: &str| if pod { None } else { amount(field) };
    let (min, max) = (amount("min"), amount("max"));
    let (default, request) = (defaults("default"), defaults("defaultRequest"));
    // What may not be more than what: names and amounts, and the field and amount that are blamed.
    let pairs = [
        ("min value", &min, "max value", &max, "min", &min),
        ("min value", &min, "default request value", &request, "defaultRequest", &request),
        ("default request value", &request, "max value", &max, "defaultRequest", &request),
        ("default request value", &request, "default limit value", &default, "defaultRequest", &request),
        ("min value", &min, "default value", &default, "default", &min),
        ("default value", &default, "max value", &max, "default", &max),
    ];
    let mut causes = Vec::new();
    for (less, small, more, large, field, blamed) in pairs {
        let (Some(small), Some(large), Some(blamed)) = (small, large, blamed) else { continue };
        if small.0 > large.0 {
            let why = format!("{less} {} is greater than {more} {}", small.1, large.1);
            causes.push(pod_spec::invalid(&format!("{path}.{field}[{name}]"), &blamed.1, &why));
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio") {
        let field = format!("{path}.maxLimitRequestRatio[{name}]");
        if ratio.0 < 1000 {
            causes.push(pod_spec::invalid(&field, &ratio.1, &format!("ratio {} is less than 1", ratio.1)));
        }
        if let (Some(min), Some(max)) = (&min, &max)
            && ratio.0 * min.0 > max.0 * 1000
        {
            let most = max.0 as f64 / min.0 as f64;
            let why = format!("ratio {} is greater than max/min = {most:.6}", ratio.1);
            causes.push(pod_spec::invalid(&field, &ratio.1, &why));
        }
    }
    causes
}
