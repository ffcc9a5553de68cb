//! The scheduler through Dask's HTTP API (`distributed/http/scheduler/api.py`), which is served only where Dask's configuration
//! names `distributed.http.scheduler.api`.
//!
//! It tells names and addresses of workers, but not what each of them holds or runs, and it retires in one go.

mod client;

use std::collections::BTreeSet;
use std::time::Duration;

use ::http::Method;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::client::Client;
use super::{Path, Retire, Scheduler, SchedulerAddress, SchedulerError, Snapshot, Worker, WorkerStatus};

/// How long a question may take: a scheduler's event loop can be busy for seconds.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long retiring may take: the workers' data is copied to others before the answer comes.
const RETIRE_MAX: Duration = Duration::from_mins(1);

/// Asks schedulers over HTTP. Cheap to clone; keeps no connection open between calls.
#[derive(Clone, Debug)]
pub struct HttpScheduler {
    client: Client,
}

impl HttpScheduler {
    /// With the time limits that suit production.
    pub fn new() -> Self {
        Self { client: Client::new() }
    }

    /// Whether `/api/v1` is served.
    pub async fn serves_api(&self, at: &SchedulerAddress) -> Result<bool, SchedulerError> {
        // Text, no JSON: that it is served says enough. Another program that answers anything to everything is found out by
        // the next question.
        match self.get(at, "/api/v1").await {
            Ok(_) | Err(SchedulerError::Garbled { .. }) => Ok(true),
            Err(SchedulerError::HttpApiOff { .. } | SchedulerError::NoPort { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, at: &SchedulerAddress, path: &str) -> Result<Value, SchedulerError> {
        self.client.json(Method::GET, at, path, None, ANSWER_MAX).await
    }
}

impl Default for HttpScheduler {
    fn default() -> Self {
        Self::new()
    }
}

impl Scheduler for HttpScheduler {
    fn snapshot<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<Snapshot, SchedulerError>> {
        async move {
            let path = "/api/v1/get_workers";
            let answer = self.get(at, path).await?;
            // Only to know more: a configuration that names the API's routes alone does not serve it.
            let counts = self.get(at, "/json/counts.json").await.unwrap_or_default();
            listed(&answer, &counts).ok_or_else(|| garbled(at, path, "no list of workers"))
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
            if workers.is_empty() || how == Retire::Begin {
                // The HTTP API knows only the whole: what these workers run begins anew elsewhere.
                return Ok(BTreeSet::new());
            }
            let path = "/api/v1/retire_workers";
            let body = json!({"workers": workers});
            let answer = self.client.json(Method::POST, at, path, Some(&body), RETIRE_MAX).await?;
            let retired = answer.as_object().ok_or_else(|| garbled(at, path, "not a map of workers"))?;
            Ok(workers.iter().filter(|worker| retired.contains_key(*worker)).cloned().collect())
        }
        .boxed()
    }

    fn desired_workers<'a>(&'a self, at: &'a SchedulerAddress) -> BoxFuture<'a, Result<u32, SchedulerError>> {
        async move {
            let path = "/api/v1/adaptive_target";
            let answer = self.get(at, path).await?;
            let wanted = answer["workers"].as_u64().and_then(|wanted| u32::try_from(wanted).ok());
            wanted.ok_or_else(|| garbled(at, path, "no number \"workers\""))
        }
        .boxed()
    }

    fn idle_since<'a>(
        &'a self,
        at: &'a SchedulerAddress,
    ) -> BoxFuture<'a, Result<Option<Timestamp>, SchedulerError>> {
        async move {
            let path = "/api/v1/check_idle";
            let answer = self.get(at, path).await?;
            match answer.get("idle_since") {
                Some(Value::Null) => Ok(None),
                Some(seconds) => seconds
                    .as_f64()
                    .and_then(|seconds| Timestamp::from_millisecond((seconds * 1000.0) as i64).ok())
                    .map(Some)
                    .ok_or_else(|| garbled(at, path, "idle_since is not a time")),
                None => Err(garbled(at, path, "no idle_since")),
            }
        }
        .boxed()
    }

    fn path(&self, _: &SchedulerAddress) -> Option<Path> {
        Some(Path::Http)
    }
}

/// The workers of `get_workers`. What no worker has at all, by the sums in `counts`, none of them has.
fn listed(answer: &Value, counts: &Value) -> Option<Snapshot> {
    let none = |key: &str| (counts[key].as_u64() == Some(0)).then_some(0);
    let worker = |entry: &Value| {
        let address = entry["address"].as_str()?.to_owned();
        let worker = Worker {
            name: name(&entry["name"]).unwrap_or_else(|| address.clone()),
            stored_bytes: none("bytes"),
            tasks: none("processing"),
            running: none("processing"),
            status: WorkerStatus::Running,
            heartbeat: None,
        };
        Some((address, worker))
    };
    let workers = answer["workers"].as_array()?.iter().map(worker).collect::<Option<_>>()?;
    Some(Snapshot { id: None, staged: false, workers })
}

/// Dask lets a worker be called by any value; whoever gave it a number finds it by the number's text.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(name) => Some(name.clone()),
        other => Some(other.to_string()),
    }
}

fn garbled(at: &SchedulerAddress, path: &str, reason: &str) -> SchedulerError {
    SchedulerError::Garbled { url: client::url(at, path).unwrap_or_default(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
