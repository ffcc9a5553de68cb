//! From what a scheduler says of its workers to a [`Snapshot`]. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::message::{ByWorker, Count, Identity, Length, Metrics, WorkerIdentity};
use crate::scheduler::{Snapshot, Worker, WorkerStatus};

/// States of a task in which the worker is at it (`TaskStateState` in `distributed/worker_state_machine.py`): in a thread, in
/// one that it has given up to wait for others, or in one that was to be given up and is wanted again.
const AT_WORK: [&str; 3] = ["executing", "long-running", "resumed"];
/// States of a task that was given to the worker and has not been begun.
const GIVEN: [&str; 3] = ["ready", "constrained", "waiting"];

/// The workers of an identity. What is `processing` on a worker that takes no more tasks is known exactly or not at all: whether it
/// may go depends on it. Of others it is known as of their last heartbeat.
pub(super) fn snapshot(identity: Identity, processing: Option<&BTreeMap<String, Length>>) -> Snapshot {
    let worker = |(address, worker): (String, WorkerIdentity)| {
        let counted = worker.metrics.task_counts.as_ref();
        let running = counted.map(|counts| sum(counts, &AT_WORK));
        let given = counted.map(|counts| sum(counts, &GIVEN));
        let exactly = processing.and_then(|by_worker| by_worker.get(&address)).map(|length| length.0);
        let status = status(&worker.status);
        let tasks = if status == WorkerStatus::Closing {
            exactly
        } else {
            running.zip(given).map(|(running, given)| running + given)
        };
        let worker = Worker {
            stored_bytes: stored(&worker.metrics),
            tasks,
            running,
            status,
            heartbeat: worker.last_seen.and_then(time),
            name: worker.name.0.unwrap_or_else(|| address.clone()),
        };
        (address, worker)
    };
    let workers = identity.workers.0.into_iter().map(worker).collect();
    Snapshot { id: Some(identity.id), staged: true, workers }
}

/// The addresses of workers that get no more tasks.
pub(super) fn closing(identity: &Identity) -> Vec<&str> {
    let closing = |(_, worker): &(&String, &WorkerIdentity)| status(&worker.status) == WorkerStatus::Closing;
    identity.workers.0.iter().filter(closing).map(|(address, _)| address.as_str()).collect()
}

/// A time in seconds as Python gives it.
pub(super) fn time(seconds: f64) -> Option<Timestamp> {
    Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()
}

fn stored(metrics: &Metrics) -> Option<u64> {
    metrics.managed_bytes.map(|count| count.0)
}

fn sum(counts: &ByWorker<Count>, states: &[&str]) -> u64 {
    states.iter().filter_map(|state| counts.0.get(*state)).map(|count| count.0).sum()
}

/// `distributed.core.Status`.
fn status(text: &str) -> WorkerStatus {
    match text {
        "paused" => WorkerStatus::Paused,
        "closing" | "closing_gracefully" | "closed" | "failed" | "stopping" | "stopped" => {
            WorkerStatus::Closing
        }
        _ => WorkerStatus::Running,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::message;
    use super::*;

    const ALICE: &str = "tcp://10.0.0.1:40001";

    /// The one worker of an identity in which it looks like this.
    fn check(worker: &Value, processing: Option<u64>, expected: &Worker) {
        let identity = json!({"type": "Scheduler", "id": "Scheduler-1", "workers": {ALICE: worker}});
        let identity: Identity = message::reply(&message::pack(&identity).unwrap()).unwrap();
        let processing = processing.map(|tasks| BTreeMap::from([(ALICE.to_owned(), Length(tasks))]));
        let snapshot = snapshot(identity, processing.as_ref());
        assert_eq!(snapshot.id.as_deref(), Some("Scheduler-1"));
        assert_eq!(snapshot.workers.get(ALICE), Some(expected), "{worker}");
    }

    #[test]
    fn a_worker_tells_what_it_holds_and_runs() {
        let counts = json!({"executing": 1, "long-running": 1, "ready": 5, "memory": 7, "flight": 2});
        let metrics =
            json!({"task_counts": counts, "managed_bytes": 100, "spilled_bytes": {"memory": 20}, "cpu": 1.5});
        let heartbeat = Timestamp::from_millisecond(1_500).unwrap();
        let busy = Worker {
            name: "a-0".into(),
            stored_bytes: Some(100),
            tasks: Some(7),
            running: Some(2),
            status: WorkerStatus::Running,
            heartbeat: Some(heartbeat),
        };
        let told =
            json!({"name": "a-0", "status": "running", "last_seen": 1.5, "nanny": null, "metrics": metrics});
        check(&told, None, &busy);
    }

    #[test]
    fn the_tasks_of_a_worker_that_gets_no_more_are_those_that_the_scheduler_counts() {
        let told = |executing: u64| json!({"name": "a", "status": "closing_gracefully", "metrics": {"task_counts": {"executing": executing}}});
        let closing = |running, tasks| Worker {
            name: "a".into(),
            stored_bytes: None,
            tasks,
            running: Some(running),
            status: WorkerStatus::Closing,
            heartbeat: None,
        };
        check(&told(3), Some(0), &closing(3, Some(0)));
        // What it said last may be from before it was given a task.
        check(&told(0), None, &closing(0, None));
    }

    #[test]
    fn a_worker_that_has_not_reported_yet_is_known_by_its_address() {
        let unknown = Worker {
            name: ALICE.into(),
            stored_bytes: None,
            tasks: None,
            running: None,
            status: WorkerStatus::Closing,
            heartbeat: None,
        };
        check(&json!({"name": null, "status": "closing_gracefully"}), None, &unknown);
    }
}
