//! Which resources are served: the built-in tables and CustomResourceDefinitions.

mod builtin;
mod crd;
mod resource;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::status::Cause;

pub use builtin::components;
pub use resource::{Column, Custom, Resource, ScalePaths, SchemaSource, Subresource};

/// The resources that are served now.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    groups: BTreeMap<String, Group>,
    generation: u64,
    /// Whether webhooks convert objects of any resource.
    converts: bool,
}

/// One API group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Versions with their resources by plural name.
    pub versions: BTreeMap<String, BTreeMap<String, Arc<Resource>>>,
}

impl Group {
    /// Versions, the preferred first, by Kubernetes' order: GA before beta before alpha, then higher numbers first.
    pub fn ordered_versions(&self) -> Vec<&str> {
        let mut versions: Vec<&str> = self.versions.keys().map(String::as_str).collect();
        versions.sort_by_key(|version| version_rank(version));
        versions
    }
}

impl Registry {
    /// The built-in resources of Kubernetes.
    pub fn built_in() -> Self {
        builtin::registry().clone()
    }

    pub(crate) fn of(resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut registry = Self::default();
        for resource in resources {
            registry.insert(resource);
        }
        registry
    }

    /// The resource served under this path.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.groups.get(group)?.versions.get(version)?.get(plural)
    }

    /// The resource of a kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.groups.get(group)?.versions.get(version)?.values().find(|resource| resource.kind == kind)
    }

    /// The resource in its preferred version.
    pub fn preferred(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        let group = self.groups.get(group)?;
        group.ordered_versions().into_iter().find_map(|version| group.versions[version].get(plural))
    }

    /// All groups in the order of their names; the core group has the empty name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// All resources.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.groups.values().flat_map(|group| group.versions.values()).flat_map(BTreeMap::values)
    }

    /// Whether webhooks convert objects of any resource.
    pub(crate) fn has_conversions(&self) -> bool {
        self.converts
    }

    /// Counts changes: documents built for one generation hold until the next.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The resources a CustomResourceDefinition asks for, one for each served version.
    ///
    /// # Errors
    /// What is wrong with its schemas.
    pub fn custom(definition: &Value, edition: u64) -> Result<Vec<Resource>, Vec<Cause>> {
        crd::resources(definition, edition)
    }

    /// Serves the resources of a CustomResourceDefinition in place of those it had before.
    pub fn set_custom(&mut self, definition: &str, resources: Vec<Resource>) {
        self.generation += 1;
        for group in self.groups.values_mut() {
            for version in group.versions.values_mut() {
                version.retain(|_, r| r.custom.as_ref().is_none_or(|c| c.definition != definition));
            }
            group.versions.retain(|_, resources| !resources.is_empty());
        }
        self.groups.retain(|_, group| !group.versions.is_empty());
        for resource in resources {
            self.insert(resource);
        }
        let converts =
            |resource: &Arc<Resource>| resource.custom.as_ref().is_some_and(|c| c.conversion.is_some());
        let any = self.resources().any(converts);
        self.converts = any;
    }

    fn insert(&mut self, resource: Resource) {
        let group = self.groups.entry(resource.group.clone()).or_default();
        let version = group.versions.entry(resource.version.clone()).or_default();
        version.insert(resource.plural.clone(), Arc::new(resource));
    }
}

/// Order of versions: `v2` before `v1` before `v1beta1` before `v1alpha1` before what is no Kubernetes version.
fn version_rank(version: &str) -> (u8, i64, i64, String) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: i64 = rest[..digits].parse().ok()?;
        let (rank, minor) = match &rest[digits..] {
            "" => (0, 0),
            tail if tail.starts_with("beta") => (1, tail[4..].parse().ok()?),
            tail if tail.starts_with("alpha") => (2, tail[5..].parse().ok()?),
            _ => return None,
        };
        Some((rank, -major, -i64::from(minor), String::new()))
    };
    let parse: Option<(u8, i64, i64, String)> = parse();
    parse.unwrap_or_else(|| (3, 0, 0, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions = ["v1alpha1", "foo", "v1", "v2beta2", "v10", "v2", "v2beta10"];
        versions.sort_by_key(|version| version_rank(version));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta10", "v2beta2", "v1alpha1", "foo"]);
    }

    #[test]
    fn every_built_in_kind_is_served() {
        let registry = Registry::built_in();
        let pods = registry.get("", "v1", "pods").unwrap();
        assert_eq!((pods.kind.as_str(), pods.namespaced, pods.has_status()), ("Pod", true, true));
        assert!(pods.schema().is_some() && !pods.columns.is_empty());
        assert!(registry.resources().count() > 60);
        assert_eq!(registry.preferred("autoscaling", "horizontalpodautoscalers").unwrap().version, "v2");
        assert_eq!(
            registry.get("events.k8s.io", "v1", "events").unwrap().storage,
            GroupResource::new("", "events")
        );
    }

    use crate::storage::GroupResource;
}
