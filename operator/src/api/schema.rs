//! Kubernetes' pod and Service schemas as they stand in our CRDs.
//!
//! The facts are those of the newest Kubernetes the project knows (`data/pod-schemas.json`, made by `cargo xtask codegen crds`).
//! They are there so that wrong types are refused at `kubectl apply` and so that server-side apply merges lists by key.
//! They never narrow what Kubernetes itself accepts: nothing is pruned, no enumerations, no defaults but the ones needed.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// Schemas by name, with references among each other. Part of the program, hence well formed.
static FACTS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/pod-schemas.json"))
        .expect("pod-schemas.json is generated JSON")
});

/// The roots that `pod-schemas.json` must hold, with all they refer to.
pub const ROOTS: [&str; 2] = [POD_SPEC, SERVICE_SPEC];
const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";
const SERVICE_SPEC: &str = "io.k8s.api.core.v1.ServiceSpec";

/// Lists in which Kubernetes accepts two entries with the same key; as maps they would be refused.
const DUPLICATES_ALLOWED: [&str; 3] = ["env", "hostAliases", "imagePullSecrets"];

/// Cannot be set when a pod is created, and costs a tenth of the schema. Kept by the API server like any unknown field.
const LEFT_OUT: [&str; 1] = ["ephemeralContainers"];

/// The structural schema of a PodSpec.
pub fn pod_spec() -> Value {
    named(POD_SPEC)
}

/// The structural schema of a ServiceSpec.
pub fn service_spec() -> Value {
    named(SERVICE_SPEC)
}

fn named(name: &str) -> Value {
    match name.rsplit('.').next() {
        Some("Quantity" | "IntOrString") => json!({"x-kubernetes-int-or-string": true}),
        // Only found in templates of volume claims; the API server checks metadata when the claim is made.
        Some("ObjectMeta") => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        _ => FACTS.get(name).map_or_else(anything, structural),
    }
}

/// The schema without references, with what the API server asks of a structural schema.
fn structural(fact: &Value) -> Value {
    if let Some(name) = reference(fact) {
        return named(name);
    }
    let mut schema = Map::new();
    for key in ["type", "format", "required", "x-kubernetes-map-type"] {
        if let Some(value) = fact.get(key) {
            schema.insert(key.into(), value.clone());
        }
    }
    if let Some(properties) = fact["properties"].as_object() {
        let kept = properties.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
        schema.insert(
            "properties".into(),
            kept.map(|(name, fact)| (name.clone(), property(name, fact))).collect(),
        );
        schema.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    }
    for key in ["items", "additionalProperties"] {
        if let Some(fact) = fact.get(key) {
            schema.insert(key.into(), structural(fact));
        }
    }
    if schema.contains_key("type") { Value::Object(schema) } else { anything() }
}

/// A field, with its list type if it is a list.
fn property(name: &str, fact: &Value) -> Value {
    let mut schema = structural(fact);
    let Some(list_type) = fact.get("x-kubernetes-list-type") else { return schema };
    if DUPLICATES_ALLOWED.contains(&name) {
        return schema;
    }
    schema["x-kubernetes-list-type"] = list_type.clone();
    if let Some(keys) = fact["x-kubernetes-list-map-keys"].as_array() {
        schema["x-kubernetes-list-map-keys"] = json!(keys);
        for key in keys.iter().filter_map(Value::as_str) {
            default_key(&mut schema["items"], &fact["items"], key);
        }
    }
    schema
}

/// A key of a list map must be required or have a default; it gets Kubernetes' own, for instance `protocol: TCP`.
fn default_key(items: &mut Value, fact: &Value, key: &str) {
    let required = items["required"].as_array().is_some_and(|fields| fields.iter().any(|field| field == key));
    let source = reference(fact).and_then(|name| FACTS.get(name)).unwrap_or(fact);
    if let (false, Some(default)) = (required, source["properties"][key].get("default")) {
        items["properties"][key]["default"] = default.clone();
    }
}

fn reference(fact: &Value) -> Option<&str> {
    let target = fact["$ref"].as_str().or_else(|| fact["allOf"][0]["$ref"].as_str())?;
    target.strip_prefix("#/components/schemas/")
}

fn anything() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

/// The names of all schemas that the named one refers to, directly or not, and itself; in order of their names.
pub fn closure(facts: &Map<String, Value>, roots: &[&str]) -> Vec<String> {
    let mut found = std::collections::BTreeSet::new();
    let mut open: Vec<String> = roots.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = open.pop() {
        if let Some(fact) = facts.get(&name)
            && found.insert(name)
        {
            references(fact, &mut open);
        }
    }
    found.into_iter().collect()
}

fn references(fact: &Value, into: &mut Vec<String>) {
    match fact {
        Value::Object(map) => {
            let target = map.get("$ref").and_then(Value::as_str);
            into.extend(target.and_then(|t| t.strip_prefix("#/components/schemas/")).map(str::to_owned));
            map.values().for_each(|value| references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_keeps_unknown_fields() {
        fn check(path: &str, schema: &Value) {
            if let Some(properties) = schema["properties"].as_object() {
                assert_eq!(schema["x-kubernetes-preserve-unknown-fields"], true, "{path}");
                for (name, property) in properties {
                    check(&format!("{path}.{name}"), property);
                }
            }
            for key in ["items", "additionalProperties"] {
                if let Some(inner) = schema.get(key) {
                    check(&format!("{path}[]"), inner);
                }
            }
        }
        check("pod", &pod_spec());
        check("service", &service_spec());
    }

    #[test]
    fn ports_are_keyed_by_number_and_protocol_and_default_to_tcp() {
        let ports = &pod_spec()["properties"]["containers"]["items"]["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
        assert_eq!(ports["items"]["properties"]["protocol"]["default"], "TCP");
        assert_eq!(
            service_spec()["properties"]["ports"]["items"]["properties"]["protocol"]["default"],
            "TCP"
        );
    }

    #[test]
    fn ports_and_quantities_are_numbers_or_strings() {
        let real = json!({"x-kubernetes-int-or-string": true});
        let container = &pod_spec()["properties"]["containers"]["items"]["properties"];
        assert_eq!(container["resources"]["properties"]["limits"]["additionalProperties"], real);
        assert_eq!(container["readinessProbe"]["properties"]["httpGet"]["properties"]["port"], real);
        assert_eq!(service_spec()["properties"]["ports"]["items"]["properties"]["targetPort"], real);
    }

    #[test]
    fn fields_newer_than_upstreams_schema_are_known() {
        let container = &pod_spec()["properties"]["initContainers"]["items"]["properties"];
        assert_eq!(container["restartPolicy"]["type"], "string");
        assert_eq!(pod_spec()["properties"]["schedulingGates"]["type"], "array");
    }
}
