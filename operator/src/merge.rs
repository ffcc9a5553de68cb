//! The merge patch (RFC 7386) that turns one value into another.

use serde_json::{Map, Value};

/// The patch; `None` where the two are equal. `to` holds no nulls inside objects: a merge patch cannot write them.
pub fn diff(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return Some(to.clone()) };
    let mut patch = Map::new();
    for (key, value) in to {
        let known = from.get(key).unwrap_or(&Value::Null);
        if let Some(inner) = diff(known, value) {
            patch.insert(key.clone(), inner);
        }
    }
    let gone = from.iter().filter(|(key, value)| !value.is_null() && !to.contains_key(*key));
    patch.extend(gone.map(|(key, _)| (key.clone(), Value::Null)));
    // What only differs in nulls is the same to whoever reads null as absent.
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(from: &Value, to: &Value, expected: Option<&Value>) {
        assert_eq!(diff(from, to).as_ref(), expected);
    }

    #[test]
    fn only_what_differs_is_written_and_what_is_gone_is_removed() {
        check(&json!({"a": 1}), &json!({"a": 1}), None);
        check(
            &json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1]}),
            &json!({"b": {"c": 3}, "e": [2], "f": {"g": 1}}),
            Some(&json!({"a": null, "b": {"c": 3, "d": null}, "e": [2], "f": {"g": 1}})),
        );
        check(&json!({"a": {"b": 1}}), &json!({"a": [1]}), Some(&json!({"a": [1]})));
        check(&json!({"a": null}), &json!({}), None);
    }
}
