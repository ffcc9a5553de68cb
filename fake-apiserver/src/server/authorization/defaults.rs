//! The roles and bindings every cluster begins with, as a real control plane has them (`data/roles.json`).

use std::sync::LazyLock;

use serde_json::Value;

use crate::request::Request;

static OBJECTS: LazyLock<Vec<Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../data/roles.json")).unwrap_or_default());

/// Requests that make them.
pub(in crate::server) fn objects() -> impl Iterator<Item = Request> {
    OBJECTS.iter().map(|object| {
        let plural = format!("{}s", object["kind"].as_str().unwrap_or_default().to_ascii_lowercase());
        Request::create("rbac.authorization.k8s.io/v1", &plural, object.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roles_that_clients_rely_on_are_there() {
        for name in ["cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user"] {
            assert!(
                objects().any(|r| r.resource == "clusterroles"
                    && r.name.is_none()
                    && r.body.as_ref().is_some_and(|body| body["metadata"]["name"] == name)),
                "{name}"
            );
        }
    }
}
