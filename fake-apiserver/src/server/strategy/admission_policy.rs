//! ValidatingAdmissionPolicy and its bindings.
//!
//! Follows `pkg/apis/admissionregistration/validation`. Types of expressions are not checked, only their syntax.

use serde_json::{Value, json};

use super::rules::items;
use crate::schema::{Expression, cause};
use crate::status::Cause;

/// What is wrong with an object of the group; `plural` says which it is.
pub(super) fn faults(plural: &str, value: &Value) -> Vec<Cause> {
    match plural {
        "validatingadmissionpolicies" => policy_faults(&value["spec"]),
        "validatingadmissionpolicybindings" => binding_faults(&value["spec"], true),
        "mutatingadmissionpolicybindings" => binding_faults(&value["spec"], false),
        _ => Vec::new(),
    }
}

fn policy_faults(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    one_of("spec.failurePolicy", &spec["failurePolicy"], &["Fail", "Ignore"], &mut causes);
    if spec["matchConstraints"].is_null() {
        causes.push(cause::required("spec.matchConstraints", ""));
    } else if items(&spec["matchConstraints"]["resourceRules"]).is_empty() {
        causes.push(cause::required("spec.matchConstraints.resourceRules", ""));
    }
    for (index, condition) in items(&spec["matchConditions"]).iter().enumerate() {
        expression(&format!("spec.matchConditions[{index}]"), condition, &mut causes);
    }
    for (index, variable) in items(&spec["variables"]).iter().enumerate() {
        let at = format!("spec.variables[{index}]");
        if variable["name"].as_str().unwrap_or_default().trim().is_empty() {
            causes.push(cause::required(format!("{at}.name"), "name is not specified"));
        }
        expression(&at, variable, &mut causes);
    }
    if items(&spec["validations"]).is_empty() && items(&spec["auditAnnotations"]).is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        causes.extend(["spec.validations", "spec.auditAnnotations"].map(|field| cause::required(field, why)));
    }
    for (index, rule) in items(&spec["validations"]).iter().enumerate() {
        let at = format!("spec.validations[{index}]");
        expression(&at, rule, &mut causes);
        if let Some(message) = rule["messageExpression"].as_str() {
            syntax(&format!("{at}.messageExpression"), message, &mut causes);
        }
        let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        one_of(&format!("{at}.reason"), &rule["reason"], &reasons, &mut causes);
    }
    causes
}

fn binding_faults(spec: &Value, validates: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    if spec["policyName"].as_str().unwrap_or_default().is_empty() {
        causes.push(cause::required("spec.policyName", ""));
    }
    let params = &spec["paramRef"];
    if !params.is_null() {
        let named = !params["name"].as_str().unwrap_or_default().is_empty();
        if named && !params["selector"].is_null() {
            let why = "name and selector are mutually exclusive";
            causes.extend(
                ["name", "selector"].map(|field| cause::forbidden(format!("spec.paramRef.{field}"), why)),
            );
        }
        if params["parameterNotFoundAction"].is_null() {
            causes.push(cause::required("spec.paramRef.parameterNotFoundAction", ""));
        }
    }
    if !validates {
        return causes;
    }
    let actions = &spec["validationActions"];
    for (index, action) in items(actions).iter().enumerate() {
        let at = format!("spec.validationActions[{index}]");
        one_of(&at, action, &["Audit", "Deny", "Warn"], &mut causes);
        if items(actions)[..index].contains(action) {
            causes.push(cause::duplicate(at, action));
        }
    }
    let has = |name: &str| items(actions).iter().any(|action| action == name);
    if items(actions).is_empty() {
        causes.push(cause::required("spec.validationActions", "at least one validation action is required"));
    } else if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        causes.push(cause::invalid("spec.validationActions", actions, why));
    }
    causes
}

fn one_of(at: &str, value: &Value, known: &[&str], causes: &mut Vec<Cause>) {
    if value.is_null() || known.iter().any(|known| value == known) {
        return;
    }
    // The real server keeps one reason to itself.
    let said: Vec<Value> =
        known.iter().filter(|name| **name != "Unauthorized").map(|name| json!(name)).collect();
    causes.push(cause::not_supported(at, value, &said));
}

fn expression(at: &str, of: &Value, causes: &mut Vec<Cause>) {
    let text = of["expression"].as_str().unwrap_or_default().trim();
    if text.is_empty() {
        causes.push(cause::required(format!("{at}.expression"), "expression is not specified"));
    } else {
        syntax(&format!("{at}.expression"), text, causes);
    }
}

fn syntax(at: &str, text: &str, causes: &mut Vec<Cause>) {
    if let Some(why) = Expression::compile(text).fault() {
        causes.push(cause::invalid(at, &json!(text), &format!("compilation failed: {why}")));
    }
}
