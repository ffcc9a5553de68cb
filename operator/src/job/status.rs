//! What a DaskJob says of itself: a function of its runner pod, moving only forward.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::View;
use crate::api::JobState;
use crate::conditions::{self, Condition};
use crate::names;
use crate::observe::{Phase, PodFacts};
use crate::ownership::{self, Claim};
use crate::world::Trouble;

/// The state stored on the job.
pub(super) fn stored(view: &View) -> Option<JobState> {
    serde_json::from_value(view.resource.status["jobStatus"].clone()).ok()
}

/// Whether the job has ended: nothing is made for it any more.
pub(super) fn ended(state: Option<JobState>) -> bool {
    matches!(state, Some(JobState::Successful | JobState::Failed))
}

/// The state as observed, never behind the stored one.
pub(super) fn state(view: &View) -> JobState {
    let observed = match view.our_runner().and_then(|child| child.pod()).map(|facts| facts.phase) {
        Some(Phase::Succeeded) => JobState::Successful,
        Some(Phase::Failed) => JobState::Failed,
        Some(Phase::Running) => JobState::Running,
        Some(Phase::Pending) if view.cluster_exists() => JobState::ClusterCreated,
        _ => JobState::JobCreated,
    };
    match stored(view) {
        Some(before) if ended(Some(before)) || rank(before) > rank(observed) => before,
        _ => observed,
    }
}

fn rank(state: JobState) -> u8 {
    match state {
        JobState::JobCreated => 0,
        JobState::ClusterCreated => 1,
        JobState::Running => 2,
        JobState::Successful | JobState::Failed => 3,
    }
}

/// The whole status.
pub(super) fn status(
    view: &View,
    trouble: Option<&Trouble>,
    waiting: &[String],
    now: Timestamp,
) -> Map<String, Value> {
    let resource = &view.resource;
    let state = state(view);
    let facts = view.our_runner().and_then(|child| child.pod());
    let mut status = base(view, state, &[condition(view, state, trouble, waiting)], now);
    status.insert("clusterName".into(), json!(resource.name()));
    status.insert("jobRunnerPodName".into(), json!(names::runner(resource.name())));
    let begun = rank(state) >= rank(JobState::Running);
    if begun && resource.status["startTime"].is_null() {
        // A runner that ended before it was seen running says itself when it started.
        let started = facts.filter(|facts| facts.ended()).and_then(|facts| facts.started_at).unwrap_or(now);
        status.insert("startTime".into(), json!(conditions::seconds(started)));
    }
    if ended(Some(state)) && resource.status["endTime"].is_null() {
        status.insert("endTime".into(), json!(conditions::seconds(now)));
    }
    status
}

/// The status of a job that cannot be built. One that no edit can cure has failed.
pub(super) fn refused(view: &View, invalid: &super::Invalid, now: Timestamp) -> Map<String, Value> {
    let before = stored(view);
    let state = match before {
        Some(before) if ended(Some(before)) => before,
        _ if invalid.hopeless => JobState::Failed,
        Some(before) => before,
        None => JobState::JobCreated,
    };
    let mut status =
        base(view, state, &[Condition::no("Ready", invalid.reason, invalid.message.clone())], now);
    if ended(Some(state)) && view.resource.status["endTime"].is_null() {
        status.insert("endTime".into(), json!(conditions::seconds(now)));
    }
    status
}

fn base(view: &View, state: JobState, said: &[Condition], now: Timestamp) -> Map<String, Value> {
    let resource = &view.resource;
    let mut status = Map::new();
    status.insert("jobStatus".into(), json!(state.as_str()));
    status.insert("observedGeneration".into(), json!(resource.generation));
    status.insert(
        "conditions".into(),
        conditions::list(&resource.status["conditions"], said, resource.generation, now),
    );
    status
}

fn condition(view: &View, state: JobState, trouble: Option<&Trouble>, waiting: &[String]) -> Condition {
    const KIND: &str = "Ready";
    if let Some(trouble) = trouble {
        return Condition::no(KIND, &trouble.reason, trouble.message.clone());
    }
    let runner = names::runner(view.resource.name());
    match state {
        JobState::Successful => Condition::yes(KIND, "Successful", format!("pod {runner} succeeded")),
        JobState::Failed => {
            Condition::no(KIND, "Failed", why_failed(view).unwrap_or(format!("pod {runner} failed")))
        }
        JobState::Running => Condition::yes(KIND, "Running", format!("pod {runner} is running")),
        JobState::JobCreated | JobState::ClusterCreated => {
            match (waiting.first(), blocked(view.our_runner().and_then(|c| c.pod()))) {
                (Some(why), _) => Condition::no(KIND, "Waiting", why.clone()),
                (None, Some((reason, why))) => Condition::no(KIND, &reason, format!("pod {runner}: {why}")),
                (None, None) => Condition::no(KIND, "Starting", format!("waiting for pod {runner} to run")),
            }
        }
    }
}

/// Keeps what was said when the pod was still there.
fn why_failed(view: &View) -> Option<String> {
    let facts = view.our_runner().and_then(|child| child.pod());
    if let Some((reason, why)) = blocked(facts) {
        return Some(format!("pod {}: {reason}: {why}", names::runner(view.resource.name())));
    }
    let before = &view.resource.status["conditions"][0];
    (before["reason"] == "Failed").then(|| before["message"].as_str().unwrap_or_default().to_owned())
}

fn blocked(facts: Option<&PodFacts>) -> Option<(String, String)> {
    facts?.blocked.as_ref().map(|blocked| (blocked.reason.to_string(), blocked.message.to_string()))
}

impl View {
    /// The runner, if it is ours and not going.
    pub fn our_runner(&self) -> Option<&crate::observe::Child> {
        self.runner.as_deref().filter(|child| child.owned_by(&self.resource.uid))
    }

    /// Our cluster exists.
    pub fn cluster_exists(&self) -> bool {
        ownership::of_resource(&self.resource, self.cluster.as_deref()) == Claim::Ours
    }
}
