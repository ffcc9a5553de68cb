//! Everything planning may look at: the cache, what schedulers answered, and what this process remembers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::names;
use crate::observe::{Cache, ChildId, ChildKind, Key, Kind};
use crate::plan::{Ask, Poll};
use crate::scheduler::{SchedulerAddress, Snapshot};
use crate::settings::Settings;
use crate::store::Part;
use crate::store::served::{self, Served, ServedKind};

/// Longest pause between two questions to a scheduler that does not answer.
const POLL_PAUSE_MAX: SignedDuration = SignedDuration::from_secs(60);

/// The world as the operator knows it.
#[derive(Debug, Default)]
pub struct World {
    /// Objects.
    pub cache: Cache,
    /// Schedulers, by namespace and cluster.
    pub schedulers: BTreeMap<(String, String), SchedulerFacts>,
    /// What is remembered of each resource beyond what is stored on it. Losing it costs at most a repeated message.
    pub memory: BTreeMap<Key, Memory>,
    /// What the installed definitions serve and store; without it, all that ours do.
    pub served: Option<Served>,
    /// Operator-wide settings.
    pub settings: Settings,
}

/// What is remembered of a resource.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// When its status was last written.
    pub status_written: Option<Timestamp>,
    /// Why the last plan could not be carried out.
    pub trouble: Option<Trouble>,
}

/// A write that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// CamelCase, for a condition.
    pub reason: String,
    /// For people; names the object and what to do.
    pub message: String,
}

/// What a scheduler answered last.
#[derive(Clone, Debug, Default)]
pub struct SchedulerFacts {
    /// When the last question was sent.
    pub asked: Option<Timestamp>,
    /// Questions in a row that were not answered.
    pub failures: u32,
    /// Why the last one was not.
    pub failure: Option<Unanswered>,
    /// When it was found to tell of its workers and yet to serve no way to retire them: that part of Dask's HTTP API is off by
    /// default.
    pub retire_unserved: Option<Timestamp>,
    /// Its workers, and when they were asked for.
    pub workers: Option<(Timestamp, Snapshot)>,
    /// How many workers it wants.
    pub target: Option<(Timestamp, u32)>,
    /// Since when it is idle; `None` inside means busy.
    pub idle: Option<(Timestamp, Option<Timestamp>)>,
}

/// Why a scheduler could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// It runs, but offers no way to ask (the HTTP API is off by default in Dask).
    pub api_off: bool,
    /// For people.
    pub message: String,
}

impl World {
    /// A world in which nothing has been observed.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What the scheduler of a cluster answered.
    pub fn scheduler(&self, namespace: &str, cluster: &str) -> Option<&SchedulerFacts> {
        self.schedulers.get(&(namespace.to_owned(), cluster.to_owned()))
    }

    /// Whether the installed definition of a kind stores a field of its status.
    pub fn stores(&self, kind: Kind, field: &str) -> bool {
        let served = self.served.as_ref().and_then(|served| served.kind(kind.name()));
        served.is_none_or(|served| served.stores(&format!("status.{field}")))
    }

    /// What the installed definition of a kind lacks, for people.
    pub fn lack(&self, kind: Kind) -> Option<String> {
        served::lack(self.served.as_ref()?.kind(kind.name())?)
    }

    /// Where the status of a kind is written.
    pub fn status_part(&self, kind: Kind) -> Part {
        let served = self.served.as_ref().and_then(|served| served.kind(kind.name()));
        served.map_or(Part::Status, ServedKind::status_part)
    }

    /// Where the scheduler of a cluster listens, once its Service has been seen.
    pub fn scheduler_address(&self, namespace: &str, cluster: &str) -> Option<&SchedulerAddress> {
        let service =
            self.cache.child(&ChildId::new(ChildKind::Service, namespace, &names::scheduler(cluster)))?;
        service.service().map(|facts| &facts.address)
    }

    /// What is remembered of a resource.
    pub fn remembered(&self, key: &Key) -> Memory {
        self.memory.get(key).cloned().unwrap_or_default()
    }

    /// A question to a scheduler, asked no more often than the pace allows and less often while it does not answer.
    pub fn poll(&self, namespace: &str, cluster: &str, ask: Ask, now: Timestamp) -> Poll {
        let facts = self.scheduler(namespace, cluster);
        let failures = facts.map_or(0, |facts| facts.failures);
        let pause = (self.settings.pace.poll * 2_i32.pow(failures.min(6))).min(POLL_PAUSE_MAX);
        let asked = facts.and_then(|facts| facts.asked);
        let at = asked.map_or(now, |asked| (asked + pause).max(now));
        Poll { namespace: namespace.into(), cluster: cluster.into(), ask, at }
    }
}
