//! The hash of what a child was wanted to be: a child is written only where it differs from the one it carries.

use serde_json::Value;

use crate::names;

/// Hash of a value; members are in key order, so that equal values have equal hashes.
pub fn of(value: &Value) -> String {
    names::hex(&[&value.to_string()], 16)
}

/// Writes the hash of an object's own content into its annotations.
pub fn seal(object: &mut Value) {
    let hash = of(object);
    object["metadata"]["annotations"][names::HASH] = Value::String(hash);
}
