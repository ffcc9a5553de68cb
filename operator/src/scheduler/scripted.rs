//! Schedulers made of [`Model`]s: for tests and simulations. Deterministic; time is what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::model::Model;
use super::{Path, Retire, Scheduler, SchedulerAddress, SchedulerError, Snapshot, Worker, WorkerStatus};

/// Schedulers by host. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ScriptedScheduler {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    now: Timestamp,
    schedulers: BTreeMap<String, Model>,
    /// By host: faults last longer than schedulers.
    behaviours: BTreeMap<String, Behaviour>,
    made: u64,
    /// What the schedulers that are gone had lost before.
    lost: Vec<String>,
}

/// How the calls to one host go.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// How often it has been called.
    pub calls: u64,
    /// How calls fail, by their number.
    pub faults: BTreeMap<u64, Fault>,
    /// It is reached by HTTP alone: retiring is one step, and what workers run is not told.
    pub http_only: bool,
}

/// A way in which one call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens.
    Refused,
    /// No answer within the limit.
    Hangs,
    /// Done what was asked, but the answer is lost.
    AnswerLost,
    /// The HTTP API is off.
    HttpApiOff,
    /// 500.
    Failed,
    /// Something else answers.
    Garbled,
    /// A version that is not understood.
    AnotherVersion,
    /// The scheduler of another cluster answers.
    AnotherCluster,
    /// The scheduler of another cluster without workers answers.
    AnotherEmptyCluster,
    /// Half of the workers it is asked to retire are retired.
    RetiresFewer,
    /// Says that nobody holds or runs anything.
    Lies,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::Hangs,
        Self::AnswerLost,
        Self::HttpApiOff,
        Self::Failed,
        Self::Garbled,
        Self::AnotherVersion,
        Self::AnotherCluster,
        Self::AnotherEmptyCluster,
        Self::RetiresFewer,
        Self::Lies,
    ];

    fn error(self, url: String) -> Option<SchedulerError> {
        Some(match self {
            Self::Refused => SchedulerError::Unreachable { url, source: "connection refused".into() },
            Self::Hangs | Self::AnswerLost => {
                SchedulerError::TimedOut { url, after: Duration::from_secs(10) }
            }
            Self::HttpApiOff => SchedulerError::HttpApiOff { url },
            Self::Failed => SchedulerError::Failed { url, answer: "500 Internal Server Error".into() },
            Self::Garbled => SchedulerError::Garbled { url, reason: "not MessagePack".into() },
            Self::AnotherVersion => {
                SchedulerError::Unsupported { url, reason: "no workers".into(), version: "2099.1.0".into() }
            }
            Self::AnotherCluster | Self::AnotherEmptyCluster | Self::RetiresFewer | Self::Lies => {
                return None;
            }
        })
    }
}

impl ScriptedScheduler {
    /// No scheduler answers until [`set`](Self::set) makes one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the scheduler at this host, making it first if there is none, and returns what `change` returns.
    pub fn set<T>(&self, host: &str, change: impl FnOnce(&mut Model) -> T) -> T {
        let mut inner = self.inner();
        let Inner { schedulers, made, .. } = &mut *inner;
        let model = schedulers.entry(host.to_owned()).or_insert_with(|| {
            *made += 1;
            Model::new(&format!("Scheduler-{made}"))
        });
        change(model)
    }

    /// Changes how calls to this host go.
    pub fn behave(&self, host: &str, change: impl FnOnce(&mut Behaviour)) {
        change(self.inner().behaviours.entry(host.to_owned()).or_default());
    }

    /// The next calls to this host fail so, one each.
    pub fn fail(&self, host: &str, faults: impl IntoIterator<Item = Fault>) {
        self.behave(host, |behaviour| {
            let next = behaviour.faults.keys().next_back().map_or(0, |last| last + 1).max(behaviour.calls);
            behaviour.faults.extend((next..).zip(faults));
        });
    }

    /// No call fails any more.
    pub fn heal(&self) {
        self.inner().behaviours.values_mut().for_each(|behaviour| behaviour.faults.clear());
    }

