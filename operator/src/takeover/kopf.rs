//! What kopf leaves on objects (compatibility contract §10.1).

use serde_json::{Value, json};

use crate::names;

/// Prefix of kopf's annotations.
const PREFIX: &str = "kopf.zalando.org/";

/// What kopf has left on one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Its finalizer is there; with that operator gone the object could never go.
    pub finalizer: bool,
    /// Annotations of operations that were under way. With the Python operator back they would be taken up again.
    pub progress: Vec<String>,
    /// Its memory of what it handled last. It must stay: without it the Python operator takes the object for a new one.
    pub memory: bool,
    /// The finalizers of others, which stay.
    others: Vec<String>,
    version: String,
}

impl Leftovers {
    /// What is on an object.
    pub fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let finalizers: Vec<String> = texts(&metadata["finalizers"]);
        let annotations = metadata["annotations"].as_object().into_iter().flatten().map(|(name, _)| name);
        let kopfs: Vec<&String> = annotations.filter(|name| name.starts_with(PREFIX)).collect();
        Self {
            finalizer: finalizers.iter().any(|name| name == names::KOPF_FINALIZER),
            progress: kopfs
                .iter()
                .filter(|name| **name != names::KOPF_LAST_HANDLED)
                .map(|name| (*name).clone())
                .collect(),
            memory: kopfs.iter().any(|name| *name == names::KOPF_LAST_HANDLED),
            others: finalizers.into_iter().filter(|name| name != names::KOPF_FINALIZER).collect(),
            version: metadata["resourceVersion"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// The merge patch that takes away what may go, for the version that was seen.
    pub fn removal(&self) -> Option<Value> {
        if !self.finalizer && self.progress.is_empty() {
            return None;
        }
        let mut metadata = json!({"resourceVersion": self.version});
        if self.finalizer {
            metadata["finalizers"] = json!(self.others);
        }
        for name in &self.progress {
            metadata["annotations"][name] = Value::Null;
        }
        Some(json!({"metadata": metadata}))
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk(finalizers: &[&str], annotations: &Value) -> Leftovers {
        Leftovers::of(&json!({
            "metadata": {"resourceVersion": "7", "finalizers": finalizers, "annotations": annotations},
        }))
    }

    #[test]
    fn its_finalizer_and_progress_go_and_its_memory_and_the_finalizers_of_others_stay() {
        let annotations = json!({
            "kopf.zalando.org/last-handled-configuration": "{}", "kopf.zalando.org/daskcluster_create": "{}", "team": "a",
        });
        let found = mk(&[names::KOPF_FINALIZER, "example.org/keep"], &annotations);
        assert!(found.finalizer && found.memory);
        let expected = json!({"metadata": {
            "resourceVersion": "7", "finalizers": ["example.org/keep"],
            "annotations": {"kopf.zalando.org/daskcluster_create": null},
        }});
        assert_eq!(found.removal(), Some(expected));
    }

    #[test]
    fn where_nothing_may_go_nothing_is_written() {
        let memory = json!({"kopf.zalando.org/last-handled-configuration": "{}"});
        assert_eq!(mk(&["example.org/keep"], &memory).removal(), None);
        assert_eq!(mk(&[], &Value::Null), Leftovers { version: "7".into(), ..Leftovers::default() });
    }
}
