//! `fake-apiserver/data/`: the facts about built-in kinds, read from a running Kubernetes.
//!
//! Facts are kept (names, types, defaults, list keys, columns, field numbers), prose is dropped.

mod protobuf;
mod reference;
mod roles;
mod schemas;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::Generated;
use reference::Reference;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// The tables, as the reference control plane has them.
///
/// # Errors
/// Says what is missing where there is no reference control plane and how to name one.
pub(super) fn files() -> Result<Vec<Generated>> {
    let reference = Reference::start()?;
    let custom =
        reference.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "application/json")?;
    if array(&custom, "items").next().is_some() {
        bail!("the reference cluster serves custom resources: name a fresh one in REFERENCE_KUBECONFIG");
    }
    let schemas = schemas::collect(&reference)?;
    let resources = with_schemas(resources(&reference)?, &schemas);
    let tables = [
        ("columns.json", columns(&reference, &resources)?),
        ("protobuf.json", protobuf::collect(&schemas)?),
        ("resources.json", lines(&resources)?),
        ("roles.json", lines(&roles::collect(&reference)?)?),
        ("schemas.json", members(&schemas)?),
    ];
    let below = |name| Path::new("fake-apiserver/data").join(name);
    Ok(tables.map(|(name, text)| Generated { path: below(name), contents: text.into_bytes() }).into())
}

/// One JSON array, one element on each line: small differences stay small in review.
fn lines(rows: &[Value]) -> Result<String> {
    let rows: Vec<String> = rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(format!("[\n{}\n]\n", rows.join(",\n")))
}

/// One JSON object, one member on each line.
fn members(map: &BTreeMap<String, Value>) -> Result<String> {
    let rows: Vec<String> = map
        .iter()
        .map(|(k, v)| Ok(format!("{}:{}", serde_json::to_string(k)?, serde_json::to_string(v)?)))
        .collect::<Result<_>>()?;
    Ok(format!("{{\n{}\n}}\n", rows.join(",\n")))
}

/// Every served resource in the reference's order of preference (groups, then versions), as a flat list.
fn resources(reference: &Reference) -> Result<Vec<Value>> {
    const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let mut rows = Vec::new();
    for path in ["/api", "/apis"] {
        let discovery = reference.get(path, AGGREGATED)?;
        for group in array(&discovery, "items") {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in array(group, "versions") {
                let version_name = version["version"].as_str().unwrap_or_default();
                for resource in array(version, "resources") {
                    rows.push(resource_row(name, version_name, resource));
                }
            }
        }
    }
    Ok(rows)
}

fn resource_row(group: &str, version: &str, resource: &Value) -> Value {
    let subresources: Vec<Value> = array(resource, "subresources")
        .map(|sub| {
            let (sub_group, sub_version) = kind_home(group, version, &sub["responseKind"]);
            json!({
                "name": sub["subresource"], "group": sub_group, "version": sub_version,
                "kind": sub["responseKind"]["kind"], "verbs": sub["verbs"],
            })
        })
        .collect();
    json!({
        "group": group, "version": version, "plural": resource["resource"],
        "singular": resource["singularResource"], "kind": resource["responseKind"]["kind"],
        "namespaced": resource["scope"] == "Namespaced", "verbs": resource["verbs"],
        "shortNames": resource.get("shortNames").cloned().unwrap_or_else(|| json!([])),
        "categories": resource.get("categories").cloned().unwrap_or_else(|| json!([])),
        "subresources": subresources,
    })
}

/// Discovery leaves a response kind's group and version empty where they are the resource's own.
fn kind_home(group: &str, version: &str, kind: &Value) -> (String, String) {
    let text = |name: &str| kind[name].as_str().unwrap_or_default().to_owned();
    if text("version").is_empty() { (group.into(), version.into()) } else { (text("group"), text("version")) }
}

/// Adds to each resource the name of the schema component that describes its kind.
fn with_schemas(mut rows: Vec<Value>, schemas: &BTreeMap<String, Value>) -> Vec<Value> {
    let by_kind = schemas::by_kind(schemas);
    for row in &mut rows {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let key = (text("group"), text("version"), text("kind"));
        row["schema"] = by_kind.get(&key).map_or(Value::Null, |name| json!(name));
    }
    rows
}

/// Printer columns of each listable resource, keyed by `group/version/plural`, from the reference's Table answers.
fn columns(reference: &Reference, resources: &[Value]) -> Result<String> {
    let mut columns = BTreeMap::new();
    for resource in resources {
        let text = |name: &str| resource[name].as_str().unwrap_or_default();
        if !array(resource, "verbs").any(|verb| verb == "list") {
            continue;
        }
        let (group, version, plural) = (text("group"), text("version"), text("plural"));
        let home =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let table = reference.get(&format!("{home}/{plural}?limit=1"), TABLE)?;
        let definitions: Vec<Value> = array(&table, "columnDefinitions")
            .map(|c| json!({"name": c["name"], "type": c["type"], "format": c["format"], "priority": c["priority"]}))
            .collect();
        columns.insert(format!("{group}/{version}/{plural}"), Value::Array(definitions));
    }
    members(&columns)
}

fn array<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}
