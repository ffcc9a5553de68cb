//! JSON merge patch, RFC 7386.

use serde_json::{Map, Value};

/// JSON merge patch, RFC 7386.
pub fn merge(target: &Value, patch: &Value) -> Value {
    let mut merged = target.clone();
    merge_into(&mut merged, patch);
    merged
}

fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else if let Some(child) = map.get_mut(key) {
            merge_into(child, value);
        } else {
            let mut child = Value::Null;
            merge_into(&mut child, value);
            map.insert(key.clone(), child);
        }
    }
}
