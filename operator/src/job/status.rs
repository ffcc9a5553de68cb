//! What a DaskJob says of itself: a function of its runner pods, moving only forward.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::View;
use super::course::{Course, why};
use super::validate::Valid;
use crate::api::JobState;
use crate::conditions::{self, Condition};
use crate::names;
use crate::observe::{Child, Phase, PodFacts, Resource};
use crate::ownership::{self, Claim};
use crate::plugin::Shape;
use crate::spec::Invalid;
use crate::world::Trouble;

/// The state stored on the job.
pub(super) fn stored(view: &View) -> Option<JobState> {
    stored_on(&view.resource)
}

/// Whether a job's end is stored on it.
pub(super) fn is_over(job: &Resource) -> bool {
    stored_on(job).is_some_and(JobState::is_final)
}

fn stored_on(job: &Resource) -> Option<JobState> {
    serde_json::from_value(job.status["jobStatus"].clone()).ok()
}

/// The state as observed, never behind the stored one, unless the job is suspended: then it begins anew.
pub(super) fn state(view: &View, course: &Course) -> JobState {
    match course {
        Course::Over(end) => return end.state,
        Course::Suspended => return JobState::JobCreated,
        Course::Pausing(_) | Course::Run(_) => {}
    }
    let observed = match view.runs.present().and_then(Child::pod).map(|facts| facts.phase) {
        Some(Phase::Running) => JobState::Running,
        Some(Phase::Pending) if view.cluster_exists() => JobState::ClusterCreated,
        _ => JobState::JobCreated,
    };
    stored(view).map_or(observed, |before| before.max(observed))
}

/// What the plan found.
pub(super) struct Said<'a> {
    /// What became of the children by plugins.
    pub shape: &'a Shape,
    /// Why the last plan could not be carried out.
    pub trouble: Option<&'a Trouble>,
    /// What is waited for.
    pub waiting: &'a [String],
}

/// The whole status.
pub(super) fn status(
    view: &View,
    valid: &Valid,
    course: &Course,
    found: &Said<'_>,
    now: Timestamp,
) -> Map<String, Value> {
    let resource = &view.resource;
    let state = state(view, course);
    let mut said = vec![ready(view, valid, course, found.trouble, found.waiting)];
    said.extend(suspended(view, course));
    said.extend(found.shape.conditions.iter().cloned());
    let mut status = base(view, state, &said, now);
    status.insert("clusterName".into(), json!(resource.name()));
    status.insert("jobRunnerPodName".into(), json!(runner(view)));
    if view.runs.failed > 0 {
        status.insert("failed".into(), json!(view.runs.failed));
    }
    if *course == Course::Suspended && !resource.status["startTime"].is_null() {
        status.insert("startTime".into(), Value::Null);
    }
    let ran = view.runs.last().and_then(Child::pod).filter(|facts| facts.ended());
    let begun = match course {
        Course::Over(_) => ran.is_some() || state == JobState::Successful,
        _ => state >= JobState::Running,
    };
    if begun && resource.status["startTime"].is_null() {
        // A runner that ended before it was seen running says itself when it started.
        let started = ran.and_then(|facts| facts.started_at).unwrap_or(now);
        status.insert("startTime".into(), json!(conditions::seconds(started)));
    }
    if state.is_final() && resource.status["endTime"].is_null() {
        status.insert("endTime".into(), json!(conditions::seconds(now)));
    }
    status
}

/// The status of a job that cannot be built. One that no edit can cure has failed.
pub(super) fn refused(view: &View, invalid: &Invalid, now: Timestamp) -> Map<String, Value> {
    let before = stored(view);
    let state = match before {
        Some(before) if before.is_final() => before,
        _ if invalid.hopeless => JobState::Failed,
        Some(before) => before,
        None => JobState::JobCreated,
    };
    let mut status =
        base(view, state, &[Condition::no("Ready", invalid.reason, invalid.message.clone())], now);
    if state.is_final() && view.resource.status["endTime"].is_null() {
        status.insert("endTime".into(), json!(conditions::seconds(now)));
    }
    status
}

/// The pod to look at: of the run that is due, or of the last one while the next has not begun.
fn runner(view: &View) -> String {
    let next = names::runner(view.resource.name(), view.runs.failed);
    match view.runs.last() {
        Some(last) if view.runs.present().is_none() => last.id.name.to_string(),
        _ => next,
    }
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

fn ready(
    view: &View,
    valid: &Valid,
    course: &Course,
    trouble: Option<&Trouble>,
    waiting: &[String],
) -> Condition {
    const KIND: &str = "Ready";
    if let Some(trouble) = trouble {
        return Condition::no(KIND, &trouble.reason, trouble.message.clone());
    }
    let runner = runner(view);
    match course {
        Course::Over(end) => Condition {
            kind: KIND.into(),
            status: Some(end.state == JobState::Successful),
            reason: end.reason.clone(),
            message: end.message.clone(),
        },
        Course::Suspended => Condition::no(
            KIND,
            "Suspended",
            "the job has no pods while it is suspended; set spec.suspend to false to resume it",
        ),
        Course::Pausing(until) => Condition::no(KIND, "BackOff", pause(view, valid, *until)),
        Course::Run(_) => {
            let facts = view.runs.present().and_then(Child::pod);
            match (facts.map(|facts| facts.phase), waiting.first(), blocked(facts)) {
                (Some(Phase::Running), _, _) => {
                    Condition::yes(KIND, "Running", format!("pod {runner} is running"))
                }
                (_, Some(why), _) => Condition::no(KIND, "Waiting", why.clone()),
                (_, None, Some((reason, why))) => {
                    Condition::no(KIND, &reason, format!("pod {runner}: {why}"))
                }
                _ => Condition::no(KIND, "Starting", format!("waiting for pod {runner} to run")),
            }
        }
    }
}

fn pause(view: &View, valid: &Valid, until: Timestamp) -> String {
    let failed = view.runs.failed;
    let limit = valid.backoff_limit.unwrap_or(0);
    let last = view.runs.last().map(why).unwrap_or_default();
    format!(
        "run {failed} of at most {} failed ({last}); the next one begins at {}",
        u64::from(limit) + 1,
        conditions::seconds(until)
    )
}

/// There only where the job is or was suspended.
fn suspended(view: &View, course: &Course) -> Option<Condition> {
    const KIND: &str = "Suspended";
    if *course == Course::Suspended {
        return Some(Condition::yes(KIND, "JobSuspended", "spec.suspend is true"));
    }
    conditions::find(&view.resource.status["conditions"], KIND)?;
    Some(Condition::no(KIND, "JobResumed", "spec.suspend is false"))
}

fn blocked(facts: Option<&PodFacts>) -> Option<(String, String)> {
    facts?.blocked.as_ref().map(|blocked| (blocked.reason.to_string(), blocked.message.to_string()))
}

impl View {
    /// Our cluster exists.
    pub fn cluster_exists(&self) -> bool {
        ownership::of_resource(&self.resource, self.cluster.as_deref()) == Claim::Ours
    }
}
