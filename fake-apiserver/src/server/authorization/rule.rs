//! One rule of a role: what it allows, and what it covers of another.
//!
//! Follows `plugin/pkg/auth/authorizer/rbac` (RuleAllows) and `component-helpers/auth/rbac/validation` (Covers).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attributes::Target;

/// PolicyRule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::server) struct Rule {
    pub(super) verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(super) paths: Vec<String>,
}

impl Rule {
    /// The rules of a role object; what is no rule allows nothing.
    pub(super) fn list(rules: &Value) -> Vec<Self> {
        let rules = rules.as_array().into_iter().flatten();
        rules.filter_map(|rule| Self::deserialize(rule).ok()).collect()
    }

    /// What somebody may do whom nothing is forbidden.
    pub(super) fn everything() -> Vec<Self> {
        let all = || vec!["*".to_owned()];
        let resources = Self { verbs: all(), api_groups: all(), resources: all(), ..Self::default() };
        vec![resources, Self { verbs: all(), paths: all(), ..Self::default() }]
    }

    /// Whether the rule speaks of paths rather than of resources.
    pub(in crate::server) fn is_about_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    pub(super) fn allows(&self, verb: &str, target: &Target) -> bool {
        if !has(&self.verbs, verb) {
            return false;
        }
        match target {
            Target::Path(path) => self.paths.iter().any(|known| path_matches(known, path)),
            Target::Resource { group, resource, subresource, name, .. } => {
                has(&self.api_groups, group)
                    && self.resources.iter().any(|known| resource_matches(known, resource, subresource))
                    && (self.resource_names.is_empty() || self.resource_names.contains(name))
            }
        }
    }

