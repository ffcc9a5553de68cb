//! The chart's values and their schema name the same things.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::codegen::chart::CHART;
use crate::shell;

/// Values that the schema knows and `values.yaml` leaves out: there for others' sake.
const UNNAMED: [&str; 2] = ["global", "metrics.worker.podMonitor.targetLabels"];

fn read(name: &str) -> String {
    fs::read_to_string(shell::root().join(CHART).join(name)).unwrap()
}

/// The paths of all values that are not themselves split into values.
fn leaves(schema: &Value, values: Option<&Value>, above: &str, into: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().unwrap() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let value = values.and_then(|values| values.get(name));
        let split = inner["properties"].is_object()
            && value.is_none_or(|v| v.as_object().is_some_and(|v| !v.is_empty()));
        if split {
            assert_eq!(inner["additionalProperties"], false, "{path}: a misspelt value would go unnoticed");
            leaves(inner, value, &path, into);
        } else {
            into.insert(path);
        }
    }
}

fn keys(values: &Value, above: &str, known: &BTreeSet<String>, into: &mut BTreeSet<String>) {
    for (name, inner) in values.as_object().unwrap() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        if known.contains(&path) || !inner.is_object() {
            into.insert(path);
        } else {
            keys(inner, &path, known, into);
        }
    }
}

#[test]
fn every_value_is_in_the_schema_and_the_other_way_round() {
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let values: Value = serde_yaml::from_str(&read("values.yaml")).unwrap();
    let (mut in_schema, mut in_values) = (BTreeSet::new(), BTreeSet::new());
    leaves(&schema, Some(&values), "", &mut in_schema);
    keys(&values, "", &in_schema, &mut in_values);
    in_values.extend(UNNAMED.map(str::to_owned));
    assert_eq!(in_schema, in_values);
}
