//! LimitRanges: defaults for containers, bounds for containers, pods and claims.
//!
//! Follows `plugin/pkg/admission/limitranger`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::aggregate;
use crate::quantity;
use crate::server::call::Call;
use crate::server::{ApiServer, PODS};
use crate::status::Status;
use crate::storage::GroupResource;

const LIMIT_RANGES: GroupResource = GroupResource::new("", "limitranges");
const CLAIMS: GroupResource = GroupResource::new("", "persistentvolumeclaims");
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Amounts by resource: thousandths, and as they are shown.
type Amounts = BTreeMap<String, (i128, String)>;

impl ApiServer {
    /// Gives containers the requests and limits they lack.
    pub(super) fn default_limits(&self, call: &Call<'_>, pod: &mut Value) {
        for range in self.limit_ranges(call) {
            let (mut requests, mut limits) = (Map::new(), Map::new());
            for limit in of_type(&range, "Container") {
                requests.extend(limit["defaultRequest"].as_object().cloned().unwrap_or_default());
                limits.extend(limit["default"].as_object().cloned().unwrap_or_default());
            }
            let mut said = Vec::new();
            for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
                let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
                for container in containers.into_iter().flatten() {
                    for (field, defaults) in [("requests", &requests), ("limits", &limits)] {
                        let set = complete(&mut container["resources"], field, defaults);
                        if !set.is_empty() {
                            let name = container["name"].as_str().unwrap_or_default();
                            let field = &field[..field.len() - 1];
                            said.push(format!("{} {field} for {what} {name}", set.join(", ")));
                        }
                    }
                }
            }
            if !said.is_empty() {
                let said = format!("LimitRanger plugin set: {}", said.join("; "));
                if pod["metadata"]["annotations"].is_object() {
                    pod["metadata"]["annotations"][ANNOTATION] = json!(said);
                } else {
                    pod["metadata"]["annotations"] = json!({ANNOTATION: said});
                }
            }
        }
    }

    /// 403 when a pod or claim is outside of the bounds of its namespace.
    pub(super) fn check_limits(&self, call: &Call<'_>, value: &Value) -> Result<(), Status> {
        let resource = &call.resource.storage;
        if *resource != PODS && *resource != CLAIMS {
            return Ok(());
        }
        for range in self.limit_ranges(call) {
            let mut faults = Vec::new();
            for limit in range["spec"]["limits"].as_array().into_iter().flatten() {
                match (limit["type"].as_str().unwrap_or_default(), *resource == PODS) {
                    ("Container", true) => {
                        for list in ["containers", "initContainers"] {
                            for container in value["spec"][list].as_array().into_iter().flatten() {
                                let of = |field: &str| amounts(&container["resources"][field]);
                                faults.extend(bounded(limit, &of("requests"), &of("limits")));
                            }
                        }
                    }
                    ("Pod", true) => {
                        let of = |field: &str| whole(&value["spec"], field);
                        faults.extend(bounded(limit, &of("requests"), &of("limits")));
                    }
                    ("PersistentVolumeClaim", false) => {
                        faults.extend(claimed(limit, &amounts(&value["spec"]["resources"]["requests"])));
                    }
                    _ => {}
                }
            }
            if !faults.is_empty() {
                let name = value["metadata"]["name"].as_str().unwrap_or_default();
                return Err(call.forbidden(name, &aggregate(&faults)));
            }
        }
        Ok(())
    }

    fn limit_ranges(&self, call: &Call<'_>) -> Vec<Value> {
        let all = self.storage.collection(&LIMIT_RANGES).filter(|all| !all.is_empty());
        all.map(|all| all.in_namespace(call.namespace()).map(|range| range.value()).collect())
            .unwrap_or_default()
    }
}

fn of_type<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    range["spec"]["limits"].as_array().into_iter().flatten().filter(move |limit| limit["type"] == kind)
}

/// Sets what is missing; returns its names.
fn complete(resources: &mut Value, field: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let mut set = Vec::new();
    for (what, amount) in defaults {
        if resources[field].get(what).is_none() {
            resources[field][what] = amount.clone();
            set.push(what.clone());
        }
    }
    set
}

