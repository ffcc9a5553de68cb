//! Which requests a webhook or a policy is for: rules by resource, selectors by namespace and object.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/webhook/predicates` and `plugin/policy/matching`.

use std::sync::Arc;

use serde_json::Value;

use super::Operation;
use crate::registry::{Registry, Resource};
use crate::server::NAMESPACES;
use crate::server::call::Call;
use crate::server::tokens::texts;
use crate::storage::{Key, LabelSelector, Storage, labels};

/// The group of all that is set up; it is never about itself.
pub(super) const GROUP: &str = "admissionregistration.k8s.io";

/// What one webhook, policy or binding is for.
#[derive(Debug, Default)]
pub(super) struct Matching {
    rules: Vec<Rule>,
    /// What the rules mean and yet is not meant.
    excluded: Vec<Rule>,
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    /// Names of objects; none means all.
    names: Vec<String>,
    scope: String,
}

/// What was asked, as far as rules look at it.
struct Asked<'a> {
    resource: &'a Resource,
    subresource: &'a str,
    operation: Operation,
    name: &'a str,
}

impl Matching {
    /// From `rules`, `excluded`, and an object with the selectors and the match policy.
    pub(super) fn read(rules: &Value, excluded: &Value, from: &Value) -> Self {
        let all = |list: &Value| list.as_array().into_iter().flatten().map(Rule::read).collect();
        let selector = |field: &str| LabelSelector::from_object(&from[field]).unwrap_or_default();
        Self {
            rules: all(rules),
            excluded: all(excluded),
            equivalent: from["matchPolicy"] != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// Whether any rule is there; a binding without rules means whatever its policy means.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The version of the resource that is to be looked at, if the rules mean the request.
    pub(super) fn resource(
        &self,
        registry: &Registry,
        call: &Call<'_>,
        operation: Operation,
        name: &str,
    ) -> Option<Arc<Resource>> {
        if call.resource.group == GROUP {
            return None;
        }
        let subresource = call.request.subresource.as_deref().unwrap_or_default();
        let same = || registry.resources().filter(|other| other.storage == call.resource.storage);
        let means = |rules: &[Rule], resource: &Resource| {
            let asked = Asked { resource, subresource, operation, name };
            rules.iter().any(|rule| rule.means(&asked))
        };
        let is_excluded = means(&self.excluded, &call.resource)
            || self.equivalent && same().any(|other| means(&self.excluded, other));
        if is_excluded {
            return None;
        }
        if means(&self.rules, &call.resource) {
            return Some(Arc::clone(&call.resource));
        }
        if self.equivalent { same().find(|other| means(&self.rules, other)).cloned() } else { None }
    }

    /// Whether the selectors mean the object.
    pub(super) fn selects(
        &self,
        storage: &Storage,
        call: &Call<'_>,
        value: Option<&Value>,
        old: Option<&Value>,
    ) -> bool {
        if !self.namespaces.is_empty() {
            let labels = if call.resource.storage == NAMESPACES {
                value.or(old).map(labels)
            } else if call.resource.namespaced {
                storage.get(&NAMESPACES, &Key::new("", call.namespace())).map(|n| n.meta.labels.clone())
            } else {
                None
            };
            if labels.is_some_and(|labels| !self.namespaces.matches(&labels)) {
                return false;
            }
        }
        self.objects.is_empty()
            || [value, old].into_iter().flatten().any(|object| self.objects.matches(&labels(object)))
    }
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            names: texts(&rule["resourceNames"]),
            scope: rule["scope"].as_str().unwrap_or("*").into(),
        }
    }

    fn means(&self, asked: &Asked<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|known| known == "*" || known == wanted);
        let scope = match self.scope.as_str() {
            "Namespaced" => asked.resource.namespaced,
            "Cluster" => !asked.resource.namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, asked.operation.name())
            && has(&self.groups, &asked.resource.group)
            && has(&self.versions, &asked.resource.version)
            && (self.names.is_empty() || self.names.iter().any(|name| name == asked.name))
            && self.resources.iter().any(|known| {
                let (of, sub) = known.split_once('/').unwrap_or((known, ""));
                (of == "*" || of == asked.resource.plural)
                    && (sub == asked.subresource || (sub == "*" && known.contains('/')))
            })
    }
}
