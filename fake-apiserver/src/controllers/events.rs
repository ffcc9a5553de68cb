//! Events: recorded with a count instead of repeated, kept for a while, bounded in number.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{EVENTS, text, time};
use super::queue::{Queue, Work};
use crate::server::Api;
use crate::status::Status;
use crate::storage::Key;

/// What is to be recorded.
pub(crate) struct Note<'a> {
    /// The object it is about.
    pub about: &'a Value,
    /// `Normal` or `Warning`.
    pub kind: &'a str,
    /// For machines.
    pub reason: &'a str,
    /// For people.
    pub message: &'a str,
    /// The part of the object, for instance `spec.containers{worker}`.
    pub field_path: &'a str,
    /// Name of the controller.
    pub source: &'static str,
}

/// Writes Events; the same words about the same object again only count up, as client-go's recorder does.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    count: u64,
    known: BTreeMap<(String, String), Key>,
    order: std::collections::VecDeque<(String, String)>,
}

/// Words that are remembered for counting; client-go's cache holds as many.
const REMEMBERED: usize = 4_096;

impl Recorder {
    /// Records an Event. One that cannot be written is lost, as on a real cluster.
    pub(crate) fn record(&mut self, api: &mut Api<'_>, note: &Note<'_>, now: Timestamp) {
        let metadata = &note.about["metadata"];
        let words = (
            text(&metadata["uid"]).to_owned(),
            format!("{}\n{}\n{}\n{}", note.source, note.reason, note.message, note.field_path),
        );
        if let Some(key) = self.known.get(&words)
            && let Some(event) = api.get(&EVENTS, &key.namespace, &key.name)
        {
            let mut event = event.value();
            event["count"] = (event["count"].as_i64().unwrap_or_default() + 1).into();
            event["lastTimestamp"] = time(now).into();
            drop_error(api.update(&EVENTS, event));
            return;
        }
        self.count += 1;
        let namespace = match text(&metadata["namespace"]) {
            "" => "default",
            namespace => namespace,
        };
        let name = format!("{}.{:016x}", text(&metadata["name"]), self.count);
        let key = Key::new(namespace, &name);
        if api.create(&EVENTS, event(note, &key, now)).is_ok() {
            if self.known.insert(words.clone(), key).is_none() {
                self.order.push_back(words);
            }
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }
}

fn drop_error<T>(result: Result<T, Status>) {
    if let Err(status) = result {
        tracing::debug!(%status, "event lost");
    }
}

fn event(note: &Note<'_>, key: &Key, now: Timestamp) -> Value {
    let about = note.about;
    let metadata = &about["metadata"];
    let mut involved = json!({
        "apiVersion": about["apiVersion"], "kind": about["kind"], "name": metadata["name"], "uid": metadata["uid"],
    });
    for (field, value) in
        [("namespace", &metadata["namespace"]), ("resourceVersion", &metadata["resourceVersion"])]
    {
        if value.is_string() {
            involved[field] = value.clone();
        }
    }
    if !note.field_path.is_empty() {
        involved["fieldPath"] = note.field_path.into();
    }
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "involvedObject": involved,
        "type": note.kind, "reason": note.reason, "message": note.message,
        "firstTimestamp": time(now), "lastTimestamp": time(now), "count": 1, "eventTime": null,
        "source": {"component": note.source}, "reportingComponent": note.source, "reportingInstance": "",
    })
}

/// Removes Events, whoever wrote them, after their time and above their bound.
#[derive(Default)]
pub(crate) struct EventLoop {
    written: BTreeMap<u64, (Timestamp, Key)>,
    revisions: BTreeMap<Key, u64>,
}

const SWEEP: &str = "sweep";

impl ControlLoop for EventLoop {
    fn name(&self) -> &'static str {
        "event-ttl"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        if seen.resource() != ("", "events") {
            return;
        }
        let object = seen.object();
        if let Some(revision) = self.revisions.remove(&object.key) {
            self.written.remove(&revision);
        }
        if seen.change.after.is_some() {
            let revision = object.meta.resource_version;
            self.written.insert(revision, (seen.now, object.key.clone()));
            self.revisions.insert(object.key.clone(), revision);
            let due = if self.written.len() > seen.options.max_events {
                seen.now
            } else {
                self.first_expiry(seen.options.event_ttl).unwrap_or(seen.now)
            };
            queue.add(Work { about: SWEEP, key: Key::default() }, due);
        }
    }

    fn sync(&mut self, _: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let ttl = context.options.event_ttl;
        while let Some((revision, (at, key))) = self.written.first_key_value() {
            let expired = at.checked_add(ttl).is_ok_and(|end| end <= context.now);
            if !expired && self.written.len() <= context.options.max_events {
                break;
            }
            let (revision, key) = (*revision, key.clone());
            self.written.remove(&revision);
            self.revisions.remove(&key);
            drop_error(context.api.delete(&EVENTS, &key, json!({})));
        }
        Ok(self.first_expiry(ttl))
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

impl EventLoop {
    fn first_expiry(&self, ttl: jiff::SignedDuration) -> Option<Timestamp> {
        self.written.first_key_value().and_then(|(_, (at, _))| at.checked_add(ttl).ok())
    }
}
