//! Filling in defaults.
//!
//! As `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting` does it on every decoded request and every read:
//! first `PruneNonNullableNullsWithoutDefaults` drops an object's field that is `null`, is not nullable and has no
//! default; then `Default` fills in fields that are absent, or `null` though not nullable, and goes on into what it
//! filled in. Items of lists that are `null` stay unless the item schema has a default. Both are one walk here.
//!
//! Built-in kinds go through Go types in the real server; what that does to JSON is done here too: nulls and empty
//! optional lists and maps are not written.

use serde_json::{Map, Value};

use super::node::View;
use super::prune::is_meta;

/// Drops forbidden nulls and fills in defaults.
pub(super) fn default(value: &mut Value, root: View<'_>) {
    walk(value, root);
}

fn walk(value: &mut Value, schema: View<'_>) {
    match value {
        Value::Object(map) => walk_object(map, schema),
        Value::Array(items) => {
            let Some(schema) = schema.items() else { return };
            for item in items {
                if item.is_null() && !schema.node.nullable {
                    *item = default_of(schema).unwrap_or_default();
                }
                walk(item, schema);
            }
        }
        _ => {}
    }
}

fn walk_object(map: &mut Map<String, Value>, schema: View<'_>) {
    for (name, id) in &*schema.node.properties {
        if let Some(default) = schema.graph.view(*id).filling()
            && !map.contains_key(&**name)
        {
            map.insert(name.to_string(), Value::clone(default));
        }
    }
    let mut doomed = Vec::new();
    for (key, child) in map.iter_mut() {
        if schema.node.resource && is_meta(key) && !schema.graph.built_in {
            continue;
        }
        let Some(schema) = schema.property(key).or_else(|| schema.additional()) else { continue };
        if child.is_null() && !schema.node.nullable && !accepts_null(schema) {
            match default_of(schema) {
                Some(default) => *child = default,
                None => doomed.push(key.clone()),
            }
        }
        match child {
            Value::Number(number) if number.is_f64() => whole(child),
            Value::Object(_) | Value::Array(_) => walk(child, schema),
            _ => {}
        }
        if schema.graph.built_in && is_omitted(child, schema) {
            doomed.push(key.clone());
        }
    }
    for key in doomed {
        map.remove(&key);
    }
}

/// Lists of whole objects that Go writes though they are empty and nobody has to say them.
const WRITTEN: [&str; 2] = ["endpoints", "rules"];

/// Drops what Go's `omitempty` leaves out, and fills nothing in; `root` says whether this is the object itself.
pub(super) fn drop_empty(value: &mut Value, schema: View<'_>, root: bool) {
    match value {
        Value::Object(map) => map.retain(|key, child| {
            let Some(schema) = schema.property(key).or_else(|| schema.additional()) else { return true };
            drop_empty(child, schema, false);
            (root && WRITTEN.contains(&key.as_str())) || !is_omitted(child, schema)
        }),
        Value::Array(items) => {
            let Some(schema) = schema.items() else { return };
            for item in items {
                drop_empty(item, schema, false);
            }
        }
        _ => {}
    }
}

/// Whether there is anything to drop.
pub(super) fn has_empty(value: &Value, schema: View<'_>, root: bool) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, child)| {
            if !child.is_object() && !child.is_array() {
                return false;
            }
            let Some(schema) = schema.property(key).or_else(|| schema.additional()) else { return false };
            let written = root && WRITTEN.contains(&key.as_str());
            (!written && is_omitted(child, schema)) || has_empty(child, schema, false)
        }),
        Value::Array(items) => {
            schema.items().is_some_and(|schema| items.iter().any(|item| has_empty(item, schema, false)))
        }
        _ => false,
    }
}

/// Go's `omitempty`: an optional list or map of a built-in kind that is empty is not written.
fn is_omitted(value: &Value, schema: View<'_>) -> bool {
    match value {
        Value::Array(list) => list.is_empty() && !schema.node.zero,
        Value::Object(map) => map.is_empty() && !schema.node.zero && schema.additional().is_some(),
        _ => false,
    }
}

/// Raw JSON of built-in kinds keeps its nulls.
fn accepts_null(schema: View<'_>) -> bool {
    schema.graph.built_in && schema.node.types.is_any() && schema.node.properties.is_empty()
}

fn default_of(schema: View<'_>) -> Option<Value> {
    schema.filling().map(|default| Value::clone(default))
}

/// Go writes a float without fraction as an integer, and so it is one from then on.
fn whole(value: &mut Value) {
    if let Some(float) = value.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e15) {
        *value = Value::from(float as i64);
    }
}
