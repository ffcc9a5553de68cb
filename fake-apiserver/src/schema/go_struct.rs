//! What passing through a Go type does to an object of a built-in kind.
//!
//! The real server decodes a body into such a type and writes that out again. Structs that are held by value are there then though
//! nobody said them: a Deployment without `spec` has one, which defaults are filled into. The OpenAPI documents mark these fields by
//! the default `{}`. And an optional field that holds a zero by value is away, as if nobody had said it: `paused: false`.

use serde_json::{Map, Value};

use super::node::{Types, View};

/// The part of an object that has rules of its own.
const APART: [&str; 1] = ["metadata"];

/// Adds the structs that are away, and drops the zeros that are not written.
pub(super) fn pass(value: &mut Value, root: View<'_>) {
    let Value::Object(object) = value else { return };
    drop_zeros(object, root);
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
            drop_zeros(object, schema);
            add(object, schema, &[]);
            for (name, field) in object {
                if let Some(schema) = schema.property(name).or_else(|| schema.additional()) {
                    walk(field, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items() else { return };
            for item in items {
                walk(item, schema);
            }
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

fn drop_zeros(object: &mut Map<String, Value>, schema: View<'_>) {
    for name in schema.node.omitted {
        if object.get(name).is_some_and(is_zero) {
            object.remove(name);
        }
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
