//! The Dask scheduler, seen from outside: the second half of the world, beside the [`Store`](crate::store).
//!
//! A snapshot is observed like an object, and a command is a step like a write. Every call names the scheduler it means, so
//! one value serves all clusters and holds nothing about any of them.
//!
//! - [`address`]: where a cluster's scheduler listens, a pure function of its Service.
//! - [`http`]: Dask's HTTP API. Half of it is off by default in Dask; what can be had without it is had.
//! - [`scripted`]: a model for tests, which answers, fails and retires as it is told.

pub mod address;
pub mod http;
pub mod scripted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

pub use address::SchedulerAddress;

/// The questions and commands the operator has for a scheduler. Object safe.
///
/// No call is repeated by an implementation: who asked decides when to ask again. Every call ends within a bounded time.
pub trait Scheduler: Send + Sync {
    /// The workers that are registered now.
    fn snapshot<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<Snapshot, SchedulerError>>;

    /// Moves what these workers (by address) hold to others and lets them go. Returns the addresses whose retirement the
    /// scheduler has confirmed, which may be fewer: a worker whose data found no place stays and keeps working, and one
    /// that the scheduler does not know is left out too.
    ///
    /// After an error nothing is known about any of them. A later snapshot tells: who is not in it holds nothing.
    fn retire<'a>(
        &'a self,
        at: &'a SchedulerAddress,
        workers: &'a [String],
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SchedulerError>>;

    /// How many workers the scheduler would like to have for the work it knows of.
    fn desired_workers<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<u32, SchedulerError>>;

    /// Since when the scheduler has had nothing to do, by its own clock; `None` while it is busy.
    fn idle_since<'a>(
        &'a self,
        at: &'a SchedulerAddress,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, SchedulerError>>;
}

/// What a scheduler said about its workers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By address, such as `tcp://10.244.0.7:43211`.
    pub workers: BTreeMap<String, Worker>,
}

impl Snapshot {
    /// The worker with this name (the standard command names a worker as its carrier is named) and its address.
    pub fn by_name(&self, name: &str) -> Option<(&str, &Worker)> {
        self.workers
            .iter()
            .find(|(_, worker)| worker.name == name)
            .map(|(address, worker)| (address.as_str(), worker))
    }
}

/// A registered worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The name it registered with; its address if it was given none.
    pub name: String,
    /// Bytes of results it keeps, in memory and spilled. `None` where the scheduler's answer does not say.
    pub stored_bytes: Option<u64>,
    /// Tasks it runs or has been given. `None` where the scheduler's answer does not say.
    pub tasks: Option<u64>,
    /// Its state of health as far as the answer says.
    pub status: WorkerStatus,
}

/// `distributed.core.Status`, as far as it makes a difference here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerStatus {
    /// Takes tasks.
    #[default]
    Running,
    /// Takes no more tasks: its memory is nearly full.
    Paused,
    /// Is being retired or is on its way out.
    Closing,
}

/// Why a scheduler did not answer, each with what the reader can do.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// The cluster's Service names no port that could be the dashboard's.
    #[error(
        "service {service} has no port for the scheduler's HTTP server: name one `http-dashboard` or use 8787"
    )]
    NoPort {
        /// The Service.
        service: String,
    },
    /// Dask serves this part of its HTTP API only when told to.
    #[error(
        "the scheduler does not serve {url}: set DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES so that it includes \
         distributed.http.scheduler.api"
    )]
    HttpApiOff {
        /// What was asked for.
        url: String,
    },
    /// Nobody listens there, the name does not resolve, or the connection broke.
    #[error("cannot reach the scheduler at {url}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The connection's own complaint.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It listens and does not answer.
    #[error("the scheduler gave no answer to {url} within {} s", after.as_secs_f32())]
    TimedOut {
        /// What was asked for.
        url: String,
        /// How long it was given.
        after: Duration,
    },
    /// It answered that it failed.
    #[error("the scheduler answered {status} to {url}: {body}")]
    Failed {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer.
        body: String,
    },
    /// It answered something else than a Dask scheduler does: another program, or a version that is not understood.
    #[error("the answer to {url} is not a Dask scheduler's: {reason}")]
    Garbled {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl SchedulerError {
    /// Whether asking again later may help without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::NoPort { .. } | Self::HttpApiOff { .. })
    }
}
