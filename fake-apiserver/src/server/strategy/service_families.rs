//! Which families of addresses a service has: inferred before anything else is looked at, by create and by update.
//!
//! Follows `initIPFamilyFields` of `pkg/registry/core/service/storage` on a cluster that has IPv4 alone.

use serde_json::{Value, json};

use super::rules::{items, text};
use super::service::is_headless;
use super::service_rules;
use crate::schema::cause;
use crate::status::Cause;

const POLICY: &str = "spec.ipFamilyPolicy";
const DUAL: &str = "RequireDualStack";
const SINGLE: &str = "SingleStack";

/// Fills in policy and families; what is wrong with those that are asked for.
pub(super) fn infer(service: &mut Value, old: Option<&Value>) -> Vec<Cause> {
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" || old.is_some_and(|old| stays_preferring(spec, &old["spec"])) {
        return Vec::new();
    }
    let selects = spec["selector"].as_object().is_some_and(|selector| !selector.is_empty());
    let any = is_headless(service) && !selects;
    if spec["ipFamilyPolicy"].is_null() {
        let before = old.map(|old| old["spec"]["ipFamilyPolicy"].clone()).filter(|policy| !policy.is_null());
        let policy = before.unwrap_or_else(|| json!(if any { DUAL } else { SINGLE }));
        service["spec"]["ipFamilyPolicy"] = policy;
    }
    let mut causes = service_rules::address_faults(&service["spec"]);
    if !causes.is_empty() {
        return causes;
    }
    let spec = &mut service["spec"];
    let is_single = spec["ipFamilyPolicy"] == SINGLE;
    if let Some(old) = old {
        let (has, had) = (items(&spec["ipFamilies"]).len(), items(&old["spec"]["ipFamilies"]).len());
        if is_single && spec["ipFamilies"] == old["spec"]["ipFamilies"] && has > 1 {
            spec["ipFamilies"] = json!([spec["ipFamilies"][0]]);
        } else if !is_single && has > 0 && has < had {
            let why = "must be 'SingleStack' to release the secondary IP family";
            causes.push(cause::invalid(POLICY, &spec["ipFamilyPolicy"], why));
        }
    }
    for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if is_single && items(&spec[field]).len() == 2 {
            let why =
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            causes.push(cause::invalid(POLICY, &spec["ipFamilyPolicy"], &why));
        }
    }
    from_addresses(spec, &mut causes);
    if !causes.is_empty() {
        return causes;
    }
    if any {
        with_any(spec);
        return causes;
    }
    causes = not_configured(spec);
    if causes.is_empty() && items(&spec["ipFamilies"]).is_empty() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
    causes
}

/// Who prefers two families and changes none of it keeps what there is.
fn stays_preferring(spec: &Value, old: &Value) -> bool {
    let same = |field: &str| items(&spec[field]) == items(&old[field]);
    let policy = &old["ipFamilyPolicy"];
    spec["ipFamilyPolicy"] == "PreferDualStack"
        && (policy.is_null() || policy == "PreferDualStack")
        && spec["type"] == old["type"]
        && ["ClusterIP", "NodePort", "LoadBalancer"].contains(&text(&spec["type"]))
        && same("clusterIPs")
        && same("ipFamilies")
}

/// An address that is asked for says of which family it is.
fn from_addresses(spec: &mut Value, causes: &mut Vec<Cause>) {
    let (list, one) = (spec["clusterIPs"].clone(), spec["clusterIP"].clone());
    let alone = [one];
    let all = if items(&list).is_empty() { &alone[..] } else { items(&list) };
    let mut families = items(&spec["ipFamilies"]).to_vec();
    for (index, ip) in all.iter().enumerate().skip(families.len()) {
        match text(ip) {
            "None" | "" => break,
            ip if ip.contains(':') => {
                let shown = json!(all);
                let at = format!("spec.clusterIPs[{index}]");
                causes.push(cause::invalid(at, &shown, "IPv6 is not configured on this cluster"));
            }
            _ => families.push(json!("IPv4")),
        }
    }
    if !families.is_empty() {
        spec["ipFamilies"] = json!(families);
    }
}

/// Headless services without a selector may have endpoints of any family.
fn with_any(spec: &mut Value) {
    let mut families = items(&spec["ipFamilies"]).to_vec();
    if families.is_empty() {
        families.push(json!("IPv4"));
    }
    if families.len() < 2 && spec["ipFamilyPolicy"] != SINGLE {
        families.push(json!(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }));
    }
    spec["ipFamilies"] = json!(families);
}

/// What a cluster of one family cannot give.
fn not_configured(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if spec["ipFamilyPolicy"] == DUAL {
        let why = "this cluster is not configured for dual-stack services";
        causes.push(cause::invalid(POLICY, &json!(DUAL), why));
    }
    for (index, family) in items(&spec["ipFamilies"]).iter().enumerate() {
        if family == "IPv6" {
            let at = format!("spec.ipFamilies[{index}]");
            causes.push(cause::invalid(at, family, "not configured on this cluster"));
        }
    }
    causes
}
