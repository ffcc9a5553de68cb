//! Decorator: the ordered transcript of calls, in a form that is the same for every run of the same history.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use serde_json::Value;

use super::{
    Result, WatchStream,
    call::Call,
    decorated::{Decorated, Decorator, Sent},
};

/// One call and how it ended. Displayed as `create Pod ns/x: ok`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was called.
    pub call: Call,
    /// What was sent, normalised; null for reads.
    pub body: Value,
    /// `ok`, or the error's reason.
    pub outcome: &'static str,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.outcome)
    }
}

/// A store that writes down what is asked of it.
///
/// Bodies are normalised: uids become `uid-1`, `uid-2`, … in order of appearance; what the server fills in is left out.
pub type RecordingStore<S> = Decorated<Transcript, S>;

/// What was asked, in the order in which the calls ended.
#[derive(Default)]
pub struct Transcript {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    uids: BTreeMap<String, String>,
}

impl Transcript {
    /// The transcript so far, in the order in which the calls ended.
    pub fn entries(&self) -> Vec<Entry> {
        self.with(|state| state.entries.clone())
    }

    /// The transcript so far, emptied for what comes next.
    pub fn take(&self) -> Vec<Entry> {
        self.with(|state| std::mem::take(&mut state.entries))
    }

    /// The writes so far, one a line.
    pub fn writes(&self) -> String {
        let entries = self.entries();
        let lines: Vec<String> =
            entries.iter().filter(|entry| entry.call.verb.writes()).map(ToString::to_string).collect();
        lines.join("\n")
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn note(&self, call: Call, mut body: Value, outcome: &'static str) {
        self.with(|state| {
            normalise(&mut body, &mut state.uids);
            state.entries.push(Entry { call, body, outcome });
        });
    }
}

impl Decorator for Transcript {
    async fn call<T: Send>(
        &self,
        call: Call,
        sent: Sent<'_>,
        run: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let answer = run.await;
        let outcome = answer.as_ref().map_or_else(super::StoreError::reason, |_| "ok");
        self.note(call, sent.to_value(), outcome);
        answer
    }

    fn watch(&self, call: Call, events: WatchStream) -> WatchStream {
        self.note(call, Value::Null, "ok");
        events
    }
}

/// Replaces uids by their order of appearance and drops what only the server writes.
fn normalise(value: &mut Value, uids: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for server_side in ["managedFields", "resourceVersion", "creationTimestamp", "generation"] {
                map.remove(server_side);
            }
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::String(uid) if key == "uid" => {
                        let next = format!("uid-{}", uids.len() + 1);
                        uids.entry(uid.clone()).or_insert(next).clone_into(uid);
                    }
                    inner => normalise(inner, uids),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| normalise(item, uids)),
        _ => {}
    }
}
