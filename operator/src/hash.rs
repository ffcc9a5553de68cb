//! The hash of what a child was wanted to be: a child is written only where it differs from the one it carries.

use serde_json::Value;

use crate::names;

/// Hash of a value; members are in key order, so that equal values have equal hashes.
pub fn of(value: &Value) -> String {
    names::hex(&[&value.to_string()], 16)
}

/// Hash of what can be written as JSON, without making a value of it. Other bytes than [`of`] hashes.
pub fn of_written(content: &impl serde::Serialize) -> String {
    // Nothing here has keys that are no texts, which alone cannot be written.
    names::hex(&[&serde_json::to_string(content).unwrap_or_default()], 16)
}

/// Writes the hash of an object's own content into its annotations.
pub fn seal(object: &mut Value) {
    let hash = of(object);
    object["metadata"]["annotations"][names::HASH] = Value::String(hash);
}
