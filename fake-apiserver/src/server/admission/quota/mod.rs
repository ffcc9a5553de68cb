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

/// A quota, read.
struct Quota {
    key: Key,
    hard: Amounts,
    scopes: Vec<Scope>,
}

impl Quota {
    /// With the limits that are asked for.
    fn wanted(quota: &Stored) -> Self {
        Self::with(quota, "spec")
    }

    /// With the limits that hold: those that the quota controller has seen and counted.
    fn in_force(quota: &Stored) -> Self {
        Self::with(quota, "status")
    }

    fn with(quota: &Stored, part: &str) -> Self {
        let value = quota.value();
        Self {
            key: quota.key.clone(),
            hard: amounts(&value[part]["hard"]),
            scopes: Scope::all(&value["spec"]),
        }
    }
}

/// What the objects of each quota cost, as the quota controller counts it.
#[derive(Debug, Default)]
struct Usages(BTreeMap<Key, Usage>);

impl Usages {
    /// What a quota's objects cost together now.
    fn of(&mut self, quota: &Quota, storage: &Storage) -> &Amounts {
        let usage = self.0.entry(quota.key.clone()).or_insert_with(|| Usage::count(quota, storage));
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
    /// What it costs is added to the quotas' statuses, from which the next request is judged: the quota controller
    /// only puts them right where that has gone wrong.
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
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let mut costs = cost::of(resource, value);
        for (what, cost) in old.map(|old| cost::of(resource, old)).unwrap_or_default() {
            *costs.entry(what).or_default() -= cost;
        }
        let mut charged = Vec::new();
        for stored in quotas.in_namespace(call.namespace()) {
            let quota = Quota::in_force(stored);
            if !costs.keys().any(|what| quota.hard.contains_key(what))
                || !Scope::match_all(&quota.scopes, resource, value)
            {
                continue;
            }
            let called = &quota.key.name;
            let left_out = cost::left_out(&quota.hard, resource, value);
            if !left_out.is_empty() && old.is_none() {
                let why = format!("failed quota: {called}: must specify {}", left_out.join("; "));
                return Err(call.forbidden(name, &why));
            }
            let mut changed = stored.value();
            let used = amounts(&changed["status"]["used"]);
            let counted = |what: &&String| quota.hard.contains_key(*what);
            let unknown: Vec<&str> =
                costs.keys().filter(counted).filter(|what| !used.contains_key(*what)).map(|w| &**w).collect();
            if !unknown.is_empty() {
                let why = format!("status unknown for quota: {called}, resources: {}", unknown.join(","));
                return Err(call.forbidden(name, &why));
            }
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
                    "exceeded quota: {called}, requested: {}, used: {}, limited: {}",
                    show(&costs),
                    show(&used),
                    show(&quota.hard)
                );
                return Err(call.forbidden(name, &why));
            }
            for (what, cost) in costs.iter().filter(|(what, cost)| counted(what) && **cost != 0) {
                changed["status"]["used"][what] = json!(text(what, used.get(what).unwrap_or(&0) + cost));
            }
            charged.push(changed);
        }
        if !call.request.params.dry_run {
            for quota in charged {
                self.write_status(call, "v1", "resourcequotas", quota)?;
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
        "kube-controller-manager"
    }

    fn step(&mut self, api: &mut Api<'_>) -> Option<Timestamp> {
        let revision = api.server().revision();
        if self.seen == revision || api.collection(&QUOTAS).is_none_or(crate::storage::Collection::is_empty) {
            self.seen = revision;
            return None;
        }
        let Changes::Relist(quotas) = api.changes(&mut Cursor::new(QUOTAS)) else { return None };
        for stored in quotas {
            let quota = Quota::wanted(&stored);
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
