//! Quantities of built-in kinds as Go writes them: texts in their canonical unit.

use serde_json::Value;

use super::node::View;
use crate::quantity;

pub(super) fn write(value: &mut Value, schema: View<'_>) {
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                if let Some(schema) = schema.property(key).or_else(|| schema.additional()) {
                    write(child, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.items() {
                for item in items {
                    write(item, schema);
                }
            }
        }
        Value::String(_) | Value::Number(_) if schema.node.go.as_deref() == Some("resource.Quantity") => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if let Some(canonical) = quantity::canonical(&text) {
                *value = Value::from(canonical);
            }
        }
        _ => {}
    }
}
