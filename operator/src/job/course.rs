//! What is to become of a job now: a function of its runs, its spec and the time.

use jiff::{SignedDuration, Timestamp};

use super::validate::Valid;
use super::{View, runs, status};
use crate::api::JobState;
use crate::conditions;
use crate::observe::{Child, Phase};

/// What is to become of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// It has ended: its cluster goes.
    Over(End),
    /// It is to have no pods.
    Suspended,
    /// A run has failed and the next one may not begin before this time.
    Pausing(Timestamp),
    /// The run with this number is to be under way.
    Run(u32),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// `Successful` or `Failed`.
    pub state: JobState,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Decides. What has ended stays ended; an end that the runner itself came to is more than a suspension or a deadline.
pub(super) fn course(view: &View, valid: &Valid, now: Timestamp) -> Course {
    if let Some(state) = status::stored(view).filter(|state| state.is_final()) {
        return Course::Over(stored_end(view, state));
    }
    let runs = &view.runs;
    if let Some(pod) = runs.present().filter(|pod| phase(pod) == Some(Phase::Succeeded)) {
        return Course::Over(succeeded(pod));
    }
    if let Some(end) = exhausted(view, valid) {
        return Course::Over(end);
    }
    if valid.suspend {
        return Course::Suspended;
    }
    if let Some((limit, _)) = deadline(view, valid).filter(|(_, at)| *at <= now) {
        let message = format!("the job did not end within its activeDeadlineSeconds of {}", limit.as_secs());
        return Course::Over(End { state: JobState::Failed, reason: "DeadlineExceeded".into(), message });
    }
    match runs.due().filter(|due| *due > now) {
        Some(until) => Course::Pausing(until),
        None => Course::Run(runs.failed),
    }
}

/// The time that the job may take, and when that is over.
pub(super) fn deadline(view: &View, valid: &Valid) -> Option<(SignedDuration, Timestamp)> {
    let begun = runs::resumed(&view.resource).unwrap_or(view.resource.created);
    valid.deadline.map(|limit| (limit, begun.saturating_add(limit).unwrap_or(Timestamp::MAX)))
}

/// Why a pod failed, in words.
pub(super) fn why(pod: &Child) -> String {
    match pod.pod().and_then(|facts| facts.blocked.as_ref()) {
        Some(blocked) => format!("pod {}: {}: {}", pod.id.name, blocked.reason, blocked.message),
        None => format!("pod {} failed", pod.id.name),
    }
}

/// Too many runs have failed.
fn exhausted(view: &View, valid: &Valid) -> Option<End> {
    let runs = &view.runs;
    let last = || runs.last().map(why);
    let Some(limit) = valid.backoff_limit else {
        let message = last().unwrap_or_else(|| "the runner failed".into());
        let end = End { state: JobState::Failed, reason: "Failed".into(), message };
        return (runs.failed > 0).then_some(end);
    };
    let failures = runs.failures();
    let message = format!(
        "{failures} failures are more than the backoffLimit of {limit}; the last: {}",
        last().unwrap_or_else(|| "its pod is gone".into())
    );
    let end = End { state: JobState::Failed, reason: "BackoffLimitExceeded".into(), message };
    (failures > limit).then_some(end)
}

fn succeeded(pod: &Child) -> End {
    let message = format!("pod {} succeeded", pod.id.name);
    End { state: JobState::Successful, reason: "Successful".into(), message }
}

/// What was said at the end: the pods it was said of may be gone.
fn stored_end(view: &View, state: JobState) -> End {
    let said = conditions::find(&view.resource.status["conditions"], "Ready");
    let text = |key: &str| said.and_then(|condition| condition[key].as_str()).map(str::to_owned);
    match (text("reason"), text("message")) {
        (Some(reason), Some(message)) => End { state, reason, message },
        _ => match (state, view.runs.last()) {
            (JobState::Successful, Some(pod)) => succeeded(pod),
            (_, Some(pod)) => End { state, reason: state.as_str().into(), message: why(pod) },
            (_, None) => End { state, reason: state.as_str().into(), message: "the runner has ended".into() },
        },
    }
}

fn phase(pod: &Child) -> Option<Phase> {
    pod.pod().map(|facts| facts.phase)
}
