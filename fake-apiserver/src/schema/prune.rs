//! Dropping fields that a schema does not know.
//!
//! As `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning`: `x-kubernetes-preserve-unknown-fields` keeps what
//! is unnamed but still prunes inside named fields; `apiVersion`, `kind` and `metadata` of a resource are left alone.

use serde_json::{Map, Value};

use super::node::{Additional, View};
use super::path::Path;

/// Removes unknown fields and reports their paths, sorted.
pub(super) fn prune(value: &mut Value, root: View<'_>) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(value, Some(root), &Path::Root, &mut unknown);
    unknown.sort();
    unknown
}

fn walk(value: &mut Value, schema: Option<View<'_>>, path: &Path<'_>, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => walk_object(map, schema, path, unknown),
        Value::Array(items) => {
            let list = schema;
            let schema = schema.and_then(View::items);
            // A list where anything may stand, of which nothing more is said: `skipPrune` of the real server.
            if schema.is_none() && list.is_some_and(|list| list.node.preserve_unknown) {
                return;
            }
            for (index, item) in items.iter_mut().enumerate() {
                if item.is_object() || item.is_array() {
                    walk(item, schema, &Path::Index(path, index), unknown);
                }
            }
        }
        _ => {}
    }
}

fn walk_object(
    map: &mut Map<String, Value>,
    schema: Option<View<'_>>,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) {
    let mut doomed = Vec::new();
    for (key, child) in map.iter_mut() {
        match fate(key, schema, path) {
            Fate::Keep => {}
            Fate::Descend(schema) => {
                if child.is_object() || child.is_array() {
                    walk(child, schema, &Path::Field(path, key), unknown);
                }
            }
            Fate::Drop => {
                if !(matches!(path, Path::Root) && is_meta(key)) {
                    unknown.push(Path::Field(path, key).dotted());
                }
                doomed.push(key.clone());
            }
        }
    }
    for key in doomed {
        map.remove(&key);
    }
}

enum Fate<'a> {
    Keep,
    Descend(Option<View<'a>>),
    Drop,
}

fn fate<'a>(key: &str, schema: Option<View<'a>>, path: &Path<'_>) -> Fate<'a> {
    let Some(schema) = schema else { return Fate::Drop };
    if schema.node.resource && is_meta(key) {
        // The root of a built-in kind knows its metadata; elsewhere ObjectMeta has its own rules.
        return match schema.graph.object_meta {
            Some(meta) if key == "metadata" && matches!(path, Path::Root) => {
                Fate::Descend(Some(schema.graph.view(meta)))
            }
            _ if schema.graph.built_in => schema.property(key).map_or(Fate::Keep, |p| Fate::Descend(Some(p))),
            _ => Fate::Keep,
        };
    }
    if let Some(property) = schema.property(key) {
        return Fate::Descend(Some(property));
    }
    match schema.node.additional {
        Additional::Schema(id) => Fate::Descend(Some(schema.graph.view(id))),
        Additional::Any => Fate::Keep,
        Additional::Unsaid | Additional::Forbidden if schema.node.preserve_unknown => Fate::Keep,
        Additional::Unsaid | Additional::Forbidden => Fate::Drop,
    }
}

pub(super) fn is_meta(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}