    /// The rule as single grants: one verb, group, resource and name, or one verb and path each.
    fn grants(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut all = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let grant = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        all.push(grant);
                        continue;
                    }
                    let named = |name| Self { resource_names: one(name), ..grant.clone() };
                    all.extend(self.resource_names.iter().map(named));
                }
            }
        }
        for path in &self.paths {
            let grant = |verb| Self { verbs: one(verb), paths: one(path), ..Self::default() };
            all.extend(self.verbs.iter().map(grant));
        }
        all
    }

    /// Whether everything a single grant allows is allowed by this rule.
    fn covers(&self, grant: &Self) -> bool {
        let verbs = covers(&self.verbs, &grant.verbs);
        if grant.is_about_paths() {
            let path = |path: &String| self.paths.iter().any(|known| path_matches(known, path));
            return verbs && grant.paths.iter().all(path);
        }
        let resource = |wanted: &String| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.resources.iter().any(|known| resource_matches(known, resource, subresource))
        };
        let names = self.resource_names.is_empty()
            || (!grant.resource_names.is_empty()
                && grant.resource_names.iter().all(|name| self.resource_names.contains(name)));
        verbs
            && covers(&self.api_groups, &grant.api_groups)
            && grant.resources.iter().all(resource)
            && !self.resources.is_empty()
            && names
    }

    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`, as messages show a rule.
    fn text(&self) -> String {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.resource_names),
            ("NonResourceURLs", &self.paths),
            ("Verbs", &self.verbs),
        ];
        let parts = parts.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| {
            let list: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
            format!("{name}:[{}]", list.join(" "))
        });
        format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
    }
}

/// What `wanted` grants and `held` does not, one line each; empty when nothing is missing.
pub(super) fn missing(held: &[Rule], wanted: &[Rule]) -> String {
    let grants = wanted.iter().flat_map(Rule::grants);
    let missing = grants.filter(|grant| !held.iter().any(|rule| rule.covers(grant)));
    let mut lines = BTreeSet::new();
    for rule in compact(missing) {
        lines.insert(rule.text());
    }
    let mut text = String::new();
    for line in lines {
        let _ = write!(text, "{}{line}", if text.is_empty() { "" } else { "\n" });
    }
    text
}

/// Grants of the same resource become one rule with several verbs, in the order of the grants.
pub(in crate::server) fn compact(rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for rule in rules {
        let simple = rule.api_groups.len() == 1
            && rule.resources.len() == 1
            && rule.resource_names.len() <= 1
            && rule.paths.is_empty();
        let same = all.iter_mut().find(|known| {
            simple
                && known.api_groups == rule.api_groups
                && known.resources == rule.resources
                && known.resource_names == rule.resource_names
        });
        match same {
            Some(known) => known.verbs.extend(rule.verbs),
            None => all.push(rule),
        }
    }
    all
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|known| known == "*" || known == wanted)
}

fn covers(held: &[String], wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| has(held, wanted))
}

/// `pods`, `pods/log`, `*/scale` or `*`.
fn resource_matches(known: &str, resource: &str, subresource: &str) -> bool {
    if known == "*" {
        return true;
    }
    match known.split_once('/') {
        None => known == resource && subresource.is_empty(),
        Some((of, sub)) => !subresource.is_empty() && sub == subresource && (of == resource || of == "*"),
    }
}

/// A path, or its beginning and `*`.
fn path_matches(known: &str, path: &str) -> bool {
    known == "*" || known == path || known.strip_suffix('*').is_some_and(|begin| path.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(value: &Value) -> Vec<Rule> {
        Rule::list(value)
    }

    fn pods(subresource: &str, name: &str) -> Target {
        Target::Resource {
            group: String::new(),
            resource: "pods".into(),
            subresource: subresource.into(),
            namespace: "a".into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_rule_allows_the_resources_subresources_and_names_it_names() {
        let rule = |resources: Value, names: Value| {
            rules(&json!([{"verbs": ["get"], "apiGroups": [""], "resources": resources, "resourceNames": names}]))
                .remove(0)
        };
        assert!(rule(json!(["pods"]), json!([])).allows("get", &pods("", "x")));
        assert!(!rule(json!(["pods"]), json!([])).allows("list", &pods("", "x")));
        assert!(!rule(json!(["pods"]), json!([])).allows("get", &pods("log", "x")));
        assert!(rule(json!(["pods/log"]), json!([])).allows("get", &pods("log", "x")));
        assert!(rule(json!(["*/log"]), json!([])).allows("get", &pods("log", "x")));
        assert!(!rule(json!(["*/log"]), json!([])).allows("get", &pods("", "x")));
        assert!(rule(json!(["*"]), json!([])).allows("get", &pods("log", "x")));
        assert!(rule(json!(["pods"]), json!(["x"])).allows("get", &pods("", "x")));
        assert!(!rule(json!(["pods"]), json!(["x"])).allows("get", &pods("", "y")));
    }

    #[test]
    fn a_path_matches_as_a_whole_or_by_its_beginning() {
        let rule =
            rules(&json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/openapi/*"]}])).remove(0);
        let allows = |path: &str| rule.allows("get", &Target::Path(path.into()));
        assert!(allows("/healthz") && allows("/openapi/v3"));
        assert!(!allows("/healthz/etcd") && !allows("/version"));
        assert!(!rule.allows("post", &Target::Path("/healthz".into())));
    }

    #[test]
    fn what_is_missing_is_said_in_single_grants_brought_together() {
        let held = rules(&json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/log"]}]));
        let wanted = rules(
            &json!([{"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods", "pods/log"]}]),
        );
        assert_eq!(
            missing(&held, &wanted),
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}\n\
             {APIGroups:[\"\"], Resources:[\"pods/log\"], Verbs:[\"list\" \"watch\"]}"
        );
        assert_eq!(missing(&Rule::everything(), &wanted), "");
        let named = rules(
            &json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["x"]}]),
        );
        assert_eq!(missing(&held, &named), "", "a rule without names covers every name");
        assert_ne!(missing(&named, &held), "", "a rule for one name does not cover all");
    }
}
