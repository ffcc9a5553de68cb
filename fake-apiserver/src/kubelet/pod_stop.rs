//! Ending the containers of a pod, and what is left of it when they have ended.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use super::events::Level;
use super::lifecycle::{Exit, Record, Role, State};
use super::pod_worker::{Ending, PodWorker};
use super::prober;

/// Grace period of a pod that states none.
const GRACE: Duration = Duration::from_secs(30);
/// What a hook leaves of the grace period at least (`minimumGracePeriodInSeconds` of the kubelet).
const GRACE_AFTER_HOOK: Duration = Duration::from_secs(2);

impl PodWorker {
    /// Ends what runs: sidecars after the others.
    pub(super) async fn wind_down(&mut self) -> Option<Timestamp> {
        let running = |role: fn(Role) -> bool, records: &[Record]| -> Vec<usize> {
            (0..records.len())
                .filter(|&index| records[index].running() && role(records[index].role))
                .collect()
        };
        let mut remaining = running(|role| role != Role::Sidecar, &self.records);
        if remaining.is_empty() {
            remaining = running(|role| role == Role::Sidecar, &self.records);
        }
        if remaining.is_empty() {
            self.around.ended = true;
            self.tear_down().await;
            return None;
        }
        let grace = if self.gone { Duration::ZERO } else { self.grace() };
        for index in remaining {
            self.stop(index, grace, None);
        }
        None
    }

    /// The grace period in force.
    pub(super) fn grace(&self) -> Duration {
        let deleted = self.pod.metadata.deletion_grace_period_seconds;
        let stated = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        deleted.or(stated).and_then(|seconds| u64::try_from(seconds).ok()).map_or(GRACE, Duration::from_secs)
    }

    /// Asks a container to end within the grace period; repeated, it only shortens.
    pub(super) fn stop(&mut self, index: usize, grace: Duration, why: Option<String>) {
        let by = Timestamp::now() + SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
        let live = &mut self.live[index];
        let asked_before = live.stop_by.is_some();
        if live.stop_by.is_some_and(|earlier| earlier <= by) {
            return;
        }
        live.stop_by = Some(by);
        let name = self.specs[index].name.clone();
        if !asked_before {
            let message = why.unwrap_or_else(|| format!("Stopping container {name}"));
            self.event(Some(index), Level::Normal, "Killing", message);
        }
        let hook = self.specs[index].lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let question = hook.filter(|_| !asked_before && !grace.is_zero()).map(prober::Question::from);
        let whom = self.respondent(index);
        let Some(container) = &self.live[index].container else { return };
        let (Some(question), Some(whom)) = (question, whom) else {
            container.stop(grace);
            return;
        };
        let stop = container.stopper();
        let (events, pod) = (self.node.events.clone(), self.pod.clone());
        // Not one of the run's tasks: it must survive to the stop itself.
        tokio::spawn(async move {
            let began = tokio::time::Instant::now();
            let asked = tokio::time::timeout(grace, prober::ask(&question, &whom, grace)).await;
            if let Ok(Err(error)) = asked {
                let message = format!("PreStopHook failed: {error}");
                events.pod(
                    &pod,
                    Some(&format!("spec.containers{{{name}}}")),
                    Level::Warning,
                    "FailedPreStopHook",
                    message,
                );
            }
            stop(grace.saturating_sub(began.elapsed()).max(GRACE_AFTER_HOOK.min(grace)));
        });
    }

    /// A container's run is over.
    pub(super) fn exited(&mut self, index: usize, code: i32) {
        let message = self.termination_message(index, code);
        self.node.reach.ended(self.identity().2, &self.specs[index].name);
        let live = &mut self.live[index];
        live.container = None;
        live.stop_by = None;
        live.tasks = JoinSet::new();
        let record = &mut self.records[index];
        let finished = Timestamp::now();
        let started = if let State::Running { since } = record.state { since } else { finished };
        record.state = State::Exited(Exit {
            code,
            reason: if code == 0 { "Completed" } else { "Error" }.into(),
            message,
            started,
            finished,
            container_id: record.container_id.clone().unwrap_or_default(),
        });
        record.ready = false;
        record.started = false;
    }

    /// Network and volumes go; logs stay until the object is gone.
    pub(super) async fn tear_down(&mut self) {
        self.node.reach.close(self.identity().2);
        if let Some(sandbox) = self.sandbox.take() {
            let address = sandbox.address;
            sandbox.remove(&self.node.links).await;
            self.node.addresses.release(address);
        }
        self.around.sandbox = false;
        self.files.remove();
        self.ending = Ending::TornDown;
        self.torn_down = Some(Timestamp::now());
    }
}
