//! Nobody grants what they do not have, unless they are allowed to `escalate` roles or to `bind` them.
//!
//! Follows `pkg/registry/rbac/*/policybased`.

use serde::Deserialize as _;
use serde_json::Value;

use super::attributes::{Attributes, Target};
use super::policy::RoleRef;
use super::rule::{Rule, missing};
use super::{GROUP, is_master};
use crate::server::ApiServer;
use crate::server::call::Call;
use crate::status::Status;

impl ApiServer {
    /// Whether a role or binding may be written as it is; `old` is what it replaces.
    ///
    /// # Errors
    /// 403 with what the writer lacks; 404 when a binding names no role.
    pub(in crate::server) fn check_escalation(
        &self,
        call: &Call<'_>,
        value: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let user = &call.request.user;
        if !self.config.rbac || call.resource.group != GROUP || is_master(user) {
            return Ok(());
        }
        if old.is_some_and(|old| only_metadata_of_collection_differs(old, value)) {
            return Ok(());
        }
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        let kind = call.resource.plural.as_str();
        let may = |verb: &str, resource: &str, name: &str| {
            let target = Target::Resource {
                group: GROUP.into(),
                resource: resource.into(),
                subresource: String::new(),
                namespace: call.namespace().into(),
                name: name.into(),
            };
            self.policy.decide(&Attributes { user, verb: verb.into(), target }).allowed
        };
        let wanted = if matches!(kind, "roles" | "clusterroles") {
            if may("escalate", kind, name) {
                return Ok(());
            }
            if value["aggregationRule"].is_object()
                && !missing(&self.rules_of(user, "").0, &Rule::everything()).is_empty()
            {
                return Err(
                    call.forbidden(name, "must have cluster-admin privileges to use the aggregationRule")
                );
            }
            Rule::list(&value["rules"])
        } else {
            let role = RoleRef::deserialize(&value["roleRef"]).unwrap_or_default();
            let resource = if role.kind == "Role" { "roles" } else { "clusterroles" };
            if may("bind", resource, &role.name) {
                return Ok(());
            }
            self.policy.rules(call.namespace(), &role).map_err(|_| call.not_found(&role.name))?.to_vec()
        };
        let (held, errors) = self.rules_of(user, call.namespace());
        let missing = missing(&held, &wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
        let unresolved = match errors.as_slice() {
            [] => String::new(),
            errors => format!("; resolution errors: [{}]", errors.join(", ")),
        };
        let why = format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{missing}{unresolved}",
            user.name,
            groups.join(" ")
        );
        Err(call.forbidden(name, &why))
    }
}

/// The garbage collector may take owners and finalizers off whatever the role grants.
fn only_metadata_of_collection_differs(old: &Value, new: &Value) -> bool {
    let rest = |value: &Value| {
        let mut rest = value.clone();
        if let Some(metadata) = rest["metadata"].as_object_mut() {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        rest
    };
    rest(old) == rest(new)
}
