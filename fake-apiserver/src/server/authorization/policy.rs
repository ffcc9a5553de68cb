//! Roles and bindings, kept as they are written, and what they decide.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::attributes::{Attributes, Target};
use super::rule::Rule;
use super::{Decision, GROUP};
use crate::request::User;
use crate::status::Status;
use crate::storage::Key;

/// All roles and bindings; those of the cluster have an empty namespace.
#[derive(Debug, Default)]
pub(in crate::server) struct Policy {
    roles: BTreeMap<Key, Vec<Rule>>,
    bindings: BTreeMap<Key, Binding>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Binding {
    role_ref: RoleRef,
    subjects: Vec<Subject>,
}

/// The role a binding binds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RoleRef {
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    fn is(&self, user: &User, namespace: &str) -> bool {
        match self.kind.as_str() {
            "User" => self.name == user.name,
            "Group" => user.groups.contains(&self.name),
            "ServiceAccount" => {
                let namespace = self.namespace_or(namespace);
                !namespace.is_empty()
                    && super::service_account(&user.name) == Some((namespace, self.name.as_str()))
            }
            _ => false,
        }
    }

    fn namespace_or<'a>(&'a self, namespace: &'a str) -> &'a str {
        if self.namespace.is_empty() { namespace } else { &self.namespace }
    }

    fn text(&self, namespace: &str) -> String {
        if self.kind == "ServiceAccount" {
            return format!("{} {:?}", self.kind, format!("{}/{}", self.name, self.namespace_or(namespace)));
        }
        format!("{} {:?}", self.kind, self.name)
    }
}

impl Policy {
    /// Takes a role or binding in; `kind` is its plural.
    pub(super) fn put(&mut self, kind: &str, key: &Key, value: &Value) {
        match kind {
            "roles" | "clusterroles" => drop(self.roles.insert(key.clone(), Rule::list(&value["rules"]))),
            "rolebindings" | "clusterrolebindings" => {
                let binding = Binding::deserialize(value).unwrap_or_default();
                self.bindings.insert(key.clone(), binding);
            }
            _ => {}
        }
    }

    /// Takes a role or binding out.
    pub(super) fn remove(&mut self, kind: &str, key: &Key) {
        match kind {
            "roles" | "clusterroles" => drop(self.roles.remove(key)),
            "rolebindings" | "clusterrolebindings" => drop(self.bindings.remove(key)),
            _ => {}
        }
    }

    /// The first rule that allows it decides; bindings of the cluster come before those of the namespace.
    pub(super) fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let namespace = match &attributes.target {
            Target::Resource { namespace, .. } => namespace.as_str(),
            Target::Path(_) => "",
        };
        let mut errors: Vec<String> = Vec::new();
        for (key, binding, subject) in self.bound(attributes.user, namespace) {
            let rules = match self.rules(&key.namespace, &binding.role_ref) {
                Ok(rules) => rules,
                Err(unknown) => {
                    if !errors.contains(&unknown.message) {
                        errors.push(unknown.message);
                    }
                    continue;
                }
            };
            if rules.iter().any(|rule| rule.allows(&attributes.verb, &attributes.target)) {
                let reason = format!("RBAC: allowed by {}", source(key, binding, subject));
                return Decision { allowed: true, reason };
            }
        }
        let reason = match errors.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            several => format!("RBAC: [{}]", several.join(", ")),
        };
        Decision { allowed: false, reason }
    }

    /// All rules that hold for a user in a namespace, and what went wrong while looking.
    pub(super) fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for (key, binding, _) in self.bound(user, namespace) {
            match self.rules(&key.namespace, &binding.role_ref) {
                Ok(found) => rules.extend_from_slice(found),
                Err(unknown) => errors.push(unknown.message),
            }
        }
        (rules, errors)
    }

    /// The rules of the role a binding in `namespace` (empty: of the cluster) binds.
    ///
    /// # Errors
    /// 404 when there is no such role.
    pub(super) fn rules(&self, namespace: &str, role: &RoleRef) -> Result<&[Rule], Status> {
        let (namespace, singular) =
            if role.kind == "Role" { (namespace, "role") } else { ("", "clusterrole") };
        self.roles
            .get(&Key::new(namespace, &role.name))
            .map(Vec::as_slice)
            .ok_or_else(|| Status::not_found(GROUP, singular, &role.name))
    }

    /// The bindings that name a user, each with the subject that does.
    fn bound<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Binding, &'a Subject)> {
        let of = |place: &'a str| {
            let from = Key::new(place, "");
            self.bindings.range(from..).take_while(move |(key, _)| key.namespace.as_str() == place)
        };
        let own = (!namespace.is_empty()).then(|| of(namespace)).into_iter().flatten();
        of("").chain(own).filter_map(move |(key, binding)| {
            let subject = binding.subjects.iter().find(|subject| subject.is(user, &key.namespace))?;
            Some((key, binding, subject))
        })
    }
}

/// `ClusterRoleBinding "x" of ClusterRole "y" to User "z"`.
fn source(key: &Key, binding: &Binding, subject: &Subject) -> String {
    let (kind, name) = if key.namespace.is_empty() {
        ("ClusterRoleBinding", key.name.clone())
    } else {
        ("RoleBinding", format!("{}/{}", key.name, key.namespace))
    };
    let role = &binding.role_ref;
    format!("{kind} {name:?} of {} {:?} to {}", role.kind, role.name, subject.text(&key.namespace))
}
