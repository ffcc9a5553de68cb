//! What a run tells: commands, the operator's writes, objects — without what differs between equal runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fake_apiserver::status::Status;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::script::Line;
use super::{EPOCH, Sim};
use crate::names;
use crate::store::recording::Entry;

/// A transcript being written.
#[derive(Debug, Default)]
pub struct Transcript {
    text: String,
    workers: BTreeMap<String, usize>,
}

impl Transcript {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line of the script.
    pub fn command(&mut self, line: &Line) {
        if line.text.starts_with('#') {
            let _ = writeln!(self.text, "\n{}", line.text);
        } else {
            let _ = writeln!(self.text, "\n> {}", line.text);
        }
    }

    /// What the API server refused to a user.
    pub fn refusal(&mut self, status: &Status) {
        let text = self.normal(&format!("refused {} {}: {}", status.code, status.reason, status.message));
        let _ = writeln!(self.text, "{text}");
    }

    /// What the operator wrote.
    pub fn writes(&mut self, entries: Vec<Entry>, elapsed: SignedDuration) {
        let writes: Vec<Entry> = entries.into_iter().filter(|entry| entry.call.verb.writes()).collect();
        if writes.is_empty() {
            return;
        }
        let _ = writeln!(self.text, "  -- operator, by +{} s", elapsed.as_secs());
        for entry in writes {
            let line = self.normal(&entry.to_string());
            let _ = writeln!(self.text, "  {line}");
            if !entry.body.is_null() {
                let body = serde_yaml::to_string(&entry.body).unwrap_or_default();
                let body = self.normal(&body);
                for line in body.lines() {
                    let _ = writeln!(self.text, "      {line}");
                }
            }
        }
    }

    /// All objects in short.
    pub fn world(&mut self, sim: &Sim) {
        let mut lines = Vec::new();
        for (api_version, plural) in [
            (names::API_VERSION, "daskjobs"),
            (names::API_VERSION, "daskclusters"),
            (names::API_VERSION, "daskworkergroups"),
            (names::API_VERSION, "daskautoscalers"),
            ("apps/v1", "deployments"),
            ("v1", "services"),
            ("v1", "pods"),
        ] {
            for object in sim.list(api_version, plural) {
                if object["metadata"]["name"] != "kubernetes" {
                    lines.push(short(&object));
                }
            }
        }
        for (api_version, plural) in [
            ("v1", "configmaps"),
            ("policy/v1", "poddisruptionbudgets"),
            ("networking.k8s.io/v1", "networkpolicies"),
        ] {
            let added = sim.list(api_version, plural).into_iter();
            for object in added.filter(|object| !object["metadata"]["labels"][names::PLUGIN].is_null()) {
                let plugin = object["metadata"]["labels"][names::PLUGIN].as_str().unwrap_or_default();
                lines.push(format!("{} of plugin {plugin}", short(&object)));
            }
        }
        for event in sim.list("v1", "events") {
            if event["source"]["component"] == crate::execute::MANAGER {
                let text =
                    |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
                let about = text("/involvedObject/name");
                lines.push(format!(
                    "Event {} {} on {about}: {}",
                    text("/type"),
                    text("/reason"),
                    text("/message")
                ));
            }
        }
        if lines.is_empty() {
            lines.push("nothing".into());
        }
        for line in lines {
            let line = self.normal(&line);
            let _ = writeln!(self.text, "  {line}");
        }
    }

    /// One object, without what the server alone decides.
    pub fn object(&mut self, object: &Value) {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for key in
                ["managedFields", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink"]
            {
                metadata.remove(key);
            }
            for owner in
                metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten()
            {
                owner["uid"] = Value::String("<uid>".into());
            }
        }
        let text = self.normal(&serde_yaml::to_string(&object).unwrap_or_default());
        for line in text.lines() {
            let _ = writeln!(self.text, "  {line}");
        }
    }

    /// The transcript.
    pub fn finish(self) -> String {
        self.text.trim_start().to_owned()
    }

    /// Replaces what is a function of the server's counters: worker names by their order of appearance, ReplicaSets' suffixes,
    /// hashes, and times by the time since the beginning.
    fn normal(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let end =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-.:".contains(c))).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let word = self.word(word);
            out.push_str(&word);
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn word(&mut self, word: &str) -> String {
        let trimmed = word.trim_end_matches([':', '.']);
        let tail = &word[trimmed.len()..];
        if let Some((stem, hash)) = trimmed.rsplit_once("-worker-")
            && hash.len() >= 10
            && hash.as_bytes()[..10].iter().all(u8::is_ascii_hexdigit)
        {
            let next = self.workers.len() + 1;
            let number = *self.workers.entry(trimmed[..stem.len() + 18].to_owned()).or_insert(next);
            let suffix = if hash.len() > 10 { "-<pod>" } else { "" };
            return format!("{stem}-worker-<{number}>{suffix}{tail}");
        }
        if let Some((stem, suffix)) = trimmed.split_once("-scheduler-")
            && suffix.split('-').count() == 2
            && suffix.len() > 6
            && suffix.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            return format!("{stem}-scheduler-<pod>{tail}");
        }
        if trimmed.len() == 16 && trimmed.bytes().all(|b| b.is_ascii_hexdigit()) {
            return format!("<hash>{tail}");
        }
        if trimmed.len() >= 20
            && let Ok(time) = trimmed.parse::<Timestamp>()
        {
            let start: Timestamp = EPOCH.parse().unwrap_or(Timestamp::UNIX_EPOCH);
            return format!("<+{} s>{tail}", time.duration_since(start).as_secs());
        }
        word.to_owned()
    }
}

fn short(object: &Value) -> String {
    let metadata = &object["metadata"];
    let mut line = format!(
        "{} {}",
        object["kind"].as_str().unwrap_or_default(),
        metadata["name"].as_str().unwrap_or_default()
    );
    if !metadata["deletionTimestamp"].is_null() {
        line.push_str(" deleting");
    }
    let status = &object["status"];
    for key in ["phase", "jobStatus", "replicas", "readyReplicas", "readyWorkers", "desired"] {
        match &status[key] {
            Value::String(text) => {
                let _ = write!(line, " {text}");
            }
            Value::Number(number) => {
                let _ = write!(line, " {key}={number}");
            }
            _ => {}
        }
    }
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let ours = object["apiVersion"] == names::API_VERSION;
        let text = |key: &str| condition[key].as_str().unwrap_or_default();
        if ours {
            let _ = write!(
                line,
                "\n    {}={} {}: {}",
                text("type"),
                text("status"),
                text("reason"),
                text("message")
            );
        } else if text("type") == "Ready" && text("status") == "True" {
            line.push_str(" ready");
        }
    }
    line
}
