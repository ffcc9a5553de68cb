//! Decorator: how many calls of each verb on each kind there were, how they ended and how long they took.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use tokio::time::Instant;

use super::{
    Part, Result, WatchStream,
    call::{Call, Verb},
    decorated::{Decorated, Decorator, Sent},
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

impl Series {
    fn of(call: Call) -> Self {
        Self { verb: call.verb, kind: call.kind, part: call.part }
    }
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
pub type MeteringStore<S> = Decorated<Meter, S>;

/// The counts, beginning at zero. Clones are the same.
#[derive(Clone, Default)]
pub struct Meter {
    figures: Arc<Mutex<BTreeMap<Series, Figures>>>,
}

impl Meter {
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

    fn count(&self, series: Series, failure: Option<&'static str>, took: Duration) {
        let mut all = self.locked();
        let figures = all.entry(series).or_default();
        figures.calls += 1;
        figures.time += took;
        let class = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        figures.classes[class.unwrap_or(BOUNDS_MS.len())] += 1;
        if let Some(reason) = failure {
            *figures.failures.entry(reason).or_default() += 1;
        }
    }
}

impl Decorator for Meter {
    async fn call<T: Send>(
        &self,
        call: Call,
        _: Sent<'_>,
        run: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let begun = Instant::now();
        let answer = run.await;
        self.count(Series::of(call), answer.as_ref().err().map(super::StoreError::reason), begun.elapsed());
        answer
    }

    /// Counts that the watch was begun, and each time that it broke; not its events.
    fn watch(&self, call: Call, events: WatchStream) -> WatchStream {
        let series = Series::of(call);
        self.count(series.clone(), None, Duration::ZERO);
        let meter = self.clone();
        let broken = move |error: &super::StoreError| {
            meter.count(series.clone(), Some(error.reason()), Duration::ZERO);
        };
        events.inspect(move |event| event.as_ref().err().into_iter().for_each(&broken)).boxed()
    }
}
