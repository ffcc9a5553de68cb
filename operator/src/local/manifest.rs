//! Manifests: what a person would give to `kubectl apply -f`.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde::Deserialize;

use crate::store::ObjectKey;

/// The DaskJob that runs when no manifest is named.
pub(super) const EXAMPLE: &str = include_str!("../../examples/job.yaml");

/// One object of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) resource: ApiResource,
    pub(super) object: DynamicObject,
}

impl Entry {
    pub(super) fn key(&self) -> ObjectKey {
        ObjectKey::of(&self.object)
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.resource.group == crate::api::GROUP && self.resource.kind == kind
    }
}

/// Why a manifest cannot be applied. `file` is its name as the user gave it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("{file} is not YAML")]
    NotYaml { file: String, source: serde_yaml::Error },
    #[error(
        "document {number} of {file} is not a Kubernetes object: it needs apiVersion, kind and metadata.name"
    )]
    NotAnObject { file: String, number: usize },
    #[error("{file} holds no object")]
    Empty { file: String },
}

/// The objects of a manifest, in order; those without a namespace go to `namespace`.
pub(super) fn parse(file: &str, text: &str, namespace: &str) -> Result<Vec<Entry>, ManifestError> {
    let mut entries = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let not_yaml = |source| ManifestError::NotYaml { file: file.to_owned(), source };
        let value = serde_json::Value::deserialize(document).map_err(not_yaml)?;
        if value.is_null() {
            continue;
        }
        let not_an_object = || ManifestError::NotAnObject { file: file.to_owned(), number: index + 1 };
        let object: DynamicObject = serde_json::from_value(value).map_err(|_| not_an_object())?;
        entries.push(entry(object, namespace).ok_or_else(not_an_object)?);
    }
    if entries.is_empty() {
        return Err(ManifestError::Empty { file: file.to_owned() });
    }
    Ok(entries)
}

fn entry(mut object: DynamicObject, namespace: &str) -> Option<Entry> {
    object.metadata.name.as_ref().filter(|name| !name.is_empty())?;
    let kind = GroupVersionKind::try_from(object.types.as_ref()?).ok()?;
    let resource = ApiResource::from_gvk(&kind);
    let cluster_wide = ["Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Node"];
    if !cluster_wide.contains(&resource.kind.as_str()) && object.metadata.namespace.is_none() {
        object.metadata.namespace = Some(namespace.to_owned());
    }
    Some(Entry { resource, object })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_job_is_one_dask_job() {
        let entries = parse("job.yaml", EXAMPLE, "default").unwrap();
        assert_eq!(entries.len(), 1);
        assert!(entries[0].is("DaskJob"));
        assert_eq!(entries[0].resource.plural, "daskjobs");
        assert_eq!(entries[0].key(), ObjectKey::namespaced("default", "demo"));
    }

    #[test]
    fn documents_are_separated_and_empty_ones_left_out() {
        let text = "---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: x}\n---\n\
                    apiVersion: v1\nkind: Namespace\nmetadata: {name: y}\n";
        let entries = parse("a.yaml", text, "default").unwrap();
        let keys: Vec<_> = entries.iter().map(|entry| entry.key().to_string()).collect();
        assert_eq!(keys, ["x/a", "y"]);
    }

    /// The error for a manifest begins so.
    fn check_refused(text: &str, expected: &str) {
        let error = parse("a.yaml", text, "default").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn what_cannot_be_applied_is_refused_with_its_place() {
        check_refused("a: [", "a.yaml is not YAML");
        check_refused("---\nkind: Pod\n", "document 1 of a.yaml is not a Kubernetes object");
        check_refused("apiVersion: v1\nkind: Pod\nmetadata: {}\n", "document 1 of a.yaml");
        check_refused("# nothing\n", "a.yaml holds no object");
    }
}
