//! A work queue: keys once each, in the order they are due, ties in the order they were added.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::storage::Key;

/// What a unit of work is about; what the text means is the controller's own (most hold a kind).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work {
    /// Plural of the resource, or a word of the controller's own.
    pub about: &'static str,
    /// The object.
    pub key: Key,
}

impl Work {
    /// Work on an object.
    pub fn new(about: &'static str, key: &Key) -> Self {
        Self { about, key: key.clone() }
    }
}

/// The queue of one controller.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    order: BTreeSet<(Timestamp, u64, Work)>,
    due: BTreeMap<Work, (Timestamp, u64)>,
    failures: BTreeMap<Work, u32>,
    sequence: u64,
}

impl Queue {
    /// Adds work that is due at `at`; an earlier date of the same work stands.
    pub(crate) fn add(&mut self, work: Work, at: Timestamp) {
        if let Some((known, sequence)) = self.due.get(&work).copied() {
            if known <= at {
                return;
            }
            self.order.remove(&(known, sequence, work.clone()));
        }
        self.sequence += 1;
        self.due.insert(work.clone(), (at, self.sequence));
        self.order.insert((at, self.sequence, work));
    }

    /// When the first work is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, ..)| *at)
    }

    /// Work that is due, in order.
    pub(crate) fn ready(&self, now: Timestamp) -> impl Iterator<Item = &Work> {
        self.order.iter().take_while(move |(at, ..)| *at <= now).map(|(.., work)| work)
    }

    /// Whether something is due.
    pub(crate) fn has_ready(&self, now: Timestamp) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    /// Takes the first work that is due.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Work> {
        let first = self.ready(now).next()?.clone();
        self.remove(&first);
        Some(first)
    }

    /// Takes one named work out.
    pub(crate) fn remove(&mut self, work: &Work) {
        if let Some((at, sequence)) = self.due.remove(work) {
            self.order.remove(&(at, sequence, work.clone()));
        }
    }

    /// Work succeeded: its next failure starts the back-off anew.
    pub(crate) fn succeeded(&mut self, work: &Work) {
        self.failures.remove(work);
    }

    /// Work failed: it is due again after 100 ms, doubled with each failure in a row, at most a minute.
    pub(crate) fn failed(&mut self, work: Work, now: Timestamp) {
        let count = self.failures.entry(work.clone()).or_default();
        let wait = jiff::SignedDuration::from_millis((100_i64 << (*count).min(10)).min(60_000));
        *count += 1;
        self.add(work, now + wait);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        let sequence = self.sequence;
        *self = Self { sequence, ..Self::default() };
    }
}
