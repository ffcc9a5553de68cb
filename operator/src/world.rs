//! Everything planning may look at: the cache, what schedulers answered, and what this process remembers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::autoscaler::Wishes;
use crate::cluster::Idleness;
use crate::names;
use crate::observe::{Cache, ChildId, ChildKind, Key, Kind, Resource};
use crate::plan::{Ask, Poll};
use crate::plugin::Plugins;
use crate::scheduler::{Path, SchedulerAddress, SchedulerError, Snapshot, TlsSecret, Worker, WorkerStatus};
use crate::settings::Settings;
use crate::store::Part;
use crate::store::served::{self, Served, ServedKind};

/// Longest pause between two questions to a scheduler that does not answer.
const POLL_PAUSE_MAX: SignedDuration = SignedDuration::from_secs(60);

/// So often a scheduler must have said that it has no workers before it is believed, if it was never asked before.
const EMPTY_ANSWERS_MIN: u32 = 3;

/// The world as the operator knows it.
#[derive(Debug, Default)]
pub struct World {
    /// Objects.
    pub cache: Cache,
    /// Schedulers, by namespace and cluster.
    pub schedulers: BTreeMap<(String, String), SchedulerFacts>,
    /// What is remembered of each resource beyond what is stored on it. Losing it costs at most a repeated message.
    pub memory: BTreeMap<Key, Memory>,
    /// What is known of plugins.
    pub plugins: Plugins,
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

/// Questions in a row that must have failed before a scheduler is said to be silent.
const FAILURES_MIN: u32 = 3;

/// What a scheduler answered last.
#[derive(Clone, Debug, Default)]
pub struct SchedulerFacts {
    /// When the last question was sent.
    pub asked: Option<Timestamp>,
    /// Questions in a row that were not answered.
    pub failures: u32,
    /// Why the last one was not.
    pub failure: Option<Unanswered>,
    /// By which path it answered.
    pub path: Option<Path>,
    /// Its workers, and when they were asked for.
    pub workers: Option<(Timestamp, Snapshot)>,
    /// How many workers it wants.
    pub target: Option<(Timestamp, u32)>,
    /// What it wanted before, as long as somebody asks for it.
    pub wishes: Wishes,
    /// Since when it is idle.
    pub idle: Idleness,
    /// What it called itself, and the pod that ran it then.
    pub known_as: Option<(String, SchedulerPod)>,
    /// How often in a row a scheduler of this id said that it has no workers.
    pub empty: Option<(Option<String>, u32)>,
    /// Workers that get no more tasks.
    pub quiet: BTreeMap<String, Quiet>,
    /// Workers, by their carrier, that it was asked to retire and did not.
    pub kept: BTreeMap<ChildId, Kept>,
    /// Workers, by their carrier, that vanished without having been let go, and when.
    pub vanished: BTreeMap<ChildId, Timestamp>,
}

/// How long a scheduler may count on a worker that has vanished without closing its connection, as with its node: Dask's
/// `distributed.scheduler.worker-ttl` is five minutes. It refuses another worker of the same name for so long ("name taken").
const VANISHED_FOR: SignedDuration = SignedDuration::from_mins(6);

/// What the heartbeats say of a worker that gets no more tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The last one when this was first known; it may be older than that.
    pub closing: Timestamp,
    /// The first after it, and after any that said otherwise, that said it runs nothing.
    pub since: Option<Timestamp>,
}

/// A worker that the scheduler did not retire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Since when this is known.
    pub since: Timestamp,
    /// The addresses that were asked for.
    pub addresses: Vec<String>,
}

/// One life of a scheduler's pod: its uid, and when its container started.
pub type SchedulerPod = (String, Option<Timestamp>);

/// Why a scheduler could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// CamelCase, for a condition.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl From<&SchedulerError> for Unanswered {
    fn from(error: &SchedulerError) -> Self {
        Self { reason: error.reason(), message: error.in_full() }
    }
}

impl SchedulerFacts {
    /// Why the scheduler does not answer, once so many questions in a row have failed that something is to be made of it: a busy
    /// scheduler misses one now and then.
    pub fn silence(&self) -> Option<&Unanswered> {
        self.failure.as_ref().filter(|_| self.failures >= FAILURES_MIN)
    }

