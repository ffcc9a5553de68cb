//! ResourceQuota: refuses what exceeds it, and keeps `status.used`.
//!
//! | file | what it is |
//! |---|---|
//! | [`cost`] | what one object costs |
//! | [`scope`] | which objects a quota speaks of |
//! | [`usage`] | what they cost together |

mod cost;
mod scope;
mod usage;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use cost::Amounts;
use scope::Scope;
use usage::Usage;

use crate::quantity;
use crate::server::call::Call;
use crate::server::internal::{Api, Changes, Controller, Cursor};
use crate::server::{ApiServer, QUOTAS};
use crate::status::Status;
use crate::storage::{Key, Storage, Stored};

/// A quota's spec, read.
struct Quota {
    name: String,
    namespace: String,
    hard: Amounts,
    scopes: Vec<Scope>,
}

impl Quota {
    fn read(quota: &Stored) -> Self {
        let spec = &quota.value()["spec"];
        Self {
            name: quota.key.name.clone(),
            namespace: quota.key.namespace.clone(),
            hard: amounts(&spec["hard"]),
            scopes: Scope::all(spec),
        }
    }
}

/// The usage of each quota that was asked for.
#[derive(Debug, Default)]
pub(in crate::server) struct Usages(BTreeMap<Key, Usage>);

impl Usages {
    /// What a quota's objects cost together now.
    fn of(&mut self, quota: &Quota, storage: &Storage) -> &Amounts {
        let key = Key::new(&quota.namespace, &quota.name);
        let usage = self.0.entry(key).or_insert_with(|| Usage::count(quota, storage));
        usage.follow(quota, storage);
        &usage.used
    }

    /// Forgets quotas that are no more.
    fn keep(&mut self, storage: &Storage) {
        self.0.retain(|key, _| storage.get(&QUOTAS, key).is_some());
    }
}

impl ApiServer {
    /// 403 when an object that is to be written exceeds a quota of its namespace; `old` is what it replaces.
    pub(super) fn check_quota(
        &mut self,
        call: &Call<'_>,
        value: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let resource = &call.resource.storage;
        let Some(quotas) = self.storage.collection(&QUOTAS).filter(|quotas| !quotas.is_empty()) else {
            return Ok(());
        };
        // Nothing that costs more later than when it was made, but for these.
        if old.is_some() && (*resource == crate::server::PODS || cost::is_a_count(resource)) {
            return Ok(());
        }
        if self.usages.0.len() > quotas.len() {
            self.usages.keep(&self.storage);
        }
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let mut costs = cost::of(resource, value);
        for (what, cost) in old.map(|old| cost::of(resource, old)).unwrap_or_default() {
            *costs.entry(what).or_default() -= cost;
        }
        let quotas: Vec<Quota> =
            quotas.in_namespace(call.namespace()).map(|quota| Quota::read(quota)).collect();
        for quota in quotas {
            if !costs.keys().any(|what| quota.hard.contains_key(what))
                || !Scope::match_all(&quota.scopes, resource, value)
            {
                continue;
            }
            let left_out = cost::left_out(&quota.hard, resource, value);
            if !left_out.is_empty() && old.is_none() {
                let why = format!("failed quota: {}: must specify {}", quota.name, left_out.join("; "));
                return Err(call.forbidden(name, &why));
            }
            let used = self.usages.of(&quota, &self.storage);
            let exceeds = |(what, cost): &(&String, &i128)| {
                let hard = quota.hard.get(*what);
                **cost > 0 && hard.is_some_and(|hard| used.get(*what).unwrap_or(&0) + **cost > *hard)
            };
            let over: Vec<&String> = costs.iter().filter(exceeds).map(|(what, _)| what).collect();
            if !over.is_empty() {
                let show = |amounts: &Amounts| {
                    let all = over.iter().map(|w| format!("{w}={}", text(w, *amounts.get(*w).unwrap_or(&0))));
                    all.collect::<Vec<_>>().join(",")
                };
                let why = format!(
                    "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                    quota.name,
                    show(&costs),
                    show(used),
                    show(&quota.hard)
                );
                return Err(call.forbidden(name, &why));
            }
        }
        Ok(())
    }
}

/// Keeps `status` of quotas: what the quota controller of kube-controller-manager does.
#[derive(Debug, Default)]
pub(in crate::server) struct QuotaStatus {
    seen: u64,
    usages: Usages,
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
        for stored in quotas {
            let quota = Quota::read(&stored);
            let value = stored.value();
            let used = self.usages.of(&quota, api.server().storage());
            let used: Map<String, Value> = quota
                .hard
                .keys()
                .map(|what| (what.clone(), json!(text(what, *used.get(what).unwrap_or(&0)))))
                .collect();
            let status = json!({"hard": value["spec"]["hard"], "used": used});
            if value["status"] != status {
                // A refusal means that the quota has changed or gone meanwhile: the next pass sees it.
                let _ = api.patch_status(&QUOTAS, &stored.key, json!({"status": status}));
            }
        }
        self.usages.keep(api.server().storage());
        self.seen = api.server().revision();
        None
    }
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
