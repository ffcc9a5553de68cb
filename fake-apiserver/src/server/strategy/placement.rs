//! Where pods may run: selectors of nodes, affinity, tolerations, spreading (`pkg/apis/core/validation`).

use serde_json::Value;

use super::rules::{Rows, Rule, check, grammar, items, join, not_supported, requirement_faults, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const SELECTORS: Rows = &[("labelSelector?", Rule::Selector), ("namespaceSelector?", Rule::Selector)];
const HONOURED: &[&str] = &["Honor", "Ignore"];
const SPREADING: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];

/// What is wrong with `affinity`.
pub(super) fn affinity_faults(affinity: &Value, path: &str, causes: &mut Vec<Cause>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let nodes = &affinity["nodeAffinity"];
    let at = join(path, "nodeAffinity");
    if !nodes[REQUIRED].is_null() {
        node_selector(&nodes[REQUIRED], &join(&at, REQUIRED), false, causes);
    }
    for (index, term) in items(&nodes[PREFERRED]).iter().enumerate() {
        let at = format!("{at}.{PREFERRED}[{index}]");
        weight(term, &at, causes);
        node_term(&term["preference"], &join(&at, "preference"), false, causes);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let at = join(path, kind);
        for (index, term) in items(&affinity[kind][REQUIRED]).iter().enumerate() {
            pod_term(term, &format!("{at}.{REQUIRED}[{index}]"), causes);
        }
        for (index, term) in items(&affinity[kind][PREFERRED]).iter().enumerate() {
            let at = format!("{at}.{PREFERRED}[{index}]");
            weight(term, &at, causes);
            pod_term(&term["podAffinityTerm"], &join(&at, "podAffinityTerm"), causes);
        }
    }
}

/// What is wrong with a selector of nodes; `values` says whether values must be those of labels.
pub(super) fn node_selector(selector: &Value, path: &str, values: bool, causes: &mut Vec<Cause>) {
    let terms = items(&selector["nodeSelectorTerms"]);
    let at = join(path, "nodeSelectorTerms");
    if terms.is_empty() {
        causes.push(cause::required(&at, "must have at least one node selector term"));
    }
    for (index, term) in terms.iter().enumerate() {
        node_term(term, &format!("{at}[{index}]"), values, causes);
    }
}

fn node_term(term: &Value, path: &str, values: bool, causes: &mut Vec<Cause>) {
    for (index, requirement) in items(&term["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        requirement_faults(requirement, &path, &["Gt", "Lt"], causes);
        for (index, value) in items(&requirement["values"]).iter().enumerate().filter(|_| values) {
            causes.extend(grammar(&format!("{path}.values[{index}]"), text(value), names::label_value));
        }
    }
    for (index, requirement) in items(&term["matchFields"]).iter().enumerate() {
        let path = format!("{path}.matchFields[{index}]");
        let values = items(&requirement["values"]);
        if !matches!(text(&requirement["operator"]), "In" | "NotIn") {
            let why = "not a valid selector operator";
            causes.push(cause::invalid(join(&path, "operator"), &requirement["operator"], why));
        } else if values.len() != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            causes.push(cause::required(join(&path, "values"), why));
        }
        if requirement["key"] != "metadata.name" {
            let why = "not a valid field selector key";
            causes.push(cause::invalid(join(&path, "key"), &requirement["key"], why));
            continue;
        }
        for (index, value) in values.iter().enumerate() {
            causes.extend(grammar(&format!("{path}.values[{index}]"), text(value), names::dns_subdomain));
        }
    }
}

fn weight(term: &Value, path: &str, causes: &mut Vec<Cause>) {
    let weight = term["weight"].as_i64().unwrap_or_default();
    if !(1..=100).contains(&weight) {
        causes.push(cause::invalid(join(path, "weight"), &weight.into(), "must be in the range 1-100"));
    }
}

