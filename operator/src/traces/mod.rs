//! Traces: one span for each time that a resource was looked at, with what caused it, sent by OTLP.
//!
//! | module | what it is |
//! |---|---|
//! | [`report`] | how looking at a resource went; kept by the engine, and as deterministic as it |
//! | [`encode`] | reports in OTLP's JSON |
//! | [`exporter`] | sends them to a collector |
//!
//! Nothing is kept and nothing costs anything unless an endpoint is given. A collector that is slow or away costs spans and nothing
//! else: they wait in a bounded channel, and the log says how many were lost.

pub mod encode;
pub mod exporter;
pub mod report;
#[cfg(all(test, feature = "fake"))]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

pub use exporter::{Endpoint, Exporter};
pub use report::{Cause, Report};

/// Reports that wait for the collector; more of them are lost.
const WAITING_MAX: usize = 4096;

/// The way from the engine's task to the exporter; the default leads nowhere. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    to: Option<mpsc::Sender<Report>>,
    lost: Arc<AtomicU64>,
}

impl Traces {
    /// A way that leads to an exporter for this endpoint, which ends once all clones are gone and everything was sent.
    pub fn to(endpoint: Endpoint, seed: u64) -> (Self, Exporter) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let traces = Self { to: Some(sender), lost: Arc::default() };
        let exporter = Exporter::new(endpoint, receiver, traces.lost.clone(), seed);
        (traces, exporter)
    }

    /// Whether anybody wants reports.
    pub fn wanted(&self) -> bool {
        self.to.is_some()
    }

    /// Hands reports over; never waits.
    pub fn send(&self, reports: impl IntoIterator<Item = Report>) {
        let Some(to) = &self.to else { return };
        for report in reports {
            if to.try_send(report).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
