//! What Prometheus is told: the operator's work as numbers, at `/metrics` of the health endpoint.
//!
//! | module | what it is |
//! |---|---|
//! | [`tally`] | what the engine has done so far; counted by the engine itself, so that it is as deterministic as the engine |
//! | [`census`] | what there is now: clusters, jobs and workers by phase |
//! | [`histogram`] | durations in classes |
//! | [`text`] | names, labels and meaning of all series, in Prometheus' text format |
//!
//! The engine belongs to one task. Whoever scrapes asks that task ([`Metrics::listen`]) and gets a copy, so that nothing is
//! shared, and nothing is counted up for nobody. While the task does not answer, only what others counted is told: the
//! requests to the API server, and when the task last gave a sign of life.

pub mod census;
pub mod histogram;
pub mod tally;
#[cfg(all(test, feature = "fake"))]
mod tests;
pub mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::health::Health;
use crate::store::metering::Meter;
use census::Census;
use histogram::Histogram;
use tally::Tally;

/// How long the engine's task may take to answer; a plan of the largest group takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions that may wait for their answer; more of them are not asked.
const WAITING_MAX: usize = 4;

/// The engine as seen at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// What it has done so far.
    pub tally: Tally,
    /// What there is.
    pub census: Census,
    /// How long the calls of plugins in this process took, which the engine itself cannot know.
    pub called: BTreeMap<String, Histogram>,
    /// Resources that are to be looked at now.
    pub due: usize,
    /// Resources that are to be looked at later, even if nothing happens.
    pub later: usize,
}

impl Observed {
    /// A copy of what the engine knows of itself, and of what was measured around it.
    pub fn of(engine: &Engine, called: BTreeMap<String, Histogram>, now: jiff::Timestamp) -> Self {
        let (due, later) = engine.queued(now);
        Self { tally: engine.tally.clone(), census: Census::of(&engine.world), called, due, later }
    }
}

/// A question to the engine's task.
pub type Question = oneshot::Sender<Observed>;

/// The way from those who scrape to those who know. Clones are the same.
#[derive(Clone, Default)]
pub struct Metrics {
    meter: Meter,
    engine: Arc<Mutex<Option<mpsc::Sender<Question>>>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics of an operator whose requests this meter counts.
    pub fn new(meter: Meter) -> Self {
        Self { meter, ..Self::default() }
    }

    /// From now on questions come out here. Dropping the receiver ends that.
    pub fn listen(&self) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Everything, in Prometheus' text format.
    pub async fn render(&self, health: &Health) -> String {
        let observed = self.observed().await;
        text::render(&self.meter.figures(), observed, self.working(), health)
    }

    /// Whether the engine's task runs.
    pub fn working(&self) -> bool {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().is_some_and(|engine| !engine.is_closed())
    }

    async fn observed(&self) -> Option<Observed> {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (question, answer) = oneshot::channel();
        engine.try_send(question).ok()?;
        tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
    }
}
