//! What Go's types have though nobody said it: structs that are held by value.
//!
//! The real server decodes a body into such a type and writes that out again, so that a Deployment without `spec` has one, which
//! defaults are filled into. The OpenAPI documents mark these fields by the default `{}`; a pointer has none.

use serde_json::{Map, Value};

use super::node::{Types, View};

/// Parts of an object that have rules of their own.
const APART: [&str; 2] = ["metadata", "status"];

/// Adds the structs of a built-in kind that are away.
pub(super) fn fill(value: &mut Value, root: View<'_>) {
    let Value::Object(object) = value else { return };
    add(object, root, &APART);
    for (name, field) in object.iter_mut().filter(|(name, _)| !APART.contains(&name.as_str())) {
        if let Some(schema) = root.property(name) {
            walk(field, schema);
        }
    }
}

fn walk(value: &mut Value, schema: View<'_>) {
    match value {
        Value::Object(object) => {
            add(object, schema, &[]);
            for (name, field) in object {
                if let Some(schema) = schema.property(name).or_else(|| schema.additional()) {
                    walk(field, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items() else { return };
            items.iter_mut().for_each(|item| walk(item, schema));
        }
        _ => {}
    }
}

fn add(object: &mut Map<String, Value>, schema: View<'_>, but: &[&str]) {
    for (name, id) in &*schema.node.properties {
        let field = schema.graph.view(*id).node;
        let by_value = field.zero && field.types.has(Types::OBJECT) && field.default.is_some();
        if by_value && !but.contains(&&**name) && !object.contains_key(&**name) {
            object.insert(name.to_string(), Value::Object(Map::new()));
        }
    }
}
