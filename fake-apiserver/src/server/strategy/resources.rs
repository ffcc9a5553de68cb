//! What containers ask for and may use (`ValidateContainerResourceRequirements`).

use serde_json::Value;

use super::rules::{items, join, not_supported, text};
use crate::quantity;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const HUGE: &str = "hugepages-";

/// What is wrong with `limits`, `requests` and `claims`; `claimed` are the names of the pod's resource claims.
pub(super) fn faults(resources: &Value, path: &str, claimed: &[&str], causes: &mut Vec<Cause>) {
    let all = |list: &str| resources[list].as_object().into_iter().flatten();
    let (mut huge, mut plain) = (false, false);
    for list in ["limits", "requests"] {
        for (what, text) in all(list) {
            let at = format!("{path}.{list}[{what}]");
            name_faults(what, &at, causes);
            let Some(amount) = text.as_str().and_then(quantity::milli) else {
                let why = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                causes.push(cause::invalid(at, text, why));
                continue;
            };
            amount_faults(what, text, amount, &at, causes);
            if list == "requests" {
                against_limit(resources, what, text, amount, path, causes);
            }
            if let Some(size) = what.strip_prefix(HUGE).and_then(quantity::milli) {
                huge = true;
                if amount <= 0 || size <= 0 || amount % size != 0 {
                    let shown = text.as_str().unwrap_or_default();
                    let why = format!("{shown} is not positive integer multiple of {what}");
                    causes.push(cause::invalid(at, text, &why));
                }
            }
            plain |= matches!(what.as_str(), "cpu" | "memory");
        }
    }
    if huge && !plain {
        causes.push(cause::forbidden(path, "HugePages require cpu or memory"));
    }
    for (index, claim) in items(&resources["claims"]).iter().enumerate() {
        let (at, name) = (format!("{path}.claims[{index}]"), text(&claim["name"]));
        if name.is_empty() {
            causes.push(cause::required(format!("{at}.name"), ""));
        } else if !claimed.contains(&name) {
            let which = match claimed {
                [] => "which is empty".to_owned(),
                known => format!("{known:?}").replace(['[', ']'], ""),
            };
            let why =
                format!("Not found: {name:?}: must be one of the names in pod.spec.resourceClaims {which}");
            causes.push(Cause::new("FieldValueNotFound", at, why));
        }
    }
}

/// How resources may be resized (`validateResizePolicy`).
pub(super) fn resize_faults(policies: &Value, path: &str, restarts: bool, causes: &mut Vec<Cause>) {
    for (index, policy) in items(policies).iter().enumerate() {
        let (what, how) = (&policy["resourceName"], &policy["restartPolicy"]);
        if items(policies)[..index].iter().any(|earlier| earlier["resourceName"] == *what) {
            causes.push(cause::duplicate(format!("{path}[{index}]"), what));
        }
        if !matches!(text(what), "cpu" | "memory") {
            causes.push(not_supported(path, what, &["cpu", "memory"]));
        }
        if !matches!(text(how), "NotRequired" | "RestartContainer") {
            causes.push(not_supported(path, how, &["NotRequired", "RestartContainer"]));
        }
        if !restarts && how == "RestartContainer" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            causes.push(cause::invalid(path, how, why));
        }
    }
}

fn name_faults(what: &str, at: &str, causes: &mut Vec<Cause>) {
    let shown = Value::from(what);
    let faults = names::qualified_name(what);
    causes.extend(faults.iter().map(|why| cause::invalid(at, &shown, why)));
    let known = matches!(what, "cpu" | "memory" | "ephemeral-storage") || what.starts_with(HUGE);
    if what.contains('/') || known {
        return;
    }
    // Quotas know more resources than containers.
    let quotas = matches!(what, "storage" | "pods" | "services" | "secrets" | "configmaps");
    if faults.is_empty() && !quotas {
        causes.push(cause::invalid(at, &shown, "must be a standard resource type or fully qualified"));
    }
    causes.push(cause::invalid(at, &shown, "must be a standard resource for containers"));
}

fn amount_faults(what: &str, text: &Value, amount: i128, at: &str, causes: &mut Vec<Cause>) {
    if amount < 0 {
        causes.push(cause::invalid(at, text, "must be greater than or equal to 0"));
    }
    if !is_native(what) && amount % 1000 != 0 {
        causes.push(cause::invalid(at, text, "must be an integer"));
    }
}

fn against_limit(
    resources: &Value,
    what: &str,
    text: &Value,
    amount: i128,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    let at = join(path, "requests");
    let shared = is_native(what) && !what.starts_with(HUGE);
    let limit = &resources["limits"][what];
    let Some(most) = limit.as_str().and_then(quantity::milli) else {
        if !shared {
            let why = "Limit must be set for non overcommitable resources";
            causes.push(cause::required(join(path, "limits"), why));
        }
        return;
    };
    let shown = limit.as_str().unwrap_or_default();
    if !shared && amount != most {
        causes.push(cause::invalid(at, text, &format!("must be equal to {what} limit of {shown}")));
    } else if amount > most {
        let why = format!("must be less than or equal to {what} limit of {shown}");
        causes.push(cause::invalid(at, text, &why));
    }
}

/// Whether Kubernetes itself knows the resource; others are counted in whole pieces and never shared.
fn is_native(what: &str) -> bool {
    !what.contains('/') || what.contains("kubernetes.io/")
}
