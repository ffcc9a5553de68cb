//! What the engine has done so far, as numbers. Counted in the engine's own time, so that equal histories have equal numbers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::histogram::Histogram;
use crate::engine::{Answer, Question, Task};
use crate::execute::Outcome;
use crate::observe::{Key, Kind, Resource};
use crate::plan::Step;
use crate::scheduler::SchedulerError;

/// How looking at a resource ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// There was nothing to do.
    Unchanged,
    /// Everything planned was done.
    Changed,
    /// A write failed in a way that passes; it is tried again.
    Retried,
    /// A write was refused; somebody has to do something, and a condition says what.
    Failed,
    /// The plan broke an invariant and was not carried out.
    Refused,
}

impl Ended {
    /// How a task ended.
    pub fn of(outcome: &Outcome) -> Self {
        match &outcome.failure {
            None => Self::Changed,
            Some(failure) if failure.passing => Self::Retried,
            Some(_) => Self::Failed,
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] = [Self::Unchanged, Self::Changed, Self::Retried, Self::Failed, Self::Refused];

    /// One lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// The numbers, beginning at zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// From when a resource was due to be looked at to the end of all writes.
    pub reconciles: BTreeMap<(Kind, Ended), Histogram>,
    /// Writes that failed, by the reason that conditions give.
    pub failures: BTreeMap<(Kind, String), u64>,
    /// Questions to schedulers, by how they ended: `Answered`, or the reason that conditions give.
    pub polls: BTreeMap<&'static str, Histogram>,
    /// Questions to plugins, by plugin and by how they ended: `Answered`, or the reason that conditions give.
    pub advice: BTreeMap<(String, &'static str), u64>,
    /// How long the questions to plugins outside took; of those in this process the [stopwatch](crate::plugin::stopwatch) knows.
    pub advised: BTreeMap<String, Histogram>,
    /// Workers that schedulers were asked to let go, and did.
    pub drained: u64,
    /// Workers that they were asked to let go, and which stayed for the time being.
    pub kept: u64,
    /// From the creation of a cluster or job to its phase or state `Running`.
    pub started: BTreeMap<Kind, Histogram>,
    /// Uids of those that are counted in `started`.
    known: BTreeSet<String>,
}

impl Tally {
    /// Counts a look at a resource.
    pub fn reconciled(&mut self, key: &Key, ended: Ended, took: SignedDuration) {
        self.reconciles.entry((key.kind, ended)).or_default().note(took);
    }

    /// Counts the end of a task: `took` since it was due; `resource` is whose it was, as seen before.
    pub fn finished(
        &mut self,
        task: &Task,
        resource: Option<&Resource>,
        outcome: &Outcome,
        took: SignedDuration,
        now: Timestamp,
    ) {
        self.reconciled(&task.key, Ended::of(outcome), took);
        if let Some(failure) = &outcome.failure {
            *self.failures.entry((task.key.kind, failure.reason.clone())).or_default() += 1;
        }
        self.kept += outcome.kept.len() as u64;
        for step in task.plan.steps() {
            match step {
                Step::Drain { victims, .. } => {
                    let gone = |carrier| outcome.deleted.iter().any(|(id, _)| id == carrier);
                    self.drained += victims.iter().filter(|victim| gone(&victim.carrier)).count() as u64;
                }
                Step::Status { body, .. } if outcome.status_written => {
                    let state = if task.key.kind == Kind::Job { &body["jobStatus"] } else { &body["phase"] };
                    if state == "Running"
                        && let Some(resource) = resource
                    {
                        self.runs(resource, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// Counts a question to a scheduler.
    pub fn asked(&mut self, question: &Question, answer: &Answer, now: Timestamp) {
        let error = |error: &SchedulerError| error.reason();
        let failure = [
            answer.workers.as_ref().and_then(|answer| answer.as_ref().err()).map(error),
            answer.target.as_ref().and_then(|answer| answer.as_ref().err()).map(error),
            answer.idle.as_ref().and_then(|answer| answer.as_ref().err()).map(error),
            question.at.is_none().then_some("ServiceMissing"),
        ];
        let how = failure.into_iter().flatten().next().unwrap_or("Answered");
        self.polls.entry(how).or_default().note(now.duration_since(question.asked));
    }

    /// Counts a question to a plugin; `took` where it went outside.
    pub fn advised(&mut self, plugin: &str, failure: Option<&'static str>, took: Option<SignedDuration>) {
        *self.advice.entry((plugin.to_owned(), failure.unwrap_or("Answered"))).or_default() += 1;
        if let Some(took) = took {
            self.advised.entry(plugin.to_owned()).or_default().note(took);
        }
    }

    /// Forgets a resource that is gone.
    pub fn gone(&mut self, uid: &str) {
        self.known.remove(uid);
    }

    /// A cluster that falls back to `Pending` and comes up again is not counted once more.
    fn runs(&mut self, resource: &Resource, now: Timestamp) {
        if self.known.insert(resource.uid.clone()) {
            let took = now.duration_since(resource.created);
            self.started.entry(resource.key.kind).or_default().note(took);
        }
    }
}
