//! What the operator changes in a pod spec on its way from the custom resource to the child: environment, nothing else.

use serde_json::{Value, json};

use crate::api::RawPodSpec;
use crate::spec::Invalid;

/// Appends variables to every entry of `containers` (not `initContainers`), each only where no variable of that name exists.
///
/// They come last and in this order, as today's operator writes them; `envFrom` is not looked at.
pub fn with_environment(spec: &RawPodSpec, variables: &[(&str, &str)]) -> Value {
    let mut spec = spec.to_value();
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        let mut environment = match container.remove("env") {
            Some(Value::Array(list)) => list,
            None => Vec::new(),
            // Not ours to mend: the API server says what is wrong with it.
            Some(other) => {
                container.insert("env".into(), other);
                continue;
            }
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

/// What is wrong with a pod spec beyond what the API server says when the pod is made: it has no containers at all.
pub fn check(spec: &RawPodSpec, path: &str) -> Result<(), Invalid> {
    match spec.0.get("containers").and_then(Value::as_array) {
        Some(list) if !list.is_empty() => Ok(()),
        _ => Err(Invalid::spec(format!("{path}.containers must name at least one container"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_go_last_and_never_replace_the_users() {
        let spec = RawPodSpec::from_value(json!({
            "initContainers": [{"name": "init"}],
            "containers": [
                {"name": "a", "env": [{"name": "FIRST", "value": "1"}, {"name": "TWO", "value": "mine"}]},
                {"name": "b", "env": null, "resources": null},
            ],
            "brandNewField": {"kept": true},
        }));
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
