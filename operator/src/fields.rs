//! Reading loose JSON strictly: every wrong field is named with its path, and `null` counts as absent.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A JSON value with the path it was found at, and the list where complaints go.
#[derive(Debug)]
pub struct Fields<'a, 'e> {
    value: &'a Value,
    path: String,
    wrong: &'e mut Vec<String>,
}

impl<'a, 'e> Fields<'a, 'e> {
    /// Starts at a value.
    pub fn new(value: &'a Value, path: &str, wrong: &'e mut Vec<String>) -> Self {
        Self { value, path: path.into(), wrong }
    }

    /// A member, to be read further.
    pub fn at(&mut self, name: &str) -> Fields<'a, '_> {
        Fields { value: &self.value[name], path: format!("{}.{name}", self.path), wrong: self.wrong }
    }

    /// Whether the value is absent or null.
    pub fn absent(&self) -> bool {
        self.value.is_null()
    }

    /// A required object.
    pub fn object(&mut self) -> Value {
        match self.value {
            Value::Object(_) => self.value.clone(),
            Value::Null => {
                self.wrong.push(format!("{} is missing", self.path));
                Value::Object(Map::new())
            }
            other => {
                self.complain("an object", other);
                Value::Object(Map::new())
            }
        }
    }

    /// A pod spec: an object with at least one container, each an object.
    pub fn pod_spec(&mut self) -> Value {
        let spec = self.object();
        if !self.value.is_object() {
            return spec;
        }
        match &spec["containers"] {
            Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_object) => {}
            Value::Null => self.wrong.push(format!("{}.containers is missing", self.path)),
            other => {
                let path = format!("{}.containers", self.path);
                self.wrong.push(format!("{path} must be a list of at least one container, found {}", short(other)));
            }
        }
        spec
    }

    /// A required, non-empty string.
    pub fn string(&mut self) -> String {
        match self.value {
            Value::String(text) if !text.is_empty() => text.clone(),
            Value::Null => {
                self.wrong.push(format!("{} is missing", self.path));
                String::new()
            }
            other => {
                self.complain("a non-empty string", other);
                String::new()
            }
        }
    }

    /// An integer of at least 0; `None` if absent.
    pub fn count(&mut self) -> Option<u32> {
        match self.value {
            Value::Null => None,
            value => {
                let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
                if count.is_none() {
                    self.complain("an integer of at least 0", value);
                }
                count
            }
        }
    }

    /// An integer; `None` if absent.
    pub fn integer(&mut self) -> Option<i64> {
        match self.value {
            Value::Null => None,
            value => {
                let integer = value.as_i64();
                if integer.is_none() {
                    self.complain("an integer", value);
                }
                integer
            }
        }
    }

    /// A map of strings; empty if absent. Null members are left out.
    pub fn strings(&mut self) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        match self.value {
            Value::Null => {}
            Value::Object(members) => {
                for (key, member) in members {
                    match member {
                        Value::String(text) => {
                            map.insert(key.clone(), text.clone());
                        }
                        Value::Null => {}
                        other => {
                            let path = format!("{}.{key}", self.path);
                            self.wrong.push(format!("{path} must be a string, found {}", short(other)));
                        }
                    }
                }
            }
            other => self.complain("a map of strings", other),
        }
        map
    }

    fn complain(&mut self, expected: &str, found: &Value) {
        self.wrong.push(format!("{} must be {expected}, found {}", self.path, short(found)));
    }
}

/// A value cut to a length that fits a message.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 40 { text } else { text.chars().take(40).chain("…".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_wrong_field_is_named_with_its_path() {
        let value = json!({"worker": {"replicas": "three", "metadata": {"labels": {"a": 1}}, "spec": {"containers": []}}});
        let mut wrong = Vec::new();
        let mut spec = Fields::new(&value, "spec", &mut wrong);
        let mut worker = spec.at("worker");
        assert_eq!(worker.at("replicas").count(), None);
        worker.at("metadata").at("labels").strings();
        worker.at("spec").pod_spec();
        spec.at("scheduler").object();
        assert_eq!(
            wrong,
            [
                "spec.worker.replicas must be an integer of at least 0, found \"three\"",
                "spec.worker.metadata.labels.a must be a string, found 1",
                "spec.worker.spec.containers must be a list of at least one container, found []",
                "spec.scheduler is missing",
            ]
        );
    }
}
