//! Decorator: the ordered transcript of calls, in a form that is the same for every run of the same history.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use futures::{FutureExt, future::BoxFuture};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::{
    ApplyOptions, DeleteOptions, Endpoints, ObjectKey, Part, Patch, PatchOptions, Result, Scope, Store,
    WatchStream,
    call::{Call, Verb},
};

/// One call and how it ended. Displayed as `create Pod ns/x: ok`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was called.
    pub call: Call,
    /// What was sent, normalised; null for reads.
    pub body: Value,
    /// `ok`, `none` for a get of nothing, or the error's reason.
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
pub struct RecordingStore<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    uids: BTreeMap<String, String>,
}

impl<S: Store> RecordingStore<S> {
    /// Begins an empty transcript.
    pub fn new(inner: S) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// The store beneath.
    pub fn inner(&self) -> &S {
        &self.inner
    }

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

    async fn noted<T>(&self, call: Call, body: Value, run: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = run.await;
        self.note(call, body, answer.as_ref().map_or_else(super::StoreError::reason, |_| "ok"));
        answer
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

impl<S: Store> Store for RecordingStore<S> {
    fn get<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<DynamicObject>>> {
        async move {
            let answer = self.inner.get(resource, key).await;
            let outcome = match &answer {
                Ok(Some(_)) => "ok",
                Ok(None) => "none",
                Err(error) => error.reason(),
            };
            self.note(Call::one(Verb::Get, resource, key, Part::Object), Value::Null, outcome);
            answer
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Vec<DynamicObject>>> {
        let call = Call::scope(Verb::List, resource, scope);
        self.noted(call, Value::Null, self.inner.list(resource, scope)).boxed()
    }

    fn watch(&self, resource: &ApiResource, scope: &Scope) -> WatchStream {
        self.note(Call::scope(Verb::Watch, resource, scope), Value::Null, "ok");
        self.inner.watch(resource, scope)
    }

    fn create<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        manager: &'a str,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::with(Verb::Create, resource, object, Part::Object);
        self.noted(call, json!(object), self.inner.create(resource, object, manager)).boxed()
    }

    fn apply<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        options: &'a ApplyOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::with(Verb::Apply, resource, object, options.part);
        self.noted(call, json!(object), self.inner.apply(resource, object, options)).boxed()
    }

    fn patch<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        patch: &'a Patch,
        options: &'a PatchOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::one(Verb::Patch, resource, key, options.part);
        let (Patch::Merge(body) | Patch::Json(body)) = patch;
        self.noted(call, body.clone(), self.inner.patch(resource, key, patch, options)).boxed()
    }

    fn delete<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<()>> {
        let call = Call::one(Verb::Delete, resource, key, Part::Object);
        let mut body = json!({"propagationPolicy": options.propagation.as_str()});
        if let Some(uid) = &options.uid {
            body["uid"] = json!(uid);
        }
        if let Some(grace) = options.grace_seconds {
            body["gracePeriodSeconds"] = json!(grace);
        }
        self.noted(call, body, self.inner.delete(resource, key, options)).boxed()
    }

    fn endpoints<'a>(&'a self, resource: &'a ApiResource) -> BoxFuture<'a, Result<Option<Endpoints>>> {
        let call = Call::kind(Verb::Discover, resource);
        self.noted(call, Value::Null, self.inner.endpoints(resource)).boxed()
    }
}