fn amounts(list: &Value) -> Amounts {
    let all = list.as_object().into_iter().flatten();
    all.filter_map(|(what, amount)| {
        let text = amount.as_str()?;
        Some((what.clone(), (quantity::milli(text)?, quantity::canonical(text)?)))
    })
    .collect()
}

/// What a pod needs: its containers together with sidecars, or the largest of its init containers.
fn whole(spec: &Value, field: &str) -> Amounts {
    let mut total = Amounts::new();
    let mut sidecars = Amounts::new();
    let mut first = Amounts::new();
    let of = |container: &Value| amounts(&container["resources"][field]);
    for container in spec["containers"].as_array().into_iter().flatten() {
        add(&mut total, &of(container));
    }
    for container in spec["initContainers"].as_array().into_iter().flatten() {
        let own = of(container);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            largest(&mut first, &sidecars);
        } else {
            let mut with = own;
            add(&mut with, &sidecars);
            largest(&mut first, &with);
        }
    }
    largest(&mut total, &first);
    total
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (what, (amount, text)) in more {
        match total.get_mut(what) {
            Some((sum, shown)) => {
                *sum += amount;
                *shown = if shown.ends_with('i') { quantity::binary(*sum) } else { decimal(*sum) };
            }
            None => drop(total.insert(what.clone(), (*amount, text.clone()))),
        }
    }
}

fn decimal(thousandths: i128) -> String {
    let text = quantity::decimal(thousandths);
    quantity::canonical(&text).unwrap_or(text)
}

fn largest(total: &mut Amounts, other: &Amounts) {
    for (what, amount) in other {
        if total.get(what).is_none_or(|known| known.0 < amount.0) {
            total.insert(what.clone(), amount.clone());
        }
    }
}

/// What is wrong with requests and limits of a container or pod.
fn bounded(limit: &Value, requests: &Amounts, limits: &Amounts) -> Vec<String> {
    let kind = limit["type"].as_str().unwrap_or_default();
    let mut faults = Vec::new();
    for (what, (bound, shown)) in amounts(&limit["min"]) {
        let said = format!("minimum {what} usage per {kind} is {shown}");
        match (requests.get(&what), limits.get(&what)) {
            (None, _) => faults.push(format!("{said}.  No request is specified")),
            (Some((amount, text)), _) if *amount < bound => {
                faults.push(format!("{said}, but request is {text}"));
            }
            (_, Some((amount, text))) if *amount < bound => {
                faults.push(format!("{said}, but limit is {text}"));
            }
            _ => {}
        }
    }
    for (what, (bound, shown)) in amounts(&limit["max"]) {
        let said = format!("maximum {what} usage per {kind} is {shown}");
        match (limits.get(&what), requests.get(&what)) {
            (None, _) => faults.push(format!("{said}.  No limit is specified")),
            (Some((amount, text)), _) if *amount > bound => {
                faults.push(format!("{said}, but limit is {text}"));
            }
            (_, Some((amount, text))) if *amount > bound => {
                faults.push(format!("{said}, but request is {text}"));
            }
            _ => {}
        }
    }
    for (what, (bound, shown)) in amounts(&limit["maxLimitRequestRatio"]) {
        let said = format!("{what} max limit to request ratio per {kind} is {shown}");
        let some = |list: &Amounts| list.get(&what).map(|(amount, _)| *amount).filter(|amount| *amount != 0);
        match (some(requests), some(limits)) {
            (None, _) => faults.push(format!("{said}, but no request is specified or request is 0")),
            (_, None) => faults.push(format!("{said}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                if limit * 1000 > bound * request {
                    let ratio = limit as f64 / request as f64;
                    faults.push(format!("{said}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
    faults
}

/// What is wrong with the requests of a claim.
fn claimed(limit: &Value, requests: &Amounts) -> Vec<String> {
    let mut faults = Vec::new();
    for (field, word, beyond) in [("min", "minimum", -1), ("max", "maximum", 1)] {
        for (what, (bound, shown)) in amounts(&limit[field]) {
            let said = format!("{word} {what} usage per PersistentVolumeClaim is {shown}");
            match requests.get(&what) {
                None => faults.push(format!("{said}.  No request is specified")),
                Some((amount, text)) if (amount - bound).signum() == beyond => {
                    faults.push(format!("{said}, but request is {text}"));
                }
                Some(_) => {}
            }
        }
    }
    faults
}
