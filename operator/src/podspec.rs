//! What the operator changes in a pod spec on its way from the custom resource to the child: environment, nothing else.
//!
//! Specs are raw JSON so that a field this build has never heard of arrives unchanged.

use serde_json::{Map, Value, json};

/// Appends variables to every entry of `containers` (not `initContainers`), each only where no variable of that name exists.
///
/// They come last and in this order, as today's operator writes them; `envFrom` is not looked at.
/// `null` counts as absent.
pub fn with_environment(spec: &Value, variables: &[(&str, &str)]) -> Value {
    let mut spec = without_nulls(spec);
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        let mut environment = match container.remove("env") {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        };
        for (name, value) in variables {
            if !environment.iter().any(|entry| entry["name"] == *name) {
                environment.push(json!({"name": name, "value": value}));
            }
        }
        if !environment.is_empty() {
            container.insert("env".into(), Value::Array(environment));
        }
    }
    spec
}

/// The same value without members that are `null`: a null means the same as leaving the field out.
///
/// Clients send nulls (`env: null`, `resources: null`), and our schema keeps unknown fields, so the API server does not drop them.
pub fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(key, member)| (key.clone(), without_nulls(member)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_go_last_and_never_replace_the_users() {
        let spec = json!({
            "initContainers": [{"name": "init"}],
            "containers": [
                {"name": "a", "env": [{"name": "FIRST", "value": "1"}, {"name": "TWO", "value": "mine"}]},
                {"name": "b", "env": null, "resources": null},
            ],
            "brandNewField": {"kept": true},
        });
        assert_eq!(
            with_environment(&spec, &[("ONE", "1"), ("TWO", "2")]),
            json!({
                "initContainers": [{"name": "init"}],
                "containers": [
                    {"name": "a", "env": [{"name": "FIRST", "value": "1"}, {"name": "TWO", "value": "mine"}, {"name": "ONE", "value": "1"}]},
                    {"name": "b", "env": [{"name": "ONE", "value": "1"}, {"name": "TWO", "value": "2"}]},
                ],
                "brandNewField": {"kept": true},
            })
        );
    }
}
