//! The logs of simulated containers: what their life says they write, bounded, with the run before.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// The line, without its end.
    pub text: String,
}

/// The logs of one pod.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    now: BTreeMap<String, VecDeque<LogLine>>,
    previous: BTreeMap<String, VecDeque<LogLine>>,
}

impl Logs {
    /// A new run of a container begins.
    pub(crate) fn begin(&mut self, container: &str) {
        if let Some(lines) = self.now.insert(container.into(), VecDeque::new()) {
            self.previous.insert(container.into(), lines);
        }
    }

    /// A container writes a line; the oldest goes when there are more than `bound`.
    pub(crate) fn write(&mut self, container: &str, text: &str, at: Timestamp, bound: usize) {
        let lines = self.now.entry(container.into()).or_default();
        if lines.len() >= bound {
            lines.pop_front();
        }
        lines.push_back(LogLine { at, text: text.into() });
    }

    /// The lines of a run, oldest first; `None` when there was no such run.
    pub(crate) fn lines(&self, container: &str, previous: bool) -> Option<Vec<LogLine>> {
        let runs = if previous { &self.previous } else { &self.now };
        runs.get(container).map(|lines| lines.iter().cloned().collect())
    }
}
