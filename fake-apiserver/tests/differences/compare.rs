//! What is different between two runs of one script, and which differences are known.

use std::path::Path;

use serde_json::{Value, json};

use crate::script::Answer;

/// Each difference as the request, the place, and both values.
pub(crate) fn differences(real: &[Answer], ours: &[Answer]) -> Vec<String> {
    let mut all = Vec::new();
    for (number, (real, ours)) in real.iter().zip(ours).enumerate() {
        let mut here = Vec::new();
        if real.line != ours.line {
            here.push(format!("another request: {}; record again", real.line));
        }
        compare("code", &json!(real.code), &json!(ours.code), &mut here);
        compare("headers", &json!(real.headers), &json!(ours.headers), &mut here);
        compare("body", &real.body, &ours.body, &mut here);
        all.extend(here.into_iter().map(|difference| format!("{number} {}: {difference}", ours.line)));
    }
    if real.len() != ours.len() {
        all.push(format!("{} answers are recorded for {} requests; record again", real.len(), ours.len()));
    }
    all
}

fn compare(path: &str, real: &Value, ours: &Value, found: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(real), Value::Object(ours)) => {
            for key in real.keys().chain(ours.keys().filter(|key| !real.contains_key(*key))) {
                let (real, ours) =
                    (real.get(key).unwrap_or(&Value::Null), ours.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}.{key}"), real, ours, found);
            }
        }
        (Value::Array(real), Value::Array(ours)) if real.len() == ours.len() => {
            for (index, (real, ours)) in real.iter().zip(ours).enumerate() {
                compare(&format!("{path}[{index}]"), real, ours, found);
            }
        }
        _ if real == ours => {}
        _ => found.push(format!("{path}\n    real {real}\n    ours {ours}")),
    }
}

/// The differences are those that the file names, one a line, by request and place.
///
/// A known difference that is gone fails too, so that the list only gets shorter. `FAKE_APISERVER_KNOWN=write` writes the file.
pub(crate) fn hold(file: &Path, found: &[String]) {
    let places: Vec<&str> = found.iter().filter_map(|difference| difference.lines().next()).collect();
    if std::env::var_os("FAKE_APISERVER_KNOWN").is_some() {
        if places.is_empty() {
            let _ = std::fs::remove_file(file);
        } else {
            std::fs::write(file, places.join("\n") + "\n").unwrap();
        }
    }
    let known = std::fs::read_to_string(file).unwrap_or_default();
    let known: Vec<&str> = known.lines().collect();
    let new: Vec<&str> = found
        .iter()
        .filter(|difference| !known.contains(&difference.lines().next().unwrap_or_default()))
        .map(String::as_str)
        .collect();
    let gone: Vec<&&str> = known.iter().filter(|place| !places.contains(place)).collect();
    assert!(new.is_empty(), "{} differences\n{}", new.len(), new.join("\n"));
    assert!(gone.is_empty(), "no longer different; remove them from {}: {gone:#?}", file.display());
}
