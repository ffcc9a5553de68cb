//! `NetworkPolicies`, by `pkg/apis/networking/validation`.

use serde_json::{Value, json};

use super::rules::{Rows, Rule, check, grammar, items, join, text};
use crate::schema::cause;
use crate::server::{address, names};
use crate::status::Cause;

const TABLE: Rows = &[
    ("spec.podSelector", Rule::Selector),
    ("spec.ingress[]", Rule::Rows(&[("ports[]", Rule::Rows(PORT)), ("from[]", Rule::Own(peer))])),
    ("spec.egress[]", Rule::Rows(&[("ports[]", Rule::Rows(PORT)), ("to[]", Rule::Own(peer))])),
    ("spec.policyTypes", Rule::Own(types)),
];
const PORT: Rows = &[("protocol", Rule::OneOf(&["TCP", "UDP", "SCTP"])), ("", Rule::Own(port))];

/// A policy that says nothing of its types is about what comes in, and about what goes out if it speaks of that.
pub(super) fn fill(policy: &mut Value) {
    if !policy["spec"].is_object() || !items(&policy["spec"]["policyTypes"]).is_empty() {
        return;
    }
    let out = !items(&policy["spec"]["egress"]).is_empty();
    policy["spec"]["policyTypes"] = if out { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
}

/// What is wrong with a policy.
pub(super) fn faults(policy: &Value) -> Vec<Cause> {
    super::rules::faults(TABLE, policy)
}

fn types(types: &Value, path: &str, causes: &mut Vec<Cause>) {
    const KNOWN: &[&str] = &["Ingress", "Egress"];
    let all = items(types);
    if all.len() > KNOWN.len() {
        causes.push(cause::invalid(path, types, "may not specify more than two policyTypes"));
        return;
    }
    for (index, kind) in all.iter().enumerate().filter(|(_, kind)| !KNOWN.contains(&text(kind))) {
        causes.push(super::rules::not_supported(&format!("{path}[{index}]"), kind, KNOWN));
    }
}

fn port(port: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (number, last) = (&port["port"], &port["endPort"]);
    let (at, end) = (join(path, "port"), join(path, "endPort"));
    let misplaced = |why: &str, causes: &mut Vec<Cause>| {
        if !last.is_null() {
            causes.push(cause::invalid(&end, last, why));
        }
    };
    match number {
        Value::Null => misplaced("may not be specified when `port` is not specified", causes),
        Value::String(name) => {
            misplaced("may not be specified when `port` is non-numeric", causes);
            causes.extend(grammar(&at, name, names::port_name));
        }
        number => {
            causes.extend(names::port_number(&at, number));
            if last.as_i64() < number.as_i64() && !last.is_null() {
                causes.push(cause::invalid(&end, number, "must be greater than or equal to `port`"));
            }
            if !last.is_null() {
                causes.extend(names::port_number(&end, last));
            }
        }
    }
}

fn peer(peer: &Value, path: &str, causes: &mut Vec<Cause>) {
    const SELECTORS: Rows = &[("podSelector?", Rule::Selector), ("namespaceSelector?", Rule::Selector)];
    check(SELECTORS, peer, path, causes);
    let fields = ["podSelector", "namespaceSelector", "ipBlock"];
    let count = fields.iter().filter(|field| !peer[**field].is_null()).count();
    let block = &peer["ipBlock"];
    if !block.is_null() {
        network(block, &join(path, "ipBlock"), causes);
    }
    if count == 0 {
        causes.push(cause::required(path, "must specify a peer"));
    } else if count > 1 && !block.is_null() {
        causes.push(cause::forbidden(path, "may not specify both ipBlock and another peer"));
    }
}

fn network(block: &Value, path: &str, causes: &mut Vec<Cause>) {
    let whole = text(&block["cidr"]);
    let at = join(path, "cidr");
    if whole.is_empty() {
        causes.push(cause::required(at, ""));
        return;
    }
    causes.extend(grammar(&at, whole, address::strict_network));
    let Some(whole) = address::network(whole) else { return };
    for (index, except) in items(&block["except"]).iter().enumerate() {
        let at = format!("{path}.except[{index}]");
        causes.extend(grammar(&at, text(except), address::strict_network));
        if address::network(text(except)).is_some_and(|part| !address::is_strictly_within(part, whole)) {
            causes.push(cause::invalid(at, except, "must be a strict subset of `cidr`"));
        }
    }
}
