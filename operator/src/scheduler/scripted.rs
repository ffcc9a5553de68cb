//! A scheduler made of answers: for tests and simulations. Deterministic, with no time and no I/O of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Path, Retire, Scheduler, SchedulerAddress, SchedulerError, Snapshot, Worker, WorkerStatus};

/// Schedulers by host, each a [`Model`] that the test changes as it likes. Clones share the models.
#[derive(Clone, Debug, Default)]
pub struct ScriptedScheduler {
    models: Arc<Mutex<BTreeMap<String, Model>>>,
}

/// What one scheduler knows and how it behaves.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The registered workers, by address.
    pub workers: BTreeMap<String, Worker>,
    /// Workers that stay when asked to retire, as when their data finds no place.
    pub stubborn: BTreeSet<String>,
    /// It tells of its workers but serves no way to retire them, as Dask does by default.
    pub retire_off: bool,
    /// The answer to how many workers are wanted.
    pub desired_workers: u32,
    /// The answer to since when there has been nothing to do.
    pub idle_since: Option<Timestamp>,
    /// The next calls fail so, one each.
    pub faults: VecDeque<Fault>,
    /// Every worker retired so far, in order.
    pub retired: Vec<String>,
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
}

impl ScriptedScheduler {
    /// No scheduler answers until [`set`](Self::set) makes one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes the scheduler at this host, making it first if there is none, and returns what `change` returns.
    pub fn set<T>(&self, host: &str, change: impl FnOnce(&mut Model) -> T) -> T {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        change(models.entry(host.to_owned()).or_default())
    }

    /// The scheduler at this host stops: its pod is gone.
    pub fn remove(&self, host: &str) {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }

    /// Does `call` on the scheduler that is meant, unless it is to fail.
    fn call<T>(
        &self,
        at: &SchedulerAddress,
        path: &str,
        call: impl FnOnce(&mut Model) -> T,
    ) -> Result<T, SchedulerError> {
        let url = format!("scripted://{}{path}", at.host);
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(model) = models.get_mut(&at.host) else { return Err(Fault::Refused.error(url)) };
        match model.faults.pop_front() {
            None => Ok(call(model)),
            Some(fault) => {
                if fault == Fault::AnswerLost {
                    call(model);
                }
                Err(fault.error(url))
            }
        }
    }
}

impl Fault {
    fn error(self, url: String) -> SchedulerError {
        match self {
            Self::Refused => SchedulerError::Unreachable { url, source: "connection refused".into() },
            Self::Hangs | Self::AnswerLost => {
                SchedulerError::TimedOut { url, after: Duration::from_secs(10) }
            }
            Self::HttpApiOff => SchedulerError::HttpApiOff { url },
            Self::Failed => SchedulerError::Failed { url, answer: "500 Internal Server Error".into() },
            Self::Garbled => SchedulerError::Garbled { url, reason: "not JSON".into() },
        }
    }
}

impl Model {
    /// A worker registers.
    pub fn join(&mut self, address: &str, name: &str) {
        let worker = Worker {
            name: name.to_owned(),
            stored_bytes: Some(0),
            tasks: Some(0),
            running: Some(0),
            heartbeat: None,
            status: WorkerStatus::Running,
        };
        self.workers.insert(address.to_owned(), worker);
    }

    /// A worker is gone without a word.
    pub fn lose(&mut self, address: &str) {
        self.workers.remove(address);
    }

    fn retire(&mut self, addresses: &[String]) -> BTreeSet<String> {
        let mut confirmed = BTreeSet::new();
        for address in addresses {
            if !self.stubborn.contains(address) && self.workers.remove(address).is_some() {
                self.retired.push(address.clone());
                confirmed.insert(address.clone());
            }
        }
        confirmed
    }
}

impl Scheduler for ScriptedScheduler {
    fn snapshot<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<Snapshot, SchedulerError>> {
        async move {
            self.call(at, "/workers", |model| Snapshot {
                id: None,
                staged: false,
                workers: model.workers.clone(),
            })
        }
        .boxed()
    }

    fn retire<'a>(
        &'a self,
        at: &'a SchedulerAddress,
        workers: &'a [String],
        how: Retire,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SchedulerError>> {
        let off = || SchedulerError::HttpApiOff { url: format!("scripted://{}/retire", at.host) };
        async move {
            if how == Retire::Begin {
                return Ok(BTreeSet::new());
            }
            self.call(at, "/retire", |model| (!model.retire_off).then(|| model.retire(workers)))?
                .ok_or_else(off)
        }
        .boxed()
    }

    fn desired_workers<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<u32, SchedulerError>> {
        async move { self.call(at, "/desired", |model| model.desired_workers) }.boxed()
    }

    fn idle_since<'a>(
        &'a self,
        at: &'a SchedulerAddress,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, SchedulerError>> {
        async move { self.call(at, "/idle", |model| model.idle_since) }.boxed()
    }

    fn path(&self, _: &SchedulerAddress) -> Option<Path> {
        Some(Path::Comm)
    }
}

#[cfg(test)]
mod tests {
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
        let retired = scheduler
            .retire(&mk_address(), &["a".into(), "b".into(), "c".into()], Retire::Finish)
            .await
            .unwrap();
        assert_eq!(retired.into_iter().collect::<Vec<_>>(), ["a"]);
        let left = scheduler.snapshot(&mk_address()).await.unwrap();
        assert_eq!(left.workers.into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test]
    async fn a_lost_answer_has_done_its_work() {
        let scheduler = ScriptedScheduler::new();
        scheduler.set("ex", |model| {
            model.join("a", "wa");
            model.faults.push_back(Fault::AnswerLost);
        });
        assert!(scheduler.retire(&mk_address(), &["a".into()], Retire::Finish).await.is_err());
        assert!(scheduler.snapshot(&mk_address()).await.unwrap().workers.is_empty());
    }

    #[tokio::test]
    async fn a_scheduler_that_was_never_made_refuses() {
        let error = ScriptedScheduler::new().idle_since(&mk_address()).await.unwrap_err();
        assert!(matches!(error, SchedulerError::Unreachable { .. }), "{error}");
    }
}
