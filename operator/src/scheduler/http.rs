//! The scheduler through Dask's HTTP server (`distributed/http/scheduler/{api,json}.py`).
//!
//! `/json/*` is always served; `/api/v1/*` only where Dask's configuration names `distributed.http.scheduler.api`. So the
//! list of workers and the number of workers wanted are always to be had, while retiring and idleness need the API.

mod client;

use std::collections::BTreeSet;
use std::time::Duration;

use ::http::Method;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::client::Client;
use super::{Scheduler, SchedulerAddress, SchedulerError, Snapshot, Worker, WorkerStatus};

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
            // `get_workers` says less than `identity.json`, but always works: Dask fails to encode the latter once workers
            // have run tasks (their metrics have keys that JSON cannot hold), and leaves a traceback in its own log.
            match self.get(at, "/api/v1/get_workers").await {
                Ok(answer) => {
                    // Only to know more: a configuration that names the API's routes alone does not serve it.
                    let counts = self.get(at, "/json/counts.json").await.unwrap_or_default();
                    listed(&answer, &counts)
                        .ok_or_else(|| garbled(at, "/api/v1/get_workers", "no list of workers"))
                }
                Err(off @ SchedulerError::HttpApiOff { .. }) => {
                    let answer = match self.get(at, "/json/identity.json").await {
                        // It cannot say while workers run tasks; what is amiss is still that the API is off.
                        Err(SchedulerError::Failed { .. }) => return Err(off),
                        answer => answer?,
                    };
                    identified(&answer).ok_or_else(|| garbled(at, "/json/identity.json", "no map of workers"))
                }
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn retire<'a>(
        &'a self,
        at: &'a SchedulerAddress,
        workers: &'a [String],
    ) -> BoxFuture<'a, Result<BTreeSet<String>, SchedulerError>> {
        async move {
            if workers.is_empty() {
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
            let (path, key, answer) = match self.get(at, "/api/v1/adaptive_target").await {
                Ok(answer) => ("/api/v1/adaptive_target", "workers", answer),
                Err(SchedulerError::HttpApiOff { .. }) => {
                    ("/json/counts.json", "desired_workers", self.get(at, "/json/counts.json").await?)
                }
                Err(error) => return Err(error),
            };
            let wanted = answer[key].as_u64().and_then(|wanted| u32::try_from(wanted).ok());
            wanted.ok_or_else(|| garbled(at, path, &format!("no number {key:?}")))
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
            status: WorkerStatus::Running,
        };
        Some((address, worker))
    };
    Some(Snapshot { workers: answer["workers"].as_array()?.iter().map(worker).collect::<Option<_>>()? })
}

/// The workers of `identity.json`.
fn identified(answer: &Value) -> Option<Snapshot> {
    let worker = |(address, entry): (&String, &Value)| {
        let metrics = &entry["metrics"];
        let stored = metrics["managed_bytes"].as_u64();
        let spilled = metrics["spilled_bytes"]["memory"].as_u64().unwrap_or(0);
        let worker = Worker {
            name: name(&entry["name"]).unwrap_or_else(|| address.clone()),
            stored_bytes: stored.map(|stored| stored + spilled),
            tasks: None,
            status: status(entry["status"].as_str().unwrap_or_default()),
        };
        (address.clone(), worker)
    };
    Some(Snapshot { workers: answer["workers"].as_object()?.iter().map(worker).collect() })
}

/// Dask lets a worker be called by any value; whoever gave it a number finds it by the number's text.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(name) => Some(name.clone()),
        other => Some(other.to_string()),
    }
}

fn status(text: &str) -> WorkerStatus {
    match text {
        "paused" => WorkerStatus::Paused,
        "closing" | "closing_gracefully" | "closed" | "failed" | "stopping" | "stopped" => {
            WorkerStatus::Closing
        }
        _ => WorkerStatus::Running,
    }
}

fn garbled(at: &SchedulerAddress, path: &str, reason: &str) -> SchedulerError {
    SchedulerError::Garbled { url: client::url(at, path).unwrap_or_default(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