    /// The scheduler at this host stops: its pod is gone, and all it knew.
    pub fn remove(&self, host: &str) {
        let mut inner = self.inner();
        if let Some(model) = inner.schedulers.remove(host) {
            inner.lost.extend(model.lost);
        }
    }

    /// Time has come to this point: tasks end and begin.
    pub fn work(&self, now: Timestamp) {
        let mut inner = self.inner();
        inner.now = now;
        inner.schedulers.values_mut().for_each(|model| model.work(now));
    }

    /// When something happens next without anybody's doing.
    pub fn next_due(&self) -> Option<Timestamp> {
        let inner = self.inner();
        inner
            .schedulers
            .values()
            .filter_map(|model| model.next_due(inner.now))
            .chain(inner.schedulers.values().filter_map(|model| {
                model
                    .retired
                    .last()
                    .and_then(|(address, _)| model.returns(address))
                    .map(|(at, _)| at)
                    .filter(|at| *at > inner.now)
            }))
            .min()
    }

    /// Everything that was lost by a worker's going and need not have been.
    pub fn lost(&self) -> Vec<String> {
        let inner = self.inner();
        inner.lost.iter().chain(inner.schedulers.values().flat_map(|model| &model.lost)).cloned().collect()
    }

    /// The hosts that have a scheduler.
    pub fn hosts(&self) -> Vec<String> {
        self.inner().schedulers.keys().cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `call` on the scheduler that is meant, unless it is to fail.
    fn call<T>(
        &self,
        at: &SchedulerAddress,
        path: &str,
        call: impl FnOnce(&mut Model, &Behaviour, Option<Fault>, Timestamp) -> T,
    ) -> Result<T, SchedulerError> {
        let url = format!("scripted://{}{path}", at.host);
        let mut inner = self.inner();
        let Inner { now, schedulers, behaviours, .. } = &mut *inner;
        let behaviour = behaviours.entry(at.host.clone()).or_default();
        let number = behaviour.calls;
        behaviour.calls += 1;
        let fault = behaviour.faults.remove(&number);
        let refused =
            || SchedulerError::Unreachable { url: url.clone(), source: "connection refused".into() };
        let model = schedulers.get_mut(&at.host).ok_or_else(refused)?;
        match fault.and_then(|fault| Some((fault, fault.error(url.clone())?))) {
            Some((Fault::AnswerLost, error)) => {
                call(model, behaviour, None, *now);
                Err(error)
            }
            Some((_, error)) => Err(error),
            None => Ok(call(model, behaviour, fault, *now)),
        }
    }
}

/// What the scheduler of another cluster says.
fn another(workers: bool) -> Snapshot {
    let stranger = Worker {
        name: "somebody-elses-worker".into(),
        stored_bytes: Some(0),
        tasks: Some(0),
        running: Some(0),
        status: WorkerStatus::Running,
        heartbeat: None,
    };
    let workers = workers.then(|| ("tcp://192.0.2.1:40000".to_owned(), stranger));
    Snapshot {
        id: Some("Scheduler-of-another-cluster".into()),
        staged: true,
        workers: workers.into_iter().collect(),
    }
}

impl Scheduler for ScriptedScheduler {
    fn snapshot<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<Snapshot, SchedulerError>> {
        let answer = |model: &mut Model, behaviour: &Behaviour, fault: Option<Fault>, now| match fault {
            Some(Fault::AnotherCluster) => another(true),
            Some(Fault::AnotherEmptyCluster) => another(false),
            Some(Fault::Lies) => {
                model.lie();
                let mut snapshot = model.snapshot(!behaviour.http_only, now);
                for worker in snapshot.workers.values_mut() {
                    worker.stored_bytes = Some(0);
                    worker.tasks = Some(0);
                    worker.running = worker.running.map(|_| 0);
                }
                snapshot
            }
            _ => model.snapshot(!behaviour.http_only, now),
        };
        async move { self.call(at, "/workers", answer) }.boxed()
    }

