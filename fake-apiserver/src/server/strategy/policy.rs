//! ResourceQuota, PodDisruptionBudget and PriorityClass.

use serde_json::{Value, json};

use super::rules::{Rows, Rule};
use super::{pod_spec, rules};
use crate::quantity;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

/// Classes of the system, which alone may be named so and be so high.
const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
/// The highest priority of a user's class.
const HIGHEST: i64 = 1_000_000_000;

/// The preemption policy of a class.
pub(super) fn fill_class(class: &mut Value) {
    if class.get("preemptionPolicy").is_none() {
        class["preemptionPolicy"] = json!("PreemptLowerPriority");
    }
    if class["globalDefault"] == false {
        super::set_or_remove(class, "globalDefault", None);
    }
}

const CLASS: Rows = &[("preemptionPolicy", Rule::OneOf(&["PreemptLowerPriority", "Never"]))];

pub(super) fn class_faults(class: &Value) -> Vec<Cause> {
    let mut causes = class_value_faults(class);
    causes.extend(rules::faults(CLASS, class));
    causes
}

fn class_value_faults(class: &Value) -> Vec<Cause> {
    let name = class["metadata"]["name"].as_str().unwrap_or_default();
    let value = class["value"].as_i64().unwrap_or_default();
    let forbidden =
        |field: &str, why: String| Cause::new("FieldValueForbidden", field, format!("Forbidden: {why}"));
    if name.starts_with("system-") {
        if SYSTEM.contains(&(name, value)) {
            return Vec::new();
        }
        let why = format!(
            "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known \
             system priority class"
        );
        return vec![forbidden("metadata.name", why)];
    }
    if value > HIGHEST {
        return vec![forbidden(
            "value",
            format!("maximum allowed value of a user defined priority is {HIGHEST}"),
        )];
    }
    Vec::new()
}

pub(super) fn class_update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let changed = ["value", "preemptionPolicy"].into_iter().filter(|field| new[field] != old[field]);
    changed
        .map(|field| match field {
            "value" => {
                Cause::new("FieldValueForbidden", field, "Forbidden: may not be changed in an update.")
            }
            _ => Cause::new(
                "FieldValueInvalid",
                field,
                format!("Invalid value: {}: field is immutable", new[field]),
            ),
        })
        .collect()
}

const BUDGET: Rows = &[
    ("spec", Rule::Own(one_of_two)),
    ("spec.minAvailable?", Rule::Own(share)),
    ("spec.maxUnavailable?", Rule::Own(share)),
    ("spec.selector?", Rule::Selector),
    ("spec.unhealthyPodEvictionPolicy", Rule::OneOf(&["AlwaysAllow", "IfHealthyBudget"])),
];
const BUDGET_STATUS: Rows = &[
    ("status.disruptionsAllowed", Rule::Natural),
    ("status.currentHealthy", Rule::Natural),
    ("status.desiredHealthy", Rule::Natural),
    ("status.expectedPods", Rule::Natural),
];

/// What is wrong with a budget.
pub(super) fn budget_faults(budget: &Value) -> Vec<Cause> {
    rules::faults(BUDGET, budget)
}

/// What is wrong with the status of a budget.
pub(super) fn budget_status_faults(budget: &Value) -> Vec<Cause> {
    rules::faults(BUDGET_STATUS, budget)
}

/// A number or a share of pods.
pub(super) fn share(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(text) = value.as_str() else {
        rules::check(&[("", Rule::Natural)], value, path, causes);
        return;
    };
    causes.extend(rules::grammar(path, text, names::percent));
    if text.strip_suffix('%').and_then(|number| number.parse::<u64>().ok()).is_some_and(|share| share > 100) {
        causes.push(cause::invalid(path, value, "must not be greater than 100%"));
    }
}

/// A budget says what is to be left or what may go, not both.
fn one_of_two(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if spec["minAvailable"].is_null() || spec["maxUnavailable"].is_null() {
        return;
    }
    let shown = format!(
        "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
        spec["minAvailable"], spec["selector"], spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]
    );
    let fault = format!("Invalid value: {shown}: minAvailable and maxUnavailable cannot be both set");
    causes.push(Cause::new("FieldValueInvalid", path, fault));
}

pub(super) fn quota_faults(quota: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (what, amount) in quota["spec"]["hard"].as_object().into_iter().flatten() {
        let field = format!("spec.hard[{what}]");
        if !known_to_quotas(what) {
            let faults = [
                "must be a standard resource type or fully qualified",
                "must be a standard resource for quota",
            ];
            causes.extend(faults.map(|fault| pod_spec::invalid(&field, what, fault)));
        }
        let text = amount.as_str().unwrap_or_default();
        if quantity::milli(text).is_some_and(|amount| amount < 0) {
            causes.push(pod_spec::invalid(&field, text, "must be greater than or equal to 0"));
        }
    }
    causes.extend(scope_fault(&quota["spec"]));
    causes
}

fn known_to_quotas(what: &str) -> bool {
    let plain = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    plain.contains(&what)
        || what.contains('/')
        || ["requests.", "limits."].iter().any(|prefix| what.starts_with(prefix))
        || what.starts_with("hugepages-")
}

/// Scopes must be known, go together, and be about pods where the quota counts something else.
fn scope_fault(spec: &Value) -> Option<Cause> {
    const PODS_ONLY: [&str; 1] = ["BestEffort"];
    const KNOWN: [&str; 7] = [
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    ];
    let scopes = crate::server::tokens::texts(&spec["scopes"]);
    let fault = |why: &str| {
        let fault = format!("Invalid value: {}: {why}", spec["scopes"]);
        Some(Cause::new("FieldValueInvalid", "spec.scopes", fault))
    };
    if scopes.iter().any(|scope| !KNOWN.contains(&scope.as_str())) {
        return fault("unsupported scope");
    }
    let only_pods = scopes.iter().any(|scope| PODS_ONLY.contains(&scope.as_str()));
    let counted = spec["hard"].as_object().into_iter().flatten();
    if only_pods && counted.map(|(what, _)| what).any(|what| what != "pods") {
        return fault("unsupported scope applied to resource");
    }
    let both = |a: &str, b: &str| scopes.iter().any(|s| s == a) && scopes.iter().any(|s| s == b);
    if both("BestEffort", "NotBestEffort") || both("Terminating", "NotTerminating") {
        return fault("conflicting scopes");
    }
    None
}
