//! What planning asks about a pod: its phase, whether it is ready, and why not.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

/// Longest text kept from a pod's status; longer ones are cut.
const TEXT_MAX: usize = 480;
/// Of which the runtime's own message may take so much.
const MESSAGE_MAX: usize = 200;

/// Phase of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// At least one container runs or restarts.
    Running,
    /// All containers ended with 0 and stay ended.
    Succeeded,
    /// A container ended with an error and stays ended, or the pod was evicted.
    Failed,
}

/// A pod's state.
#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    /// `status.phase`.
    pub phase: Phase,
    /// Condition `Ready`.
    pub ready: bool,
    /// A container has started at least once: the pod may have registered with the scheduler.
    pub started: bool,
    /// A container runs at this moment.
    pub running: bool,
    /// When the container that runs was started, the last of several: a restart begins anew.
    pub running_since: Option<Timestamp>,
    /// `status.podIP`.
    pub ip: Option<Box<str>>,
    /// How often containers of it have failed, over all restarts in place.
    pub failures: u32,
    /// The first thing that keeps the pod from being ready.
    pub blocked: Option<Box<Blocked>>,
    /// When its first container started.
    pub started_at: Option<Timestamp>,
    /// When its last container ended, for pods that ended.
    pub finished_at: Option<Timestamp>,
    /// Name of the ReplicaSet that owns it.
    pub replica_set: Option<Box<str>>,
}

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// For instance `ImagePullBackOff`, `CrashLoopBackOff`, `Unschedulable`, `Evicted`.
    pub reason: Box<str>,
    /// For people.
    pub message: Box<str>,
}

impl PodFacts {
    /// Projects `spec` and `status` of a pod.
    pub fn project(data: &Value) -> Self {
        let status = &data["status"];
        let containers = || {
            let listed = |key: &str| status[key].as_array().map(Vec::as_slice).unwrap_or_default();
            listed("initContainerStatuses").iter().chain(listed("containerStatuses"))
        };
        let main = || status["containerStatuses"].as_array().into_iter().flatten();
        let phase = match status["phase"].as_str() {
            Some("Running") => Phase::Running,
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            _ => Phase::Pending,
        };
        Self {
            phase,
            ready: condition(status, "Ready").is_some_and(|ready| ready["status"] == "True"),
            started: phase == Phase::Running
                || main().any(|c| !c["state"]["running"].is_null() || !c["state"]["terminated"].is_null()),
            running: main().any(|c| !c["state"]["running"].is_null()),
            running_since: main().filter_map(|c| time(&c["state"]["running"]["startedAt"])).max(),
            ip: status["podIP"].as_str().map(Into::into),
            failures: containers().map(failures).sum(),
            blocked: blocked(status, containers()).map(Box::new),
            started_at: main()
                .flat_map(|c| [&c["state"]["running"]["startedAt"], &c["state"]["terminated"]["startedAt"]])
                .filter_map(time)
                .min(),
            finished_at: main().filter_map(|c| time(&c["state"]["terminated"]["finishedAt"])).max(),
            replica_set: None,
        }
    }