fn pod_term(term: &Value, path: &str, causes: &mut Vec<Cause>) {
    check(SELECTORS, term, path, causes);
    for name in items(&term["namespaces"]) {
        causes.extend(grammar(&join(path, "namespace"), text(name), names::dns_label));
    }
    for list in ["matchLabelKeys", "mismatchLabelKeys"] {
        label_keys(term, list, path, causes);
    }
    for (index, key) in items(&term["matchLabelKeys"]).iter().enumerate() {
        if items(&term["mismatchLabelKeys"]).contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            causes.push(cause::invalid(format!("{path}.matchLabelKeys[{index}]"), key, why));
        }
    }
    let (at, key) = (join(path, "topologyKey"), text(&term["topologyKey"]));
    if key.is_empty() {
        causes.push(cause::required(&at, "can not be empty"));
    }
    causes.extend(grammar(&at, key, names::qualified_name));
}

fn label_keys(term: &Value, list: &str, path: &str, causes: &mut Vec<Cause>) {
    let keys = items(&term[list]);
    if keys.is_empty() {
        return;
    }
    let at = join(path, list);
    if term["labelSelector"].is_null() {
        causes.push(cause::forbidden(at, "must not be specified when labelSelector is not set"));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        causes.extend(grammar(&format!("{at}[{index}]"), text(key), names::qualified_name));
    }
}

/// What is wrong with `topologySpreadConstraints`.
pub(super) fn spread_faults(constraints: &Value, path: &str, causes: &mut Vec<Cause>) {
    let all = items(constraints);
    for (index, constraint) in all.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let skew = constraint["maxSkew"].as_i64().unwrap_or_default();
        if skew <= 0 {
            causes.push(cause::invalid(join(&at, "maxSkew"), &skew.into(), "must be greater than zero"));
        }
        let (key, when) = (text(&constraint["topologyKey"]), text(&constraint["whenUnsatisfiable"]));
        if key.is_empty() {
            causes.push(cause::required(join(&at, "topologyKey"), "can not be empty"));
        }
        if !SPREADING.contains(&when) {
            causes.push(not_supported(&join(&at, "whenUnsatisfiable"), &when.into(), SPREADING));
        }
        let same = |other: &Value| {
            ["topologyKey", "whenUnsatisfiable"].iter().all(|field| other[*field] == constraint[*field])
        };
        if all[index + 1..].iter().any(same) {
            let at = join(&at, "{topologyKey, whenUnsatisfiable}");
            causes.push(cause::duplicate(at, &format!("{{{key}, {when}}}").into()));
        }
        domains(constraint, when, &join(&at, "minDomains"), causes);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check(&[("", Rule::OneOf(HONOURED))], &constraint[policy], &join(&at, policy), causes);
        }
        label_keys(constraint, "matchLabelKeys", &at, causes);
        check(SELECTORS, constraint, &at, causes);
    }
}

fn domains(constraint: &Value, when: &str, at: &str, causes: &mut Vec<Cause>) {
    let least = &constraint["minDomains"];
    if least.is_null() {
        return;
    }
    if least.as_i64().is_some_and(|least| least <= 0) {
        causes.push(cause::invalid(at, least, "must be greater than zero"));
    }
    if when != "DoNotSchedule" {
        let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
        causes.push(cause::invalid(at, least, &why));
    }
}

/// What is wrong with `tolerations`.
pub(super) fn toleration_faults(tolerations: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, toleration) in items(tolerations).iter().enumerate() {
        let at = format!("{path}[{index}]");
        let [key, operator, value, effect] =
            ["key", "operator", "value", "effect"].map(|field| text(&toleration[field]));
        let by = join(&at, "operator");
        if !key.is_empty() {
            causes.extend(grammar(&join(&at, "key"), key, names::qualified_name));
        } else if operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(cause::invalid(&by, &operator.into(), why));
        }
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            causes.push(cause::invalid(join(&at, "effect"), &effect.into(), why));
        }
        match operator {
            "" | "Equal" => {
                let faults = names::label_value(value);
                if !faults.is_empty() {
                    causes.push(cause::invalid(&by, &value.into(), &faults.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                causes.push(cause::invalid(&by, &value.into(), why));
            }
            "Exists" => {}
            // Operators of a feature that is not on; the real server names them to those who ask for them.
            "Lt" | "Gt" => {
                causes.push(not_supported(&by, &operator.into(), &["Equal", "Exists", "Lt", "Gt"]));
            }
            _ => causes.push(not_supported(&by, &operator.into(), &["Equal", "Exists"])),
        }
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effect.is_empty() && !effects.contains(&effect) {
            causes.push(not_supported(&join(&at, "effect"), &effect.into(), &effects));
        }
    }
}
