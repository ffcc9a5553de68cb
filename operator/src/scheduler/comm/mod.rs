//! The scheduler through Dask's own comm protocol, which every scheduler speaks: `tcp://` and `tls://`.
//!
//! | module | what it is |
//! |---|---|
//! | [`frame`] | framing: bytes in, messages out; pure |
//! | [`message`] | MessagePack: operations, the handshake, replies; pure |
//! | [`reply`] | from replies to a [`Snapshot`]; pure |
//! | [`connection`] | the asynchronous shell: connect, shake hands, call |
//! | [`tls`] | credentials from a Secret |
//!
//! # The protocol
//!
//! Seen with distributed 2023.9, 2024.8, 2025.4 and 2026.8, to which `operator/tests/contract` holds this module.
//!
//! - Both sides send a handshake first: `{"compression", "python", "pickle-protocol"}`. Then the client sends a map with `op` and
//!   the arguments, and the scheduler replies with the bare value. Calls on a connection follow one another; there are no
//!   numbers for them.
//! - A handler that fails replies `{"status": "uncaught-error", "exception_text", …}`. An operation that is not known replies
//!   nil. So nil in reply to an operation that never gives nil means a version without it.
//! - Strings are UTF-8; keys of maps may be lists; whatever is not plain data is opaque (see [`message`]).
//! - Closing the connection does not cancel what was asked for.
//!
//! # Retiring without losing work
//!
//! `retire_workers` moves what only the retired workers hold to others and, with `remove`, forgets them. What they are running
//! then begins anew elsewhere, and a result that came while it was moving data may be lost with them and computed again (so
//! the comment in `RetireWorker.done`, `distributed/active_memory_manager.py`). So it is done in two calls:
//!
//! 1. [`Retire::Begin`], `remove=False`: the worker becomes `closing_gracefully`. It gets no more tasks and begins none of those
//!    it has been given; those it is at go on. What it holds is moved.
//! 2. [`Retire::Finish`], `remove=True`, once it runs nothing: the results that came since are moved, and it is forgotten. Tasks
//!    that it was given and did not begin go elsewhere. Its process ends by itself.
//!
//! Both replies name the workers that were retired. One whose data finds no place (no other worker runs) or that holds an
//! actor is left out and goes back to work.

mod connection;
pub mod frame;
pub mod message;
mod reply;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use self::connection::Connection;
use self::message::{Anything, ByWorker, Identity, Length, Operation, Versions};
use self::tls::Credentials;
use super::{Path, Retire, Scheduler, SchedulerAddress, SchedulerError, Snapshot};
use crate::store::Store;

/// How long a question may take: a scheduler's event loop can be busy for seconds.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the end of a retirement may take: what came since its beginning is copied to others before the answer comes.
const FINISH_MAX: Duration = Duration::from_mins(1);

/// Asks schedulers over the comm protocol. Cheap to clone; keeps no connection open between calls.
#[derive(Clone, Debug)]
pub struct CommScheduler {
    credentials: Arc<Credentials>,
}

impl CommScheduler {
    /// Reads the Secrets of clusters that use TLS from `store`; without one, such clusters cannot be asked.
    pub fn new(store: Option<Arc<dyn Store>>) -> Self {
        Self { credentials: Arc::new(Credentials::new(store)) }
    }

    /// The version of `distributed` that the scheduler runs.
    pub async fn version(&self, at: &SchedulerAddress) -> Result<String, SchedulerError> {
        let versions: Versions = self.ask(at, Operation::Versions {}, ANSWER_MAX).await?;
        let version =
            versions.packages.into_iter().find(|(name, _)| name == "distributed").and_then(|(_, v)| v);
        version.ok_or_else(|| SchedulerError::Garbled {
            url: format!("{at} versions"),
            reason: "it does not name distributed".into(),
        })
    }

    async fn ask<T: DeserializeOwned + Send>(
        &self,
        at: &SchedulerAddress,
        operation: Operation<'_>,
        limit: Duration,
    ) -> Result<T, SchedulerError> {
        Connection::open(at, &self.credentials).await?.call(operation, limit).await
    }

    /// A reply that is none of this contract: the version is named, since it is the likeliest reason.
    async fn explained<T>(
        &self,
        at: &SchedulerAddress,
        result: Result<T, SchedulerError>,
    ) -> Result<T, SchedulerError> {
        let Err(SchedulerError::Garbled { url, reason }) = result else { return result };
        Err(match self.version(at).await {
            Ok(version) => SchedulerError::Unsupported { url, reason, version },
            Err(_) => SchedulerError::Garbled { url, reason },
        })
    }

    async fn identity(&self, at: &SchedulerAddress) -> Result<Snapshot, SchedulerError> {
        let mut connection = Connection::open(at, &self.credentials).await?;
        let identity: Identity = connection.call(Operation::Identity {}, ANSWER_MAX).await?;
        let closing = reply::closing(&identity);
        let processing: Option<BTreeMap<String, Length>> = if closing.is_empty() {
            None
        } else {
            // One of them may be gone by now, and then the call fails: the next snapshot tells.
            let operation = Operation::Processing { workers: &closing };
            match connection.call::<ByWorker<Length>>(operation, ANSWER_MAX).await {
                Ok(processing) => Some(processing.0),
                Err(SchedulerError::Failed { .. }) => None,
                Err(error) => return Err(error),
            }
        };
        Ok(reply::snapshot(identity, processing.as_ref()))
    }
}

impl Scheduler for CommScheduler {
    fn snapshot<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<Snapshot, SchedulerError>> {
        async move {
            let snapshot = self.identity(at).await;
            self.explained(at, snapshot).await
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
            if workers.is_empty() {
                return Ok(BTreeSet::new());
            }
            let (remove, limit) = match how {
                Retire::Begin => (false, ANSWER_MAX),
                Retire::Finish => (true, FINISH_MAX),
            };
            let operation = Operation::RetireWorkers { workers, close_workers: false, remove };
            let retired = self.ask::<ByWorker<Anything>>(at, operation, limit).await;
            let retired = self.explained(at, retired).await?.0;
            Ok(workers.iter().filter(|worker| retired.contains_key(*worker)).cloned().collect())
        }
        .boxed()
    }

    fn desired_workers<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<u32, SchedulerError>> {
        async move {
            let wanted = self.ask(at, Operation::AdaptiveTarget {}, ANSWER_MAX).await;
            self.explained(at, wanted).await
        }
        .boxed()
    }

    fn idle_since<'a>(
        &'a self,
        at: &'a SchedulerAddress,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, SchedulerError>> {
        async move {
            let since: Result<Option<f64>, _> = self.ask(at, Operation::CheckIdle {}, ANSWER_MAX).await;
            Ok(self.explained(at, since).await?.and_then(reply::time))
        }
        .boxed()
    }

    fn path(&self, _: &SchedulerAddress) -> Option<Path> {
        Some(Path::Comm)
    }
}

#[cfg(test)]
mod tests;
