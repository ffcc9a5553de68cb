//! ResourceQuota: refuses what exceeds it, and keeps `status.used`.
//!
//! Enforced: `pods`, `count/<resource>[.<group>]`, `requests.*` and `limits.*` of cpu and memory (`cpu` and `memory`
//! mean requests), and the counts of older names (`services`, `configmaps`, `secrets`, …). Scopes are not modelled.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::internal::{Api, Changes, Controller, Cursor};
use super::{ApiServer, PODS, QUOTAS};
use crate::quantity;
use crate::status::Status;
use crate::storage::{GroupResource, Storage};

type Amounts = BTreeMap<String, i128>;

impl ApiServer {
    /// 403 when an object that is to be created exceeds a quota of its namespace.
    pub(super) fn check_quota(&self, call: &Call<'_>, value: &Value) -> Result<(), Status> {
        let Some(quotas) = self.storage.collection(&QUOTAS).filter(|quotas| !quotas.is_empty()) else {
            return Ok(());
        };
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let costs = costs(&call.resource.storage, value);
        for quota in quotas.in_namespace(call.namespace()) {
            let hard = amounts(&quota.value()["spec"]["hard"]);
            let missing: Vec<String> =
                if call.resource.storage == PODS { missing(&hard, value) } else { Vec::new() };
            if !missing.is_empty() {
                let why = format!("failed quota: {}: must specify {}", quota.key.name, missing.join("; "));
                return Err(call.forbidden(name, &why));
            }
            let used = usage(&self.storage, call.namespace(), &hard);
            let over: Vec<&String> = costs
                .iter()
                .filter(|(what, cost)| {
                    **cost > 0
                        && hard.get(*what).is_some_and(|hard| used.get(*what).unwrap_or(&0) + **cost > *hard)
                })
                .map(|(what, _)| what)
                .collect();
            if !over.is_empty() {
                let show = |amounts: &Amounts| {
                    let all = over.iter().map(|w| format!("{w}={}", text(w, *amounts.get(*w).unwrap_or(&0))));
                    all.collect::<Vec<_>>().join(",")
                };
                return Err(call.forbidden(
                    name,
                    &format!(
                        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                        quota.key.name,
                        show(&costs),
                        show(&used),
                        show(&hard)
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Keeps `status` of quotas: what the quota controller of kube-controller-manager does.
#[derive(Debug, Default)]
pub(super) struct QuotaStatus {
    seen: u64,
}

impl Controller for QuotaStatus {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn step(&mut self, api: &mut Api<'_>) -> Option<Timestamp> {
        let revision = api.server().revision();
        if self.seen == revision || api.collection(&QUOTAS).is_none_or(crate::storage::Collection::is_empty) {
            self.seen = revision;
            return None;
        }
        let Changes::Relist(quotas) = api.changes(&mut Cursor::new(QUOTAS)) else { return None };
        for quota in quotas {
            let value = quota.value();
            let hard = amounts(&value["spec"]["hard"]);
            let used = usage(api.server().storage(), &quota.key.namespace, &hard);
            let used: Map<String, Value> =
                hard.keys().map(|w| (w.clone(), json!(text(w, *used.get(w).unwrap_or(&0))))).collect();
            let status = json!({"hard": value["spec"]["hard"], "used": used});
            if value["status"] != status {
                // A refusal means that the quota has changed or gone meanwhile: the next pass sees it.
                let _ = api.patch_status(&QUOTAS, &quota.key, json!({"status": status}));
            }
        }
        self.seen = api.server().revision();
        None
    }
}

/// What one object costs, by the names of quotas.
fn costs(resource: &GroupResource, value: &Value) -> Amounts {
    let mut costs = Amounts::from([(format!("count/{resource}"), 1000)]);
    if resource.group.is_empty() {
        costs.insert(resource.resource.to_string(), 1000);
    }
    if *resource != PODS {
        return costs;
    }
    if matches!(value["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        // Pods that have ended hold no compute resources; only `count/pods` still counts them.
        costs.remove("pods");
        return costs;
    }
    for (list, what) in [("requests", "cpu"), ("requests", "memory"), ("limits", "cpu"), ("limits", "memory")]
    {
        let sum = |field: &str| {
            let containers = value["spec"][field].as_array().into_iter().flatten();
            containers
                .map(|c| c["resources"][list][what].as_str().and_then(quantity::milli).unwrap_or_default())
                .collect::<Vec<_>>()
        };
        let total =
            sum("containers").iter().sum::<i128>().max(sum("initContainers").into_iter().max().unwrap_or(0));
        costs.insert(format!("{list}.{what}"), total);
        if list == "requests" {
            costs.insert(what.into(), total);
        }
    }
    costs
}

/// What the objects of a namespace cost together, for the names of one quota.
fn usage(storage: &Storage, namespace: &str, hard: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for (resource, collection) in storage.collections() {
        let counted = format!("count/{resource}");
        let wanted = hard.keys().any(|what| {
            *what == counted || (resource.group.is_empty() && *what == resource.resource) || *resource == PODS
        });
        if !wanted {
            continue;
        }
        for object in collection.in_namespace(namespace) {
            let value = if *resource == PODS { object.value() } else { Value::Null };
            for (what, cost) in costs(resource, &value) {
                *used.entry(what).or_default() += cost;
            }
        }
    }
    used
}

/// The containers that leave out what a quota needs to know: `limits.cpu for: c1,c2`.
fn missing(hard: &Amounts, pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for what in hard.keys() {
        let (list, field) = match what.as_str() {
            "cpu" | "memory" => ("requests", what.as_str()),
            other => match other.split_once('.') {
                Some((list @ ("requests" | "limits"), field @ ("cpu" | "memory"))) => (list, field),
                _ => continue,
            },
        };
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let without: Vec<&str> = containers
            .filter(|container| container["resources"][list][field].is_null())
            .filter_map(|container| container["name"].as_str())
            .collect();
        if !without.is_empty() {
            found.push(format!("{what} for: {}", without.join(",")));
        }
    }
    found
}

fn amounts(list: &Value) -> Amounts {
    let list = list.as_object().into_iter().flatten();
    list.filter_map(|(what, amount)| {
        let amount = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
        Some((what.clone(), quantity::milli(&amount)?))
    })
    .collect()
}

fn text(what: &str, amount: i128) -> String {
    if what.ends_with("memory") || what.ends_with("storage") {
        quantity::binary(amount)
    } else {
        quantity::decimal(amount)
    }
}