    fn retire<'a>(
        &'a self,
        at: &'a SchedulerAddress,
        workers: &'a [String],
        how: Retire,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SchedulerError>> {
        async move {
            self.call(at, "/retire", |model, behaviour, fault, now| match fault {
                Some(Fault::AnotherCluster | Fault::AnotherEmptyCluster) => BTreeSet::new(),
                _ if behaviour.http_only && how == Retire::Begin => BTreeSet::new(),
                Some(Fault::RetiresFewer) => model.retire(&workers[..workers.len() / 2], how, now),
                _ => model.retire(workers, how, now),
            })
        }
        .boxed()
    }

    fn desired_workers<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<u32, SchedulerError>> {
        async move { self.call(at, "/desired", |model, _, _, _| model.desired_workers) }.boxed()
    }

    fn idle_since<'a>(
        &'a self,
        at: &'a SchedulerAddress,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, SchedulerError>> {
        async move { self.call(at, "/idle", |model, _, _, _| model.idle_since) }.boxed()
    }

    fn path(&self, at: &SchedulerAddress) -> Option<Path> {
        let http = self.inner().behaviours.get(&at.host).is_some_and(|behaviour| behaviour.http_only);
        Some(if http { Path::Http } else { Path::Comm })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn mk_address() -> SchedulerAddress {
        SchedulerAddress {
            host: "ex".into(),
            comm_port: 8786,
            http_port: Some(8787),
            service: "ns/ex".into(),
            tls: None,
        }
    }

    #[tokio::test]
    async fn a_stubborn_worker_stays_and_an_unknown_one_is_left_out() {
        let scheduler = ScriptedScheduler::new();
        scheduler.set("ex", |model| {
            model.join("a", "wa");
            model.join("b", "wb");
            model.stubborn.insert("b".into());
        });
        let asked = ["a".into(), "b".into(), "c".into()];
        let retired = scheduler.retire(&mk_address(), &asked, Retire::Finish).await.unwrap();
        assert_eq!(retired.into_iter().collect::<Vec<_>>(), ["a"]);
        let left = scheduler.snapshot(&mk_address()).await.unwrap();
        assert_eq!(left.workers.into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test]
    async fn a_lost_answer_has_done_its_work() {
        let scheduler = ScriptedScheduler::new();
        scheduler.set("ex", |model| model.join("a", "wa"));
        scheduler.fail("ex", [Fault::AnswerLost]);
        assert!(scheduler.retire(&mk_address(), &["a".into()], Retire::Finish).await.is_err());
        assert!(scheduler.snapshot(&mk_address()).await.unwrap().workers.is_empty());
    }

    #[tokio::test]
    async fn a_scheduler_that_was_never_made_refuses() {
        let error = ScriptedScheduler::new().idle_since(&mk_address()).await.unwrap_err();
        assert!(matches!(error, SchedulerError::Unreachable { .. }), "{error}");
    }

    #[test]
    fn what_a_worker_takes_along_is_noticed() {
        let second = SignedDuration::from_secs(1);
        let at = |seconds| Timestamp::UNIX_EPOCH + second * seconds;
        let mut model = Model::default();
        model.join("a", "wa");
        model.submit(second, 10);
        model.submit(second * 60, 10);
        model.work(at(0));
        model.work(at(1));
        // The first result is held, the second task runs: neither may go with the worker.
        assert_eq!(model.results(), (1, 2));
        assert!(model.retire(&["a".into()], Retire::Begin, at(1)).is_empty(), "there is no other worker");
        model.join("b", "wb");
        assert_eq!(model.retire(&["a".into()], Retire::Begin, at(1)).len(), 1);
        model.work(at(61));
        assert_eq!(model.retire(&["a".into()], Retire::Finish, at(61)).len(), 1);
        assert_eq!((model.results(), model.lost.len()), ((2, 2), 0));
        model.lose("b");
        assert_eq!((model.results(), model.lost.len()), ((0, 2), 2));
    }
}
