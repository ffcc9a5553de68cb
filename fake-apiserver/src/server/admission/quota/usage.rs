//! What the objects that a quota speaks of cost together: counted once, and then kept up with what changes.

use serde_json::Value;

use super::Quota;
use super::cost::{self, Amounts};
use super::scope::Scope;
use crate::storage::{GroupResource, Storage, Stored};

/// A sum as of some revision.
#[derive(Debug)]
pub(super) struct Usage {
    hard: Amounts,
    scopes: Vec<Scope>,
    revision: u64,
    pub(super) used: Amounts,
}

impl Usage {
    /// Counts everything.
    pub(super) fn count(quota: &Quota, storage: &Storage) -> Self {
        let mut usage = Self {
            hard: quota.hard.clone(),
            scopes: quota.scopes.clone(),
            revision: storage.revision(),
            used: Amounts::new(),
        };
        for (resource, collection) in storage.collections() {
            if usage.ignores(resource) {
                continue;
            }
            for object in collection.in_namespace(&quota.key.namespace) {
                usage.add(resource, object, 1);
            }
        }
        usage
    }

    /// Takes in what has changed since; counts anew where the quota is another, or history does not reach back.
    pub(super) fn follow(&mut self, quota: &Quota, storage: &Storage) {
        if self.hard != quota.hard || self.scopes != quota.scopes {
            *self = Self::count(quota, storage);
            return;
        }
        for (resource, collection) in storage.collections() {
            if collection.last_change() <= self.revision || self.ignores(resource) {
                continue;
            }
            let Some(changes) = collection.changes(self.revision) else {
                *self = Self::count(quota, storage);
                return;
            };
            let own = |object: &&std::sync::Arc<Stored>| object.key.namespace == quota.key.namespace;
            for change in changes {
                if let Some(before) = change.before.as_ref().filter(own) {
                    self.add(resource, before, -1);
                }
                if let Some(after) = change.after.as_ref().filter(own) {
                    self.add(resource, after, 1);
                }
            }
        }
        self.revision = storage.revision();
    }

    /// Whether nothing of this resource counts.
    fn ignores(&self, resource: &GroupResource) -> bool {
        cost::is_a_count(resource)
            && (!self.scopes.is_empty()
                || !cost::of(resource, &Value::Null).keys().any(|what| self.hard.contains_key(what)))
    }

    fn add(&mut self, resource: &GroupResource, object: &Stored, times: i128) {
        let value = if cost::is_a_count(resource) { Value::Null } else { object.value() };
        if !Scope::match_all(&self.scopes, resource, &value) {
            return;
        }
        for (what, cost) in cost::of(resource, &value) {
            *self.used.entry(what).or_default() += cost * times;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::{PatchType, Request};
    use crate::server::{ApiServer, Config, QUOTAS};

    fn pod(name: &str, cpu: &str) -> Value {
        let resources = json!({"requests": {"cpu": cpu}});
        json!({"metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
    }

    #[test]
    fn what_is_followed_is_what_a_count_finds() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        // History so short that it is lost at times.
        for history in [2, 1000] {
            let mut api = ApiServer::new(Config { controllers: false, history, ..Config::default() }, now);
            let hard = json!({"pods": "100", "requests.cpu": "100", "count/configmaps": "100"});
            let quota = json!({"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}});
            api.handle(now, &Request::create("v1", "resourcequotas", quota)).unwrap();
            let quota = Quota::wanted(api.storage.collection(&QUOTAS).unwrap().iter().next().unwrap());
            let mut followed = Usage::count(&quota, &api.storage);
            let status = json!({"status": {"phase": "Succeeded"}});
            let ended = Request::patch(PatchType::Merge, "v1", "pods", status).namespace("default").name("b");
            let map = json!({"metadata": {"name": "m", "namespace": "default"}});
            for request in [
                Request::create("v1", "pods", pod("a", "100m")),
                Request::create("v1", "pods", pod("b", "2")),
                ended.subresource("status"),
                Request::create("v1", "configmaps", map),
                Request::create("v1", "pods", pod("c", "1")),
                Request::delete("v1", "pods").namespace("default").name("a"),
                Request::delete("v1", "configmaps").namespace("default").name("m"),
            ] {
                api.handle(now, &request).unwrap();
                if request.resource != "configmaps" {
                    followed.follow(&quota, &api.storage);
                    let mut counted = Usage::count(&quota, &api.storage).used;
                    counted.retain(|_, amount| *amount != 0);
                    followed.used.retain(|_, amount| *amount != 0);
                    assert_eq!(followed.used, counted, "{request:?}");
                }
            }
        }
    }
}
