//! ClusterRoles that are made of others (`aggregationRule`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::queue::{Queue, Work};
use crate::status::Status;
use crate::storage::{GroupResource, Key, LabelSelector};

const CLUSTER_ROLES: GroupResource = GroupResource::new("rbac.authorization.k8s.io", "clusterroles");

/// Keeps the rules of aggregated roles.
pub(crate) struct ClusterRoles;

impl ControlLoop for ClusterRoles {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn manager(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    /// Any role may be a part of any aggregated role, and there are few: one piece of work looks at all of them.
    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        if seen.resource() == ("rbac.authorization.k8s.io", "clusterroles") {
            queue.add(Work { about: "clusterroles", key: Key::new("", "") }, seen.now);
        }
    }

    fn sync(&mut self, _: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let all = LabelSelector::default();
        for role in context.api.select(&CLUSTER_ROLES, None, &all) {
            let value = role.value();
            let Some(selectors) = value["aggregationRule"]["clusterRoleSelectors"].as_array() else {
                continue;
            };
            let rules = aggregated(context, selectors, &role.key.name);
            let had = value["rules"].as_array().map_or(&[][..], Vec::as_slice);
            if !role.meta.deleting && rules != had {
                context.api.patch(&CLUSTER_ROLES, &role.key, json!({"rules": rules}))?;
            }
        }
        Ok(None)
    }
}

/// The rules of the roles that are meant, by name, each rule once.
fn aggregated(context: &Context<'_, '_>, selectors: &[Value], own: &str) -> Vec<Value> {
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        let Some(selector) = LabelSelector::from_object(selector) else { continue };
        for part in context.api.select(&CLUSTER_ROLES, None, &selector) {
            if part.key.name == own {
                continue;
            }
            for rule in part.value()["rules"].as_array().into_iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}
