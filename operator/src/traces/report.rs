//! How looking at a resource went.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::engine::What;
use crate::metrics::tally::Ended;
use crate::observe::Key;

/// Why a resource was looked at: the first thing that happened since it was looked at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An object was made or changed.
    Seen(What),
    /// An object went.
    Gone(What),
    /// A scheduler answered.
    Answer,
    /// A plugin answered.
    Advice,
    /// What was written was not seen in time.
    Unseen,
    /// Other definitions are served.
    Definitions,
    /// The last time failed.
    Retry,
    /// The time that it asked for has come.
    Time,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(what) => write!(f, "{} seen", what.kind_name()),
            Self::Gone(what) => write!(f, "{} gone", what.kind_name()),
            Self::Answer => f.write_str("scheduler answered"),
            Self::Advice => f.write_str("plugin answered"),
            Self::Unseen => f.write_str("write not seen"),
            Self::Definitions => f.write_str("definitions changed"),
            Self::Retry => f.write_str("retry"),
            Self::Time => f.write_str("time"),
        }
    }
}

/// What becomes a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub key: Key,
    /// Why.
    pub cause: Cause,
    /// When it was to be looked at.
    pub due: Timestamp,
    /// When it was.
    pub begun: Timestamp,
    /// When the last write had ended.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: Ended,
    /// What was written, in short.
    pub steps: Vec<String>,
    /// The reason of a failure, and what the condition says.
    pub failure: Option<(String, String)>,
}

/// What the engine keeps for reports; empty unless somebody wants them. The number of resources bounds it.
#[derive(Debug, Default)]
pub struct Reports {
    wanted: bool,
    causes: BTreeMap<Key, Cause>,
    begun: BTreeMap<Key, (Cause, Timestamp, Timestamp)>,
    ended: Vec<Report>,
}

impl Reports {
    /// From now on they are kept; whoever wants them takes them after each turn.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// Something happened because of which a resource is to be looked at.
    pub(crate) fn note(&mut self, key: &Key, cause: &Cause) {
        if self.wanted && !self.causes.contains_key(key) {
            self.causes.insert(key.clone(), cause.clone());
        }
    }

    /// A resource is being looked at.
    pub(crate) fn begin(&mut self, key: &Key, due: Option<Timestamp>, now: Timestamp) {
        if self.wanted {
            let cause = self.causes.remove(key).unwrap_or(Cause::Time);
            self.begun.insert(key.clone(), (cause, due.unwrap_or(now), now));
        }
    }

    /// It was looked at.
    pub(crate) fn end(
        &mut self,
        key: &Key,
        outcome: Ended,
        steps: impl Iterator<Item = String>,
        failure: Option<(String, String)>,
        now: Timestamp,
    ) {
        let Some((cause, due, begun)) = self.begun.remove(key) else { return };
        if matches!(outcome, Ended::Retried | Ended::Failed | Ended::Refused) {
            self.causes.insert(key.clone(), Cause::Retry);
        }
        let steps = steps.collect();
        self.ended.push(Report { key: key.clone(), cause, due, begun, ended: now, outcome, steps, failure });
    }

    /// A resource that is gone needs no cause any more.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.causes.remove(key);
    }

    /// The reports since they were taken last.
    pub fn take(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.ended)
    }
}
