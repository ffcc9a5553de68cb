//! What the operator may do in a simulation: exactly what its chart gives it, on a server that asks.

use fake_apiserver::request::Request;
use serde_json::{Value, json};

use super::script::NAMESPACE;
use crate::plugin::Registry;
use crate::rbac::{CLUSTER, NAMESPACED, Rule};
use crate::store::FakeStore;
use crate::store::served::Look;

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";
/// The operator's service account, and the groups it is in.
const USER: &str = "system:serviceaccount:dask-operator:operator";
const GROUPS: [&str; 3] =
    ["system:serviceaccounts", "system:serviceaccounts:dask-operator", "system:authenticated"];

/// How the chart was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// Not at all: the server asks nobody for rights.
    #[default]
    Unasked,
    /// With a ClusterRole, for all namespaces.
    Everywhere,
    /// With a Role (`rbac.cluster=false`), for the namespace that scripts play in.
    InNamespace,
}

impl Rights {
    /// The namespaces that the operator is told to work for; empty means all.
    pub fn namespaces(self) -> Vec<String> {
        match self {
            Self::Unasked | Self::Everywhere => Vec::new(),
            Self::InNamespace => vec![NAMESPACE.to_owned()],
        }
    }

    /// Where the operator finds out what the installed definitions keep.
    pub fn look(self) -> Look {
        match self {
            Self::Unasked | Self::Everywhere => Look::Definitions,
            Self::InNamespace => Look::Discovery,
        }
    }

    /// The requests of an administrator that give the operator these rights.
    pub fn grant(self, plugins: &Registry) -> Vec<Request> {
        let (role, rules) = match self {
            Self::Unasked => return Vec::new(),
            Self::Everywhere => ("ClusterRole", [NAMESPACED, CLUSTER].concat()),
            Self::InNamespace => ("Role", NAMESPACED.to_vec()),
        };
        let theirs = plugins.rights();
        let theirs = theirs.iter().map(
            |(group, plural, verbs)| json!({"apiGroups": [group], "resources": [plural], "verbs": verbs}),
        );
        let rules: Vec<Value> = rules.iter().map(rule).chain(theirs).collect();
        let subjects = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": USER}]);
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": "operator"});
        vec![
            self.create(role, json!({"rules": rules})),
            self.create(&format!("{role}Binding"), json!({"roleRef": reference, "subjects": subjects})),
        ]
    }

    fn create(self, kind: &str, mut object: Value) -> Request {
        object["apiVersion"] = json!(API_VERSION);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "operator"});
        if self == Self::InNamespace {
            object["metadata"]["namespace"] = json!(NAMESPACE);
        }
        Request::create(API_VERSION, &format!("{}s", kind.to_lowercase()), object)
    }
}

/// The store as the operator's service account.
pub(super) fn operators(store: FakeStore) -> FakeStore {
    store.of(USER, &GROUPS)
}

fn rule(rule: &Rule) -> Value {
    let mut value = json!({"apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs});
    if !rule.names.is_empty() {
        value["resourceNames"] = json!(rule.names);
    }
    value
}
