//! Which objects a quota speaks of: its scopes.
//!
//! Follows `pkg/quota/v1/evaluator/core/pods.go` (podMatchesScopeFunc). Only pods have scopes.

use serde_json::Value;

use crate::server::PODS;
use crate::storage::GroupResource;

/// One condition on pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

impl Scope {
    /// The scopes of a quota's spec, from both fields that hold some.
    pub(super) fn all(spec: &Value) -> Vec<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let short = spec["scopes"].as_array().into_iter().flatten();
        let short =
            short.map(|name| Self { name: text(name), operator: "Exists".into(), values: Vec::new() });
        let long = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        let long = long.map(|expression| Self {
            name: text(&expression["scopeName"]),
            operator: text(&expression["operator"]),
            values: crate::server::tokens::texts(&expression["values"]),
        });
        short.chain(long).collect()
    }

    /// Whether all scopes mean an object; scopes mean no other objects than pods.
    pub(super) fn match_all(scopes: &[Self], resource: &GroupResource, value: &Value) -> bool {
        scopes.is_empty() || (*resource == PODS && scopes.iter().all(|scope| scope.matches(&value["spec"])))
    }

    fn matches(&self, spec: &Value) -> bool {
        let holds = match self.name.as_str() {
            "Terminating" => spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0),
            "NotTerminating" => spec["activeDeadlineSeconds"].as_i64().is_none_or(|seconds| seconds < 0),
            "BestEffort" => is_best_effort(spec),
            "NotBestEffort" => !is_best_effort(spec),
            "CrossNamespacePodAffinity" => crosses_namespaces(&spec["affinity"]),
            "PriorityClass" => {
                return self.matches_class(spec["priorityClassName"].as_str().unwrap_or_default());
            }
            _ => return false,
        };
        holds != (self.operator == "DoesNotExist")
    }

    fn matches_class(&self, class: &str) -> bool {
        match self.operator.as_str() {
            "In" => self.values.iter().any(|value| value == class),
            "NotIn" => !self.values.iter().any(|value| value == class),
            "DoesNotExist" => class.is_empty(),
            _ => !class.is_empty(),
        }
    }
}

fn is_best_effort(spec: &Value) -> bool {
    let lists = ["containers", "initContainers"].into_iter();
    let mut containers = lists.flat_map(|list| spec[list].as_array().into_iter().flatten());
    containers.all(|container| {
        ["requests", "limits"]
            .iter()
            .all(|list| ["cpu", "memory"].iter().all(|what| container["resources"][list][what].is_null()))
    })
}

/// Whether a term of (anti-)affinity looks at pods of other namespaces.
fn crosses_namespaces(affinity: &Value) -> bool {
    let names_others = |term: &Value| {
        term["namespaceSelector"].is_object()
            || term["namespaces"].as_array().is_some_and(|namespaces| !namespaces.is_empty())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let kind = &affinity[kind];
        let list = |field: &str| kind[field].as_array().cloned().unwrap_or_default();
        list("requiredDuringSchedulingIgnoredDuringExecution").iter().any(names_others)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|weighted| names_others(&weighted["podAffinityTerm"]))
    })
}