    /// Takes note of a worker that vanished.
    pub fn vanish(&mut self, carrier: ChildId, now: Timestamp) {
        self.vanished.retain(|_, since| now.duration_since(*since) < VANISHED_FOR);
        self.vanished.insert(carrier, now);
    }

    /// Whether the scheduler may still count on a worker of this carrier, so that none may have its name.
    pub fn may_count_on(&self, carrier: &ChildId, now: Timestamp) -> bool {
        self.vanished.get(carrier).is_some_and(|since| now.duration_since(*since) < VANISHED_FOR)
    }

    /// Takes in what the scheduler says of its workers.
    pub fn learn(&mut self, asked: Timestamp, snapshot: Snapshot) {
        let closing = |address: &String| {
            snapshot.workers.get(address).is_some_and(|worker| worker.status == WorkerStatus::Closing)
        };
        // It left all the same, or somebody is retiring it now.
        self.kept.retain(|_, kept| {
            kept.addresses.iter().any(|address| snapshot.workers.contains_key(address))
                && !kept.addresses.iter().any(closing)
        });
        self.quiet.retain(|address, _| snapshot.workers.contains_key(address));
        for (address, worker) in &snapshot.workers {
            let Some(heartbeat) = worker.heartbeat.filter(|_| closing(address)) else {
                self.quiet.remove(address);
                continue;
            };
            let quiet =
                self.quiet.entry(address.clone()).or_insert(Quiet { closing: heartbeat, since: None });
            let runs_nothing = worker.running == Some(0) && heartbeat > quiet.closing;
            quiet.since = runs_nothing.then(|| quiet.since.unwrap_or(heartbeat));
        }
        self.workers = Some((asked, snapshot));
    }

    /// Takes note of an answer that names no workers.
    pub fn count_empty(&mut self, snapshot: &Snapshot) {
        let before = self.empty.take().filter(|(id, _)| *id == snapshot.id).map_or(0, |(_, times)| times);
        self.empty = snapshot.workers.is_empty().then(|| (snapshot.id.clone(), before + 1));
    }

    /// Whether a worker that is being retired has nothing left to do, so that it can leave without any task beginning anew.
    ///
    /// Either the scheduler has no task for it, or it ran none in two heartbeats that came after it was known to get no more: what
    /// it was given before it has begun by the first, and what ended before the first is known to the scheduler by the second.
    pub fn drained(&self, address: &str, worker: &Worker) -> bool {
        let since = self.quiet.get(address).and_then(|quiet| quiet.since);
        let quiet = || since.zip(worker.heartbeat).is_some_and(|(first, last)| first < last);
        worker.status == WorkerStatus::Closing && (worker.tasks == Some(0) || quiet())
    }
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
    pub fn scheduler_address(&self, namespace: &str, cluster: &str) -> Option<SchedulerAddress> {
        let service =
            self.cache.child(&ChildId::new(ChildKind::Service, namespace, &names::scheduler(cluster)))?;
        let address = &service.service()?.address;
        let resource = self.cache.resource(&Key::new(Kind::Cluster, namespace, cluster));
        let secret = resource.and_then(|resource| self.settings.tls_secret(&resource.annotations));
        let tls = secret.map(|name| TlsSecret { namespace: namespace.to_owned(), name: name.to_owned() });
        Some(SchedulerAddress { tls, ..address.clone() })
    }

    /// The pod that runs a cluster's scheduler, if there is exactly one.
    pub fn scheduler_pod(&self, namespace: &str, cluster: &str) -> Option<SchedulerPod> {
        match crate::cluster::scheduler_pods(self, namespace, cluster).as_slice() {
            [pod] => Some((pod.uid.to_string(), pod.pod().and_then(|facts| facts.started_at))),
            _ => None,
        }
    }

