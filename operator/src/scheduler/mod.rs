//! The Dask scheduler, seen from outside: the second half of the world, beside the [`Store`](crate::store).
//!
//! A snapshot is observed like an object, and a command is a step like a write. Every call names the scheduler it means, so
//! one value serves all clusters.
//!
//! - [`address`]: where a cluster's scheduler listens, a pure function of its Service.
//! - [`comm`]: Dask's own protocol, which every scheduler speaks.
//! - [`http`]: Dask's HTTP API. Half of it is off by default in Dask; what can be had without it is had.
//! - [`dask`]: chooses between the two, for each cluster and question.
//! - [`scripted`], [`model`]: for tests, schedulers with tasks and results, which fail as they are told.

pub mod address;
pub mod comm;
pub mod dask;
pub mod http;
pub mod model;
pub mod scripted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

pub use address::{SchedulerAddress, TlsSecret};

/// The questions and commands the operator has for a scheduler. Object safe.
///
/// No call is repeated by an implementation: who asked decides when to ask again. Every call ends within a bounded time.
pub trait Scheduler: Send + Sync {
    /// The workers that are registered now.
    fn snapshot<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<Snapshot, SchedulerError>>;

    /// Moves what these workers (by address) hold to others and, at the end, lets them go. Returns the addresses for which the
    /// scheduler has confirmed it, which may be fewer: a worker whose data found no place stays and keeps working, and one
    /// that the scheduler does not know is left out too.
    ///
    /// After an error nothing is known about any of them. A later snapshot tells: who is not in it holds nothing.
    fn retire<'a>(
        &'a self,
        at: &'a SchedulerAddress,
        workers: &'a [String],
        how: Retire,
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SchedulerError>>;

    /// How many workers the scheduler would like to have for the work it knows of.
    fn desired_workers<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<u32, SchedulerError>>;

    /// Since when the scheduler has had nothing to do, by its own clock; `None` while it is busy.
    fn idle_since<'a>(
        &'a self,
        at: &'a SchedulerAddress,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, SchedulerError>>;

    /// By which path this scheduler has been asked last; `None` before the first answer.
    fn path(&self, at: &SchedulerAddress) -> Option<Path>;
}

/// A way to a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// The HTTP API, `/api/v1`.
    Http,
    /// Dask's own protocol.
    Comm,
}

impl Path {
    /// CamelCase, for the reason of a condition.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Http => "Http",
            Self::Comm => "Comm",
        }
    }
}

/// The two halves of retiring a worker; see [`comm`] for why there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retire {
    /// It gets no more tasks and what it holds is moved; what it is running goes on.
    Begin,
    /// What came since is moved, and the scheduler forgets it.
    Finish,
}

/// What a scheduler said about its workers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What the scheduler calls itself: another id means another process, which knows nothing of what the earlier one knew.
    /// `None` where the answer does not say.
    pub id: Option<String>,
    /// Retiring can be begun and finished apart by whoever gave this answer, and it says what workers run. Otherwise
    /// [`Retire::Begin`] does nothing.
    pub staged: bool,
    /// By address, such as `tcp://10.244.0.7:43211`.
    pub workers: BTreeMap<String, Worker>,
}

/// A registered worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The name it registered with; its address if it was given none.
    pub name: String,
    /// Bytes of results it keeps, in memory and spilled. `None` where the scheduler's answer does not say.
    pub stored_bytes: Option<u64>,
    /// Tasks it has been given and not ended: those it runs, and those it has not begun. `None` where the answer does not say.
    pub tasks: Option<u64>,
    /// Of these, the tasks it runs, as of its last heartbeat. `None` where the answer does not say.
    pub running: Option<u64>,
    /// Its state of health as far as the answer says.
    pub status: WorkerStatus,
    /// When its last heartbeat came, by the scheduler's clock.
    pub heartbeat: Option<Timestamp>,
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
    #[error("the scheduler failed to answer {url}: {answer}")]
    Failed {
        /// What was asked for.
        url: String,
        /// The beginning of the answer.
        answer: String,
    },
    /// It answered something else than a Dask scheduler does.
    #[error("the answer to {url} is not a Dask scheduler's: {reason}")]
    Garbled {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a Dask scheduler, of a version that does not keep to what the operator knows.
    #[error(
        "distributed {version} answers {url} in a form this operator does not know ({reason}): use a version from 2023.9 \
         on, or a newer operator"
    )]
    Unsupported {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
        /// The version the scheduler names.
        version: String,
    },
    /// The Secret for TLS is missing or unusable.
    #[error("Secret {secret}, which the cluster names for TLS, cannot be used: {reason}")]
    Tls {
        /// The Secret.
        secret: TlsSecret,
        /// What is wrong with it; nothing of its contents.
        reason: String,
    },
}

impl SchedulerError {
    /// CamelCase, for the reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoPort { .. } => "NoPort",
            Self::HttpApiOff { .. } => "HttpApiOff",
            Self::Unreachable { .. } => "Unreachable",
            Self::TimedOut { .. } => "TimedOut",
            Self::Failed { .. } => "Failed",
            Self::Garbled { .. } => "NotDask",
            Self::Unsupported { .. } => "UnsupportedVersion",
            Self::Tls { .. } => "TlsSecret",
        }
    }

    /// The message with its causes, on one line.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
