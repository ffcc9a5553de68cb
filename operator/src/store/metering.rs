//! Decorator: how many calls of each verb on each kind there were, how they ended and how long they took.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use kube::core::{ApiResource, DynamicObject};
use tokio::time::Instant;

use super::{
    ApplyOptions, DeleteOptions, Endpoints, ObjectKey, Part, Patch, PatchOptions, Result, Scope, Store,
    WatchStream,
    call::{Call, Verb},
};

/// Upper bounds of the latency classes in milliseconds; one more class holds what took longer.
pub const BOUNDS_MS: [u64; 8] = [1, 5, 10, 50, 100, 500, 1_000, 5_000];

/// What is counted separately.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Verb.
    pub verb: Verb,
    /// Kind.
    pub kind: String,
    /// Endpoint.
    pub part: Part,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls that ended, however they did.
    pub calls: u64,
    /// Of these the failed ones, by [`StoreError::reason`](super::StoreError::reason).
    pub failures: BTreeMap<&'static str, u64>,
    /// Time of all calls together.
    pub time: Duration,
    /// Calls in each class of [`BOUNDS_MS`]; not cumulative.
    pub classes: [u64; BOUNDS_MS.len() + 1],
}

/// A store that counts what is asked of it.
pub struct MeteringStore<S> {
    inner: S,
    figures: Mutex<BTreeMap<Series, Figures>>,
}

impl<S: Store> MeteringStore<S> {
    /// Begins at zero.
    pub fn new(inner: S) -> Self {
        Self { inner, figures: Mutex::default() }
    }

    /// The store beneath.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Everything counted so far.
    pub fn figures(&self) -> BTreeMap<Series, Figures> {
        self.locked().clone()
    }

    /// All calls so far, of every verb.
    pub fn calls(&self) -> u64 {
        self.locked().values().map(|figures| figures.calls).sum()
    }

    /// All writes so far.
    pub fn writes(&self) -> u64 {
        let figures = self.locked();
        figures.iter().filter(|(series, _)| series.verb.writes()).map(|(_, figures)| figures.calls).sum()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Series, Figures>> {
        self.figures.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn count(&self, call: Call, failure: Option<&'static str>, took: Duration) {
        let mut all = self.locked();
        let figures = all.entry(Series { verb: call.verb, kind: call.kind, part: call.part }).or_default();
        figures.calls += 1;
        figures.time += took;
        let class = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        figures.classes[class.unwrap_or(BOUNDS_MS.len())] += 1;
        if let Some(reason) = failure {
            *figures.failures.entry(reason).or_default() += 1;
        }
    }

    async fn timed<T>(&self, call: Call, run: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let answer = run.await;
        self.count(call, answer.as_ref().err().map(super::StoreError::reason), begun.elapsed());
        answer
    }
}

impl<S: Store> Store for MeteringStore<S> {
    fn get<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<DynamicObject>>> {
        let call = Call::one(Verb::Get, resource, key, Part::Object);
        self.timed(call, self.inner.get(resource, key)).boxed()
    }

    fn list<'a>(
        &'a self,
        resource: &'a ApiResource,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<Vec<DynamicObject>>> {
        self.timed(Call::scope(Verb::List, resource, scope), self.inner.list(resource, scope)).boxed()
    }

    /// Counts that the watch was begun, not its events.
    fn watch(&self, resource: &ApiResource, scope: &Scope) -> WatchStream {
        self.count(Call::scope(Verb::Watch, resource, scope), None, Duration::ZERO);
        self.inner.watch(resource, scope)
    }

    fn create<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        manager: &'a str,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::with(Verb::Create, resource, object, Part::Object);
        self.timed(call, self.inner.create(resource, object, manager)).boxed()
    }

    fn apply<'a>(
        &'a self,
        resource: &'a ApiResource,
        object: &'a DynamicObject,
        options: &'a ApplyOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::with(Verb::Apply, resource, object, options.part);
        self.timed(call, self.inner.apply(resource, object, options)).boxed()
    }

    fn patch<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        patch: &'a Patch,
        options: &'a PatchOptions,
    ) -> BoxFuture<'a, Result<DynamicObject>> {
        let call = Call::one(Verb::Patch, resource, key, options.part);
        self.timed(call, self.inner.patch(resource, key, patch, options)).boxed()
    }

    fn delete<'a>(
        &'a self,
        resource: &'a ApiResource,
        key: &'a ObjectKey,
        options: &'a DeleteOptions,
    ) -> BoxFuture<'a, Result<()>> {
        let call = Call::one(Verb::Delete, resource, key, Part::Object);
        self.timed(call, self.inner.delete(resource, key, options)).boxed()
    }

    fn endpoints<'a>(&'a self, resource: &'a ApiResource) -> BoxFuture<'a, Result<Option<Endpoints>>> {
        self.timed(Call::kind(Verb::Discover, resource), self.inner.endpoints(resource)).boxed()
    }
}