    /// Why an answer cannot be that of this cluster's scheduler, if it cannot.
    ///
    /// Addresses are given anew, and a Service may select too much. Believing another scheduler that it does not know our
    /// workers would mean to delete them.
    pub fn doubt(&self, namespace: &str, cluster: &str, snapshot: &Snapshot) -> Option<Unanswered> {
        let another = |message: String| Some(Unanswered { reason: "AnotherScheduler", message });
        let groups = self.cache.followers(namespace, cluster).filter(|key| key.kind == Kind::WorkerGroup);
        let ours: Vec<_> = groups
            .filter_map(|key| self.cache.resource(key))
            .flat_map(|group| crate::worker_group::View::workers_of(self, group))
            .filter(crate::worker_group::Worker::started)
            .collect();
        let roll = crate::worker_group::Roll::new(snapshot, &ours);
        if ours.is_empty() || ours.iter().any(|worker| !roll.of(worker).is_empty()) {
            return None;
        }
        if let Some(stranger) = snapshot.workers.values().next() {
            return another(format!(
                "the scheduler that answers knows none of this cluster's workers, but {}: it is another cluster's",
                stranger.name
            ));
        }
        // It knows nobody. A scheduler that has just been restarted does not; but then its pod says so too. Where no worker ever
        // registered, none is in the list either; one that was never asked before is asked again before that is believed.
        let facts = self.scheduler(namespace, cluster);
        let times = facts.and_then(|facts| facts.empty.as_ref()).map_or(0, |(_, times)| *times);
        match (facts.and_then(|facts| facts.known_as.as_ref()), &snapshot.id, self.scheduler_pod(namespace, cluster)) {
            (None, ..) if times < EMPTY_ANSWERS_MIN => {
                another(format!("the scheduler says that it knows none of {} workers that run; asking again", ours.len()))
            }
            (Some((before, pod)), Some(id), Some(now)) if before != id && *pod == now => another(
                "a scheduler answers that is not the one from before, though the scheduler's pod has not been restarted"
                    .into(),
            ),
            _ => None,
        }
    }

    /// Whether nothing runs a cluster's scheduler: whatever its workers hold is then lost to everybody, since the scheduler
    /// alone knew of it.
    pub fn scheduler_is_gone(&self, namespace: &str, cluster: &str) -> bool {
        let pods = crate::cluster::scheduler_pods(self, namespace, cluster);
        !pods.iter().any(|pod| pod.pod().is_none_or(|facts| facts.running))
    }

    /// What is remembered of a resource.
    pub fn remembered(&self, key: &Key) -> Memory {
        self.memory.get(key).cloned().unwrap_or_default()
    }

    /// A question about a scheduler's workers, asked at this time.
    pub fn poll_workers(&self, namespace: &str, cluster: &str, at: Timestamp) -> Poll {
        let ask = Ask { workers: true, ..Ask::default() };
        Poll { namespace: namespace.into(), cluster: cluster.into(), ask, at }
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
    use crate::scheduler::Worker;

    #[test]
    fn the_name_of_a_worker_that_vanished_is_kept_longer_than_dask_counts_on_it() {
        let worker = |name: &str| ChildId::new(ChildKind::Pod, "d", name);
        let start = Timestamp::from_second(1_000).unwrap();
        let mut facts = SchedulerFacts::default();
        facts.vanish(worker("a"), start);
        assert!(facts.may_count_on(&worker("a"), start + SignedDuration::from_mins(5)));
        assert!(!facts.may_count_on(&worker("b"), start));
        let later = start + VANISHED_FOR;
        assert!(!facts.may_count_on(&worker("a"), later));
        facts.vanish(worker("b"), later);
        assert_eq!(facts.vanished.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_worker_runs_nothing_once_two_heartbeats_that_came_after_its_retiring_say_so() {
        let mut facts = SchedulerFacts::default();
        let mut told = |heartbeat: i64, running: u64| {
            let worker = Worker {
                name: "a".into(),
                stored_bytes: None,
                tasks: None,
                running: Some(running),
                status: WorkerStatus::Closing,
                heartbeat: Some(Timestamp::from_second(heartbeat).unwrap()),
            };
            let workers = BTreeMap::from([("tcp://a".to_owned(), worker.clone())]);
            facts.learn(Timestamp::UNIX_EPOCH, Snapshot { id: None, staged: true, workers });
            facts.drained("tcp://a", &worker)
        };
        // The first may have been sent before it was given its last task; the second tells of that.
        assert!(!told(1, 0));
        assert!(!told(2, 1));
        assert!(!told(3, 0));
        assert!(!told(3, 0), "it is the same heartbeat");
        assert!(told(4, 0));
        assert!(!told(5, 1));
        assert!(!told(6, 0));
    }

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
