//! The schema components of every served group version, in one map.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value};

use super::reference::Reference;

/// All components by name, without descriptions.
///
/// Components that several documents share (DeleteOptions, WatchEvent) differ only in the kinds they list; these are united.
pub(super) fn collect(reference: &Reference) -> Result<BTreeMap<String, Value>> {
    let index = reference.get("/openapi/v3", "application/json")?;
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for document in index["paths"].as_object().into_iter().flat_map(Map::values) {
        let Some(url) = document["serverRelativeURL"].as_str() else { continue };
        let document = reference.get(url, "application/json")?;
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            let schema = without_prose(schema, false);
            match all.get_mut(name) {
                Some(known) => unite_kinds(known, &schema),
                None => {
                    all.insert(name.clone(), schema);
                }
            }
        }
    }
    Ok(all)
}

/// Component names by (group, version, kind); of kinds that occur in many groups only the first.
pub(super) fn by_kind(schemas: &BTreeMap<String, Value>) -> BTreeMap<(String, String, String), String> {
    let mut names = BTreeMap::new();
    for (name, schema) in schemas {
        for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |field: &str| kind[field].as_str().unwrap_or_default().to_owned();
            names.entry((text("group"), text("version"), text("kind"))).or_insert_with(|| name.clone());
        }
    }
    names
}

/// Drops the keyword `description`, but not properties of that name.
fn without_prose(schema: &Value, properties: bool) -> Value {
    match schema {
        Value::Object(map) => map
            .iter()
            .filter(|(name, _)| properties || *name != "description")
            .map(|(name, value)| (name.clone(), without_prose(value, !properties && name == "properties")))
            .collect(),
        Value::Array(items) => items.iter().map(|item| without_prose(item, false)).collect(),
        other => other.clone(),
    }
}

fn unite_kinds(known: &mut Value, other: &Value) {
    const KINDS: &str = "x-kubernetes-group-version-kind";
    let Some(kinds) = known.get_mut(KINDS).and_then(Value::as_array_mut) else { return };
    for kind in other[KINDS].as_array().into_iter().flatten() {
        if !kinds.contains(kind) {
            kinds.push(kind.clone());
        }
    }
}
