//! The roles and bindings a cluster begins with.

use anyhow::Result;
use serde_json::{Map, Value};

use super::array;
use super::reference::Reference;

/// Plural and kind, in the order in which they are made.
const KINDS: [(&str, &str); 4] = [
    ("clusterroles", "ClusterRole"),
    ("clusterrolebindings", "ClusterRoleBinding"),
    ("roles", "Role"),
    ("rolebindings", "RoleBinding"),
];

/// What the reference's API server has made itself, without what belongs to one cluster alone.
pub(super) fn collect(reference: &Reference) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for (plural, kind) in KINDS {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{plural}");
        let list = reference.get(&path, "application/json")?;
        let own = |item: &&Value| {
            item["metadata"]["labels"]["kubernetes.io/bootstrapping"].as_str() == Some("rbac-defaults")
        };
        for item in array(&list, "items").filter(own) {
            let mut row = item.clone();
            let kept = ["annotations", "labels", "name", "namespace"];
            let metadata = item["metadata"].as_object().into_iter().flatten();
            let metadata: Map<String, Value> = metadata
                .filter(|(field, _)| kept.contains(&field.as_str()))
                .map(|(field, value)| (field.clone(), value.clone()))
                .collect();
            row["metadata"] = Value::Object(metadata);
            row["kind"] = kind.into();
            rows.push(row);
        }
    }
    Ok(rows)
}