    /// Whether it ended for good.
    pub fn ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

/// A container that was restarted had ended before; one that is down after an error has failed once more.
fn failures(container: &Value) -> u32 {
    let failed = |state: &Value| state["terminated"]["exitCode"].as_i64().is_some_and(|code| code != 0);
    let waits = !container["state"]["waiting"].is_null();
    let down = failed(&container["state"]) || waits && failed(&container["lastState"]);
    container["restartCount"].as_u64().unwrap_or(0) as u32 + u32::from(down)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// The first thing that blocks, in the order in which a pod comes to life: placement, init containers, containers.
fn blocked<'a>(status: &Value, containers: impl Iterator<Item = &'a Value>) -> Option<Blocked> {
    if let Some(reason) = status["reason"].as_str() {
        return Some(Blocked {
            reason: reason.into(),
            message: shorten(status["message"].as_str().unwrap_or("")),
        });
    }
    if let Some(scheduled) = condition(status, "PodScheduled").filter(|c| c["status"] == "False") {
        return Some(Blocked {
            reason: scheduled["reason"].as_str().unwrap_or("Unschedulable").into(),
            message: shorten(scheduled["message"].as_str().unwrap_or("")),
        });
    }
    containers.into_iter().find_map(container_blocked)
}

fn container_blocked(container: &Value) -> Option<Blocked> {
    let name = container["name"].as_str().unwrap_or("");
    let waiting = &container["state"]["waiting"];
    let last = &container["lastState"]["terminated"];
    let ended = &container["state"]["terminated"];
    let (reason, message, exit) = if let Some(reason) = waiting["reason"].as_str() {
        if reason == "ContainerCreating" || reason == "PodInitializing" {
            return None;
        }
        (reason, waiting["message"].as_str().unwrap_or(""), last)
    } else if ended["exitCode"].as_i64().is_some_and(|code| code != 0) {
        (ended["reason"].as_str().unwrap_or("Error"), ended["message"].as_str().unwrap_or(""), ended)
    } else {
        return None;
    };
    let mut said = format!("container {name}");
    if !message.is_empty() {
        let _ = write!(said, ": {}", cut(message, MESSAGE_MAX));
    }
    if let Some(code) = exit["exitCode"].as_i64() {
        let _ = write!(said, " (exit code {code})");
    }
    // 127: the shell or entry point found no such program; otherwise the runtime says so itself.
    let words = [message, exit["message"].as_str().unwrap_or("")];
    let told = |what: &str| words.iter().any(|text| text.contains(what));
    if exit["exitCode"] == 127 || told("executable file not found") || told("no such file or directory") {
        said.push_str(MISSING_PROGRAM);
    }
    Some(Blocked { reason: reason.into(), message: shorten(&said) })
}

/// Pain 26: distributed ≥ 2026.6 no longer installs `dask-scheduler` and `dask-worker`.
const MISSING_PROGRAM: &str = "; the program does not exist in the image: Dask 2026.6 and later have no dask-scheduler and dask-worker, \
     use `dask scheduler` and `dask worker` as args";

/// Cuts a text to [`TEXT_MAX`] bytes at a character boundary.
pub(super) fn shorten(text: &str) -> Box<str> {
    cut(text, TEXT_MAX).into()
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(status: &Value, reason: &str, message_part: &str) {
        let facts = PodFacts::project(&json!({"status": status}));
        let blocked = facts.blocked.expect("something blocks");
        assert_eq!(&*blocked.reason, reason);
        assert!(blocked.message.contains(message_part), "{}", blocked.message);
    }

    #[test]
    fn the_first_blocking_reason_is_named() {
        check(
            &json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
            "Unschedulable",
            "0/1 nodes",
        );
        check(
            &json!({"phase": "Pending", "containerStatuses": [{"name": "worker", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling"}}}]}),
            "ImagePullBackOff",
            "container worker: Back-off pulling",
        );
        check(
            &json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            "Evicted",
            "low on memory",
        );
    }

    #[test]
    fn failures_are_counted_over_restarts_in_place() {
        let failures = |container: Value| {
            PodFacts::project(&json!({"status": {"containerStatuses": [container]}})).failures
        };
        let ended = |code: i64| json!({"terminated": {"exitCode": code}});
        assert_eq!(failures(json!({"restartCount": 0, "state": {"running": {}}})), 0);
        assert_eq!(failures(json!({"restartCount": 0, "state": ended(1)})), 1);
        assert_eq!(failures(json!({"restartCount": 1, "state": {"running": {}}, "lastState": ended(1)})), 1);
        let resting = json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(1)});
        assert_eq!(failures(resting), 2);
        assert_eq!(failures(json!({"restartCount": 1, "state": ended(0)})), 1);
    }

    #[test]
    fn pain_26_a_missing_dask_scheduler_program_is_recognised() {
        check(
            &json!({"phase": "Running", "containerStatuses": [{"name": "scheduler",
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"exitCode": 127, "reason": "Error"}}}]}),
            "CrashLoopBackOff",
            "`dask worker` as args",
        );
    }

    #[test]
    fn pain_26_is_not_seen_in_a_program_that_exists() {
        let facts = PodFacts::project(
            &json!({"status": {"phase": "Running", "containerStatuses": [{"name": "scheduler",
            "state": {"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec: permission denied"}}}]}}),
        );
        assert_eq!(
            &*facts.blocked.unwrap().message,
            "container scheduler: exec: permission denied (exit code 128)"
        );
    }
}
