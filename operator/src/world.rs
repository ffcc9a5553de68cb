//! Everything planning may look at: the cache, what schedulers answered, and what this process remembers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::autoscaler::Wishes;
use crate::cluster::Idleness;
use crate::names;
use crate::observe::{Cache, ChildId, ChildKind, Key, Kind, Resource};
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
    /// What it wanted before, as long as somebody asks for it.
    pub wishes: Wishes,
    /// Since when it is idle.
    pub idle: Idleness,
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
        self.poll_at(namespace, cluster, ask, self.settings.pace.poll, now, now)
    }

    /// A question that a cluster or one of its followers asks again and again.
    ///
    /// The schedulers have their turns spread over the interval, each cluster always at the same moment of it, so that a
    /// thousand of them are not all asked at once and those who ask the same one ask together. What has just been made does
    /// not wait for its turn.
    pub fn poll_every(&self, asker: &Resource, ask: Ask, every: SignedDuration, now: Timestamp) -> Poll {
        let cluster = asker.follows().unwrap_or(asker.name());
        let new = now.duration_since(asker.created) <= every;
        let first = if new { now } else { turn(asker.namespace(), cluster, every, now) };
        self.poll_at(asker.namespace(), cluster, ask, every, first, now)
    }

    fn poll_at(
        &self,
        namespace: &str,
        cluster: &str,
        ask: Ask,
        every: SignedDuration,
        first: Timestamp,
        now: Timestamp,
    ) -> Poll {
        let facts = self.scheduler(namespace, cluster);
        let next = facts.and_then(|facts| match facts.failures {
            0 => facts.answered(ask).map(|asked| asked + every),
            n => {
                facts.asked.map(|asked| asked + (every * 2_i32.pow(n.min(6))).min(POLL_PAUSE_MAX.max(every)))
            }
        });
        let at = next.map_or(first, |next| turn(namespace, cluster, every, next - every / 2).max(now));
        Poll { namespace: namespace.into(), cluster: cluster.into(), ask, at }
    }
}

impl SchedulerFacts {
    /// When all of this was last answered; `None` where some of it never was.
    fn answered(&self, ask: Ask) -> Option<Timestamp> {
        let parts = [
            (ask.workers, self.workers.as_ref().map(|(asked, _)| *asked)),
            (ask.target, self.target.map(|(asked, _)| asked)),
            (ask.idle, self.idle.asked()),
        ];
        parts.into_iter().filter(|(wanted, _)| *wanted).map(|(_, asked)| asked).min().flatten()
    }
}

/// The first turn of a cluster that is not before a time.
fn turn(namespace: &str, cluster: &str, every: SignedDuration, from: Timestamp) -> Timestamp {
    let every = every.as_millis().max(1) as i64;
    let digits = names::hex(&[namespace, cluster], 8);
    let phase = i64::from_str_radix(&digits, 16).unwrap_or(0) % every;
    let since = (phase - from.as_millisecond()).rem_euclid(every);
    from + SignedDuration::from_millis(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_over_the_interval_and_come_at_its_pace() {
        let every = SignedDuration::from_secs(5);
        let start = Timestamp::from_second(1_000).unwrap();
        let mut in_each_second = [0; 5];
        for number in 0..1_000 {
            let first = turn("d", &format!("c{number}"), every, start);
            in_each_second[first.duration_since(start).as_secs() as usize] += 1;
            let second = turn("d", &format!("c{number}"), every, first + every / 2);
            assert_eq!(second.duration_since(first), every);
        }
        assert!(in_each_second.iter().all(|count| (150..=250).contains(count)), "{in_each_second:?}");
    }

    #[test]
    fn a_scheduler_that_does_not_answer_is_asked_less_and_less_often() {
        let mut world = World::default();
        let asked = Timestamp::from_second(1_000).unwrap();
        let ask = Ask { target: true, ..Ask::default() };
        let mut pauses = Vec::new();
        for failures in [1, 2, 3, 9] {
            let facts = SchedulerFacts { asked: Some(asked), failures, ..SchedulerFacts::default() };
            world.schedulers.insert(("d".into(), "x".into()), facts);
            pauses.push(world.poll("d", "x", ask, asked).at.duration_since(asked).as_secs());
        }
        for (pause, about) in pauses.iter().zip([10, 20, 40, 60]) {
            assert!((pause - about).abs() <= 3, "{pauses:?}");
        }
    }
}
