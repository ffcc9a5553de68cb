//! Discovery documents: what is served, in the legacy and the aggregated form.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::registry::{Group, Registry, Resource, Subresource};

#[derive(Deserialize)]
struct Row {
    group: String,
}

/// Groups in the order Kubernetes prefers them: where two groups have a kind of one name, clients take the first.
static PREFERENCE: LazyLock<BTreeMap<String, usize>> = LazyLock::new(|| {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../../data/resources.json")).unwrap_or_default();
    let mut preference = BTreeMap::new();
    for (at, row) in rows.into_iter().enumerate() {
        preference.entry(row.group).or_insert(at);
    }
    preference
});

/// Whether Kubernetes itself serves this group; what it does not serve is no API at all.
pub(super) fn is_built_in(group: &str) -> bool {
    group.is_empty() || PREFERENCE.contains_key(group)
}

/// Groups without the core group: built-in ones by preference, then custom ones by name.
fn ordered(registry: &Registry) -> Vec<(&str, &Group)> {
    let mut groups: Vec<_> = registry.groups().filter(|(name, _)| !name.is_empty()).collect();
    groups.sort_by_key(|(name, _)| PREFERENCE.get(*name).copied().unwrap_or(usize::MAX));
    groups
}

/// `/api`: APIVersions.
pub(super) fn core_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`: APIGroupList.
pub(super) fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> =
        ordered(registry).into_iter().map(|(name, group)| api_group(name, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`: APIGroup.
pub(super) fn group(registry: &Registry, name: &str) -> Option<Value> {
    let (name, group) = registry.groups().find(|(known, _)| !name.is_empty() && *known == name)?;
    let mut value = api_group(name, group);
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Some(value)
}

fn api_group(name: &str, group: &Group) -> Value {
    let version = |version: &str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let versions: Vec<Value> = group.ordered_versions().into_iter().map(version).collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

/// `/api/v1`, `/apis/{group}/{version}`: APIResourceList.
pub(super) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let (_, known) = registry.groups().find(|(name, _)| *name == group)?;
    let served = known.versions.get(version)?;
    let rows: Vec<Value> = served.values().flat_map(|resource| legacy_rows(resource)).collect();
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": rows});
    // The core group's list is of the version before there were groups, which does not name itself.
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    Some(list)
}

/// The resource and, as rows of their own, its subresources.
fn legacy_rows(resource: &Resource) -> Vec<Value> {
    let mut row = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": verbs(resource),
    });
    for (name, list) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !list.is_empty() {
            row[name] = json!(list);
        }
    }
    // What is computed for each answer is not stored.
    if resource.allows("list") && resource.plural != "componentstatuses" {
        row["storageVersionHash"] = json!(storage_version_hash(resource));
    }
    let mut rows = vec![row];
    rows.extend(resource.subresources.iter().map(|sub| {
        let mut row = json!({
            "name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
            "namespaced": resource.namespaced, "kind": sub.kind, "verbs": sorted(&sub.verbs),
        });
        if !is_home(resource, sub) {
            row["group"] = json!(sub.group);
            row["version"] = json!(sub.version);
        }
        row
    }));
    rows
}

/// `StorageVersionHash` of `k8s.io/apiserver/pkg/endpoints/discovery`.
fn storage_version_hash(resource: &Resource) -> String {
    let stored = match resource.kind.as_str() {
        // Definitions are kept in the version before the only one that is served.
        "CustomResourceDefinition" if resource.custom.is_none() => "apiextensions.k8s.io/v1beta1",
        _ => &resource.storage_api_version,
    };
    let slash = if stored.contains('/') { "" } else { "/" };
    let named = format!("{slash}{stored}/{}", resource.kind);
    let digest = digest(&SHA256, named.as_bytes());
    STANDARD.encode(&digest.as_ref()[..8])
}

fn is_home(resource: &Resource, sub: &Subresource) -> bool {
    sub.group == resource.group && sub.version == resource.version
}

fn sorted(verbs: &[String]) -> Vec<String> {
    let mut verbs = verbs.to_vec();
    verbs.sort();
    verbs
}

/// The verbs of a resource: by name, and those of a custom resource as the real server lists them.
fn verbs(resource: &Resource) -> Vec<String> {
    const CUSTOM: [&str; 8] =
        ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    let mut verbs = sorted(&resource.verbs);
    if resource.custom.is_some() {
        verbs.sort_by_key(|verb| CUSTOM.iter().position(|known| known == verb));
    }
    verbs
}

/// Aggregated discovery, of the core group (`/api`) or of the others (`/apis`); `version` is `v2` or `v2beta1`.
pub(super) fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let groups = if core {
        registry.groups().filter(|(name, _)| name.is_empty()).collect()
    } else {
        ordered(registry)
    };
    let items: Vec<Value> = groups.into_iter().map(|(name, group)| aggregated_group(name, group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items,
    })
}

fn aggregated_group(name: &str, group: &Group) -> Value {
    let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    let versions: Vec<Value> = group
        .ordered_versions()
        .into_iter()
        .map(|version| {
            let resources: Vec<Value> = group.versions[version].values().map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Arc<Resource>) -> Value {
    let mut row = json!({
        "resource": resource.plural,
        "responseKind": response_kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource),
    });
    for (name, list) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !list.is_empty() {
            row[name] = json!(list);
        }
    }
    if !resource.subresources.is_empty() {
        let rows = resource.subresources.iter().map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": response_kind(&sub.group, &sub.version, &sub.kind),
                "verbs": sorted(&sub.verbs),
            })
        });
        row["subresources"] = rows.collect();
    }
    row
}

/// Kinds of the core group are named without their version, which is that of the list they are in.
fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": if group.is_empty() { "" } else { version }, "kind": kind})
}

/// A short text that changes with `content`; for entity tags and document addresses.
pub(super) fn hash(content: &str) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subresources_are_rows_and_name_foreign_kinds() {
        let list = resources(&Registry::built_in(), "apps", "v1").unwrap();
        let rows = list["resources"].as_array().unwrap();
        let scale = rows.iter().find(|row| row["name"] == "deployments/scale").unwrap();
        assert_eq!((&scale["group"], &scale["kind"]), (&json!("autoscaling"), &json!("Scale")));
        let deployments = rows.iter().find(|row| row["name"] == "deployments").unwrap();
        assert_eq!(deployments["shortNames"], json!(["deploy"]));
        assert_eq!(resources(&Registry::built_in(), "apps", "v9"), None);
    }

    #[test]
    fn the_core_group_is_apart_and_the_others_are_ordered_by_preference() {
        let registry = Registry::built_in();
        let core = aggregated(&registry, true, "v2");
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        let names: Vec<Value> = aggregated(&registry, false, "v2beta1")["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|g| g["metadata"]["name"].clone())
            .collect();
        assert_eq!(names[0], "apiregistration.k8s.io");
        assert_eq!(names[1], "apps");
        assert!(group(&registry, "").is_none() && group(&registry, "apps").is_some());
    }
}
