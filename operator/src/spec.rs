//! Reading the spec of a resource: a wrong field is named with its path and with what belongs there, in YAML's words.

use serde::de::DeserializeOwned;

use crate::observe::Resource;

/// Why a resource cannot be built or acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// No edit can cure it: a name cannot be changed.
    pub hopeless: bool,
}

impl Invalid {
    /// The name cannot be used.
    pub fn name(message: impl Into<String>) -> Self {
        Self { reason: "InvalidName", message: message.into(), hopeless: true }
    }

    /// The spec cannot be used; an edit cures it.
    pub fn spec(message: impl Into<String>) -> Self {
        Self { reason: "InvalidSpec", message: message.into(), hopeless: false }
    }
}

/// The typed spec, or what is wrong with it.
pub fn read<T: DeserializeOwned>(resource: &Resource) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(&*resource.spec).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        Invalid::spec(in_words(&place, &error.inner().to_string()))
    })
}

/// A number that may not be negative.
pub fn natural(path: &str, number: i64) -> Result<u32, Invalid> {
    u32::try_from(number)
        .map_err(|_| Invalid::spec(format!("{path} is {number}; it must be between 0 and {}", u32::MAX)))
}

/// Serde speaks of Rust's types to whoever wrote the program; whoever wrote the YAML never heard of them.
fn in_words(place: &str, said: &str) -> String {
    if let Some(field) = said.strip_prefix("missing field ").and_then(quoted) {
        return format!("{place}.{field} is missing");
    }
    let known = said.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected "));
    if let Some((given, allowed)) = known {
        let allowed = allowed.strip_prefix("one of ").unwrap_or(allowed);
        return format!("{place}: {} is not known; it can be {}", unquoted(given), unquoted(allowed));
    }
    let kinds = ["invalid type: ", "invalid value: "].iter().find_map(|kind| said.strip_prefix(kind));
    match kinds.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((given, wanted)) => format!("{place}: {} belongs here, not {}", expected(wanted), found(given)),
        None => format!("{place}: {said}"),
    }
}

fn expected(wanted: &str) -> &str {
    match wanted {
        "i64" | "i32" | "u64" | "u32" | "u16" | "usize" => "a whole number",
        "a string" | "a borrowed string" | "string or map" => "a text",
        "a map" => "an object",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

fn found(given: &str) -> String {
    let parts = |prefix: &str| given.strip_prefix(prefix).map(unquoted);
    match given {
        "null" | "unit value" => "nothing".into(),
        "map" => "an object".into(),
        "sequence" => "a list".into(),
        _ => parts("integer ")
            .or_else(|| parts("floating point "))
            .map(|number| format!("the number {number}"))
            .or_else(|| parts("boolean "))
            .or_else(|| given.strip_prefix("string ").map(|text| format!("the text {text}")))
            .unwrap_or_else(|| given.to_owned()),
    }
}

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('`')?.split('`').next()
}

fn unquoted(text: &str) -> String {
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{DaskClusterSpec, DaskJobSpec};

    fn check<T: DeserializeOwned>(spec: &Value, message: &str) {
        let object = json!({"metadata": {"name": "x", "namespace": "d", "uid": "u"}, "spec": spec});
        let object = serde_json::from_value(object).expect("an object");
        let resource = Resource::project(crate::observe::Kind::Cluster, object).expect("it has all it needs");
        let said = read::<T>(&resource).err().map(|invalid| invalid.message);
        assert_eq!(said.as_deref(), Some(message));
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_yaml() {
        let scheduler = json!({"spec": {}, "service": {}});
        let cluster = |worker: Value| json!({"worker": worker, "scheduler": scheduler});
        check::<DaskClusterSpec>(&Value::Null, "spec: an object belongs here, not nothing");
        check::<DaskClusterSpec>(&json!({"worker": {"spec": {}}}), "spec.scheduler is missing");
        check::<DaskClusterSpec>(&cluster(json!({})), "spec.worker.spec is missing");
        check::<DaskClusterSpec>(
            &cluster(json!({"spec": {}, "replicas": "two"})),
            "spec.worker.replicas: a whole number belongs here, not the text \"two\"",
        );
        check::<DaskClusterSpec>(
            &cluster(json!({"spec": {}, "replicas": 1.5})),
            "spec.worker.replicas: a whole number belongs here, not the number 1.5",
        );
        check::<DaskClusterSpec>(
            &cluster(json!({"spec": [1]})),
            "spec.worker.spec: an object belongs here, not a list",
        );
        let metadata = json!({"labels": {"a": true}});
        check::<DaskClusterSpec>(
            &cluster(json!({"spec": {}, "metadata": metadata})),
            "spec.worker.metadata.labels.a: a text belongs here, not true",
        );
    }

    #[test]
    fn a_word_that_is_not_known_is_named_with_those_that_are() {
        let cluster = json!({"spec": {"worker": {"spec": {}}, "scheduler": {"spec": {}, "service": {}}}});
        check::<DaskJobSpec>(
            &json!({"job": {}, "cluster": cluster, "retryCluster": "New"}),
            "spec.retryCluster: New is not known; it can be Fresh or Same",
        );
    }
}
