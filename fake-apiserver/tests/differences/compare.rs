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
        compare("asked", &json!(real.asked), &json!(ours.asked), &mut here);
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

/// The differences are those that the file names, one a line, by request and place, each below the reason why it stays.
///
/// A known difference that is gone fails too, so that the list only gets shorter. `FAKE_APISERVER_KNOWN=write` writes the
/// file; what is new in it has no reason yet, which fails.
pub(crate) fn hold(file: &Path, found: &[String]) {
    let places: Vec<&str> = found.iter().filter_map(|difference| difference.lines().next()).collect();
    let mut known = Known::read(&std::fs::read_to_string(file).unwrap_or_default());
    if std::env::var_os("FAKE_APISERVER_KNOWN").is_some() {
        known.keep(&places);
        if places.is_empty() {
            let _ = std::fs::remove_file(file);
        } else {
            std::fs::write(file, known.text()).unwrap();
        }
    }
    let new: Vec<&str> = found
        .iter()
        .filter(|difference| !known.has(difference.lines().next().unwrap_or_default()))
        .map(String::as_str)
        .collect();
    let gone: Vec<&String> = known.places().filter(|place| !places.contains(&place.as_str())).collect();
    assert!(new.is_empty(), "{} differences\n{}", new.len(), new.join("\n"));
    assert!(gone.is_empty(), "no longer different; remove them from {}: {gone:#?}", file.display());
    let bare: Vec<&String> = known.0.iter().filter(|(why, _)| why.is_empty()).flat_map(|(_, p)| p).collect();
    assert!(bare.is_empty(), "{}: say why, in a line `# …` above: {bare:#?}", file.display());
}

/// Reasons and the differences below each.
struct Known(Vec<(String, Vec<String>)>);

impl Known {
    fn read(text: &str) -> Self {
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("# "), all.last_mut()) {
                (Some(why), _) => all.push((why.to_owned(), Vec::new())),
                (None, Some((_, places))) => places.push(line.to_owned()),
                (None, None) => all.push((String::new(), vec![line.to_owned()])),
            }
        }
        Self(all)
    }

    fn places(&self) -> impl Iterator<Item = &String> {
        self.0.iter().flat_map(|(_, places)| places)
    }

    fn has(&self, place: &str) -> bool {
        self.places().any(|known| known == place)
    }

    /// Forgets what is gone and takes up what is new, without a reason.
    fn keep(&mut self, places: &[&str]) {
        let new = places.iter().filter(|place| !self.has(place)).map(|place| (*place).to_owned());
        let new: Vec<String> = new.collect();
        for (_, known) in &mut self.0 {
            known.retain(|place| places.contains(&place.as_str()));
        }
        self.0.retain(|(_, known)| !known.is_empty());
        if !new.is_empty() {
            self.0.insert(0, (String::new(), new));
        }
    }

    fn text(&self) -> String {
        let block = |(why, places): &(String, Vec<String>)| {
            let why = if why.is_empty() { String::new() } else { format!("# {why}\n") };
            format!("{why}{}\n", places.join("\n"))
        };
        self.0.iter().map(block).collect()
    }
}
