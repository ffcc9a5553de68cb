//! What one object costs, by the names quotas use.
//!
//! Follows `pkg/quota/v1/evaluator/core`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::quantity;
use crate::server::PODS;
use crate::storage::GroupResource;

/// Amounts by the names of quotas, in thousandths.
pub(super) type Amounts = BTreeMap<String, i128>;

/// One piece.
const ONE: i128 = 1000;

/// What an object costs.
pub(super) fn of(resource: &GroupResource, value: &Value) -> Amounts {
    let mut costs = Amounts::from([(format!("count/{resource}"), ONE)]);
    let kind = (&*resource.group, &*resource.resource);
    match kind {
        // Pods that have ended hold no compute resources; only `count/pods` still counts them.
        ("", "pods") if matches!(value["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) => {}
        ("", "pods") => pod(value, &mut costs),
        ("", "services") => service(&value["spec"], &mut costs),
        ("", "persistentvolumeclaims") => claim(&value["spec"], &mut costs),
        ("", "replicationcontrollers" | "resourcequotas" | "secrets" | "configmaps") => {
            costs.insert(resource.resource.to_string(), ONE);
        }
        _ => {}
    }
    costs
}

/// Whether the cost of such objects can be told without looking at them.
pub(super) fn is_a_count(resource: &GroupResource) -> bool {
    !(resource.group.is_empty()
        && matches!(&*resource.resource, "pods" | "services" | "persistentvolumeclaims"))
}

fn pod(pod: &Value, costs: &mut Amounts) {
    costs.insert("pods".into(), ONE);
    for list in ["requests", "limits"] {
        for (what, amount) in whole(&pod["spec"], list) {
            let plain = matches!(what.as_str(), "cpu" | "memory" | "ephemeral-storage");
            if list == "requests" && (plain || what.starts_with("hugepages-")) {
                costs.insert(what.clone(), amount);
            }
            // Of extended resources only the requests are counted.
            if plain || list == "requests" {
                costs.insert(format!("{list}.{what}"), amount);
            }
        }
    }
}

/// Containers together with sidecars, or the largest of the init containers; and the overhead.
fn whole(spec: &Value, list: &str) -> Amounts {
    let of = |container: &Value| -> Amounts {
        let amounts = container["resources"][list].as_object().into_iter().flatten();
        amounts
            .filter_map(|(what, amount)| Some((what.clone(), quantity::milli(amount.as_str()?)?)))
            .collect()
    };
    let add = |total: &mut Amounts, more: &Amounts| {
        for (what, amount) in more {
            *total.entry(what.clone()).or_default() += amount;
        }
    };
    let largest = |total: &mut Amounts, other: &Amounts| {
        for (what, amount) in other {
            let known = total.entry(what.clone()).or_default();
            *known = (*known).max(*amount);
        }
    };
    let (mut total, mut sidecars, mut first) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in spec["containers"].as_array().into_iter().flatten() {
        add(&mut total, &of(container));
    }
    for container in spec["initContainers"].as_array().into_iter().flatten() {
        let mut own = of(container);
        if container["restartPolicy"] == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        largest(&mut first, &own);
    }
    largest(&mut total, &first);
    for (what, amount) in spec["overhead"].as_object().into_iter().flatten() {
        let amount = amount.as_str().and_then(quantity::milli).unwrap_or_default();
        if list == "requests" || total.contains_key(what) {
            *total.entry(what.clone()).or_default() += amount;
        }
    }
    total
}

fn service(spec: &Value, costs: &mut Amounts) {
    costs.insert("services".into(), ONE);
    let ports = spec["ports"].as_array().map_or(0, Vec::len) as i128;
    let balanced = spec["type"] == "LoadBalancer";
    if balanced {
        costs.insert("services.loadbalancers".into(), ONE);
    }
    if spec["type"] == "NodePort" || (balanced && spec["allocateLoadBalancerNodePorts"] != false) {
        costs.insert("services.nodeports".into(), ports * ONE);
    }
}

fn claim(spec: &Value, costs: &mut Amounts) {
    let storage =
        spec["resources"]["requests"]["storage"].as_str().and_then(quantity::milli).unwrap_or_default();
    costs.insert("persistentvolumeclaims".into(), ONE);
    costs.insert("requests.storage".into(), storage);
    if let Some(class) = spec["storageClassName"].as_str().filter(|class| !class.is_empty()) {
        let named = |what: &str| format!("{class}.storageclass.storage.k8s.io/{what}");
        costs.insert(named("persistentvolumeclaims"), ONE);
        costs.insert(named("requests.storage"), storage);
    }
}

/// What a quota needs to know of each container, and which leave it out: `limits.cpu for: c1,c2`.
pub(super) fn left_out(hard: &Amounts, resource: &GroupResource, pod: &Value) -> Vec<String> {
    if *resource != PODS {
        return Vec::new();
    }
    let lists = ["containers", "initContainers"].into_iter();
    let containers: Vec<&Value> =
        lists.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten()).collect();
    let mut found = Vec::new();
    for what in hard.keys() {
        let (list, field) = match what.as_str() {
            "cpu" | "memory" => ("requests", what.as_str()),
            other => match other.split_once('.') {
                Some((list @ ("requests" | "limits"), field @ ("cpu" | "memory"))) => (list, field),
                _ => continue,
            },
        };
        let missing = |container: &&&Value| container["resources"][list][field].is_null();
        let names: Vec<&str> =
            containers.iter().filter(missing).filter_map(|container| container["name"].as_str()).collect();
        if !names.is_empty() {
            found.push(format!("{what} for: {}", names.join(",")));
        }
    }
    found
}
