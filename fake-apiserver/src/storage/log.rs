//! The bounded change log of one resource.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Key, Stored};

/// One write: what an object was and what it has become.
#[derive(Clone, Debug)]
pub struct Change {
    /// Revision of the write.
    pub revision: u64,
    /// The state before; `None` for a creation.
    pub before: Option<Arc<Stored>>,
    /// The state after; `None` for a deletion.
    pub after: Option<Arc<Stored>>,
    /// For a deletion, the last state carrying the revision of the deletion.
    pub deleted: Option<Arc<Stored>>,
}

impl Change {
    /// The object after the change; for a deletion its last state.
    pub fn object(&self) -> &Arc<Stored> {
        match (&self.after, &self.deleted, &self.before) {
            (Some(object), ..) | (None, Some(object), _) | (None, None, Some(object)) => object,
            (None, None, None) => unreachable!("a change has a state before or after it"),
        }
    }
}

/// The last changes of a resource, oldest first.
#[derive(Debug)]
pub(crate) struct Log {
    changes: VecDeque<Change>,
    bound: usize,
    /// Revision of the newest change that was dropped: history is complete after it.
    floor: u64,
}

impl Log {
    pub(crate) fn new(bound: usize) -> Self {
        Self { changes: VecDeque::new(), bound: bound.max(1), floor: 0 }
    }

    pub(crate) fn push(&mut self, change: Change) {
        if self.changes.len() >= self.bound
            && let Some(dropped) = self.changes.pop_front()
        {
            self.floor = dropped.revision;
        }
        self.changes.push_back(change);
    }

    /// Drops all history up to and including `revision`.
    pub(crate) fn compact(&mut self, revision: u64) {
        while self.changes.front().is_some_and(|change| change.revision <= revision) {
            self.changes.pop_front();
        }
        self.floor = self.floor.max(revision);
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Revision of the newest change.
    pub(crate) fn last(&self) -> u64 {
        self.changes.back().map_or(self.floor, |change| change.revision)
    }

    /// Changes after `revision`; `None` when some of them were dropped.
    pub(crate) fn after(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        if revision < self.floor {
            return None;
        }
        let from = self.changes.partition_point(|change| change.revision <= revision);
        Some(self.changes.range(from..))
    }

    /// What differs between `revision` and now: for each key changed since, its state then.
    pub(crate) fn undo(&self, revision: u64) -> Option<BTreeMap<&Key, Option<&Arc<Stored>>>> {
        let mut states = BTreeMap::new();
        for change in self.after(revision)? {
            states.entry(&change.object().key).or_insert(change.before.as_ref());
        }
        Some(states)
    }
}
