//! What to do next with a pod's containers. Pure: the kubelet's `computePodActions` and restart policy.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::backoff::{Backoff, Verdict};

/// A pod's `restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RestartPolicy {
    /// Whatever the exit code.
    #[default]
    Always,
    /// Unless it was 0.
    OnFailure,
    /// Not at all.
    Never,
}

impl From<Option<&str>> for RestartPolicy {
    fn from(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }
}

/// Where a container stands in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// An init container that goes on running (`restartPolicy: Always`).
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// Added to a running pod; runs once, and the pod's end does not wait for it.
    Ephemeral,
}

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) message: Option<String>,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) container_id: String,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has not run yet in this incarnation.
    Waiting {
        /// For instance `ContainerCreating`.
        reason: String,
        /// For people.
        message: Option<String>,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It has ended.
    Exited(Exit),
}

/// One container of a pod.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) state: State,
    /// The run before the present one.
    pub(super) last: Option<Exit>,
    /// While it waits to be restarted: what `kubectl` shows of it.
    pub(super) back_off: Option<String>,
    pub(super) restarts: i32,
    /// The startup probe has succeeded (or there is none).
    pub(super) started: bool,
    /// The readiness probe has succeeded (or there is none).
    pub(super) ready: bool,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) container_id: Option<String>,
    pub(super) backoff: Backoff,
    /// After a failure to pull or to configure: not before this.
    pub(super) hold_until: Option<Timestamp>,
}

impl Record {
    /// A container that has not been looked at.
    pub(super) fn new(name: &str, role: Role, image: &str, waiting_for_init: bool) -> Self {
        let reason = if waiting_for_init { "PodInitializing" } else { "ContainerCreating" };
        Self {
            name: name.into(),
            role,
            state: State::Waiting { reason: reason.into(), message: None },
            last: None,
            back_off: None,
            restarts: 0,
            started: false,
            ready: false,
            image: image.into(),
            image_id: String::new(),
            container_id: None,
            backoff: Backoff::default(),
            hold_until: None,
        }
    }

    /// Whether a process exists.
    pub(super) fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, if it has.
    pub(super) fn exit(&self) -> Option<&Exit> {
        if let State::Exited(exit) = &self.state { Some(exit) } else { None }
    }

    fn succeeded(&self) -> bool {
        self.exit().is_some_and(|exit| exit.code == 0)
    }
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// Start these, in order.
    pub(super) start: Vec<usize>,
    /// Stop these: the pod needs them no more.
    pub(super) stop: Vec<usize>,
    /// These have just begun to wait for a restart.
    pub(super) backing_off: Vec<usize>,
    /// All is over; `true` for success.
    pub(super) finished: Option<bool>,
    /// Look again at this time.
    pub(super) wake: Option<Timestamp>,
}

impl Next {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Decides. `records` are in the order of the spec, init containers first, ephemeral ones last; waiting for a restart is
/// noted in them.
/// `pod` is `name_namespace(uid)`, as back-off messages name it.
pub(super) fn decide(records: &mut [Record], policy: RestartPolicy, pod: &str, now: Timestamp) -> Next {
    let mut next = Next::default();
    let initialized =
        records.iter().any(|r| r.role == Role::Main && (r.container_id.is_some() || r.last.is_some()));
    let main_done = records
        .iter()
        .filter(|record| record.role == Role::Main)
        .all(|record| record.exit().is_some_and(|exit| !restarts(policy, exit)));
    for index in 0..records.len() {
        let record = &mut records[index];
        match record.role {
            Role::Init if initialized || record.succeeded() => {}
            Role::Init => {
                if policy == RestartPolicy::Never && record.exit().is_some() {
                    return finish(records, false, next);
                }
                start_or_wait(record, index, pod, now, &mut next);
                return next;
            }
            Role::Sidecar if main_done => {}
            Role::Sidecar => {
                start_or_wait(record, index, pod, now, &mut next);
                if !initialized && !record.started {
                    return next;
                }
            }
            Role::Main => {
                if record.exit().is_none_or(|exit| restarts(policy, exit)) {
                    start_or_wait(record, index, pod, now, &mut next);
                }
            }
            Role::Ephemeral if main_done || record.exit().is_some() => {}
            Role::Ephemeral => start_or_wait(record, index, pod, now, &mut next),
        }
    }
    if !main_done {
        return next;
    }
    let success = records.iter().filter(|r| r.role == Role::Main).all(Record::succeeded);
    finish(records, success, next)
}

/// Ends the sidecars, last started first, and then the pod.
fn finish(records: &[Record], success: bool, mut next: Next) -> Next {
    next.start.clear();
    next.stop = (0..records.len()).rev().filter(|&index| records[index].running()).collect();
    if next.stop.is_empty() {
        next.finished = Some(success);
    }
    next
}

/// Whether the policy restarts a container that ended so.
fn restarts(policy: RestartPolicy, exit: &Exit) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit.code != 0,
        RestartPolicy::Never => false,
    }
}

fn start_or_wait(record: &mut Record, index: usize, pod: &str, now: Timestamp, next: &mut Next) {
    if record.running() {
        return;
    }
    if let Some(hold) = record.hold_until
        && now < hold
    {
        next.wake_at(hold);
        return;
    }
    if let State::Exited(exit) = &record.state
        && let Verdict::Wait { until, delay } = record.backoff.ask(exit.finished, now)
    {
        if record.back_off.is_none() {
            next.backing_off.push(index);
        }
        let delay = Backoff::spoken(delay);
        record.back_off =
            Some(format!("back-off {delay} restarting failed container={} pod={pod}", record.name));
        next.wake_at(until);
        return;
    }
    next.start.push(index);
}

/// When the object of a deleted pod may go, if not yet: its logs can be read so long after its containers have ended.
///
/// A pod that had ended before this kubelet saw it has nothing more to take down.
pub(super) fn removal_due(
    torn_down: Option<Timestamp>,
    stays: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let stays = SignedDuration::try_from(stays).unwrap_or(SignedDuration::ZERO);
    torn_down.and_then(|at| at.checked_add(stays).ok()).filter(|due| *due > now)
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
