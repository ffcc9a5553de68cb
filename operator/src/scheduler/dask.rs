//! Which path serves which question: the HTTP API where Dask serves it, else the comm protocol.
//!
//! | question | first | then |
//! |---|---|---|
//! | workers wanted, idle since | HTTP API where it is on | comm |
//! | workers, retiring | comm | HTTP |
//!
//! Only the comm protocol tells what each worker holds and runs, and can let a worker end what it runs before it goes. So the
//! HTTP API is asked for these only where the other cannot be had, for instance because a network policy lets no more
//! through.
//!
//! Whether the API is on is remembered for each Service, so that a poll costs one request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

use super::comm::CommScheduler;
use super::http::HttpScheduler;
use super::{Path, Retire, Scheduler, SchedulerAddress, SchedulerError, Snapshot};
use crate::store::Store;

/// How long it is believed that the HTTP API is on or off: it changes only with the scheduler's process.
const KNOWN_FOR: Duration = Duration::from_mins(5);
/// Services remembered at once; more begin anew.
const SERVICES_MAX: usize = 20_000;

/// The two ways to a scheduler. Cheap to clone; clones remember together.
#[derive(Clone, Debug)]
pub struct DaskScheduler {
    http: HttpScheduler,
    comm: CommScheduler,
    known: Arc<Mutex<BTreeMap<SchedulerAddress, Known>>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    http: bool,
    until: Instant,
    served: Option<Path>,
}

impl DaskScheduler {
    /// Reads the Secrets of clusters that use TLS from `store`; without one, such clusters cannot be asked.
    pub fn new(store: Option<Arc<dyn Store>>) -> Self {
        Self { http: HttpScheduler::new(), comm: CommScheduler::new(store), known: Arc::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<SchedulerAddress, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the HTTP API is to be asked first.
    async fn http_is_on(&self, at: &SchedulerAddress) -> bool {
        if let Some(known) = self.known().get(at).filter(|known| known.until > Instant::now()) {
            return known.http;
        }
        let http = self.http.serves_api(at).await.unwrap_or(false);
        let mut known = self.known();
        if known.len() >= SERVICES_MAX {
            known.clear();
        }
        let served = known.get(at).and_then(|known| known.served);
        known.insert(at.clone(), Known { http, until: Instant::now() + KNOWN_FOR, served });
        http
    }

    fn http_is_known_to_be_on(&self, at: &SchedulerAddress) -> bool {
        self.known().get(at).is_some_and(|known| known.http)
    }

    fn served(&self, at: &SchedulerAddress, path: Path) {
        if let Some(known) = self.known().get_mut(at) {
            known.served = Some(path);
        }
    }

    /// What did not go by HTTP may do so again later, but not before it is looked at anew.
    fn http_failed(&self, at: &SchedulerAddress) {
        if let Some(known) = self.known().get_mut(at) {
            known.http = false;
        }
    }

    /// Asks by HTTP where that is on, else or if it fails by comm.
    async fn either<'a, T>(
        &'a self,
        at: &'a SchedulerAddress,
        http: BoxFuture<'a, Result<T, SchedulerError>>,
        comm: BoxFuture<'a, Result<T, SchedulerError>>,
    ) -> Result<T, SchedulerError> {
        if self.http_is_on(at).await {
            match http.await {
                Ok(answer) => {
                    self.served(at, Path::Http);
                    return Ok(answer);
                }
                Err(_) => self.http_failed(at),
            }
        }
        let answer = comm.await?;
        self.served(at, Path::Comm);
        Ok(answer)
    }
}

impl Scheduler for DaskScheduler {
    fn snapshot<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<Snapshot, SchedulerError>> {
        async move {
            let on = self.http_is_on(at).await;
            match self.comm.snapshot(at).await {
                Ok(snapshot) => {
                    self.served(at, if on { Path::Http } else { Path::Comm });
                    Ok(snapshot)
                }
                // Without the API `/json` may still list the workers, but nobody could retire them.
                Err(error) if !on => Err(error),
                Err(error) => match self.http.snapshot(at).await {
                    Ok(snapshot) => {
                        self.served(at, Path::Http);
                        Ok(snapshot)
                    }
                    Err(_) => Err(error),
                },
            }
        }
        .boxed()
    }

    fn retire<'a>(
        &'a self,
        at: &'a SchedulerAddress,
        workers: &'a [String],
        how: Retire,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SchedulerError>> {
        async move {
            match self.comm.retire(at, workers, how).await {
                Err(error @ (SchedulerError::Unreachable { .. } | SchedulerError::Tls { .. }))
                    if how == Retire::Finish && self.http_is_known_to_be_on(at) =>
                {
                    tracing::debug!(%error, "retiring by HTTP");
                    self.http.retire(at, workers, how).await
                }
                answer => answer,
            }
        }
        .boxed()
    }

    fn desired_workers<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<u32, SchedulerError>> {
        self.either(at, self.http.desired_workers(at), self.comm.desired_workers(at)).boxed()
    }

    fn idle_since<'a>(
        &'a self,
        at: &'a SchedulerAddress,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, SchedulerError>> {
        self.either(at, self.http.idle_since(at), self.comm.idle_since(at)).boxed()
    }

    fn path(&self, at: &SchedulerAddress) -> Option<Path> {
        self.known().get(at).and_then(|known| known.served)
    }
}
