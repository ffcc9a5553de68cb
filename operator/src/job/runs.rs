//! The runs of a job: one pod each. The pods themselves are the memory of what failed, so that a restarted operator counts on.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::conditions;
use crate::names;
use crate::observe::{Child, ChildKind, Facts, Phase, PodFacts, Resource};
use crate::world::World;

/// Pause after the first run that failed; doubles up to [`PAUSE_MAX`], as with Kubernetes' own Job.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(10);
/// Longest such pause.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(6);

/// What there is of a job's runs.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// The runner pods of this very job, by run.
    pub pods: BTreeMap<u32, Arc<Child>>,
    /// How many runs have failed, which is also the number of the run that comes next or goes on.
    pub failed: u32,
}

impl Runs {
    /// Reads the cache and, for pods that somebody deleted, the count in the job's status.
    pub fn observe(world: &World, job: &Resource) -> Self {
        let mut pods: BTreeMap<u32, Arc<Child>> = world
            .cache
            .owned(&job.uid)
            .filter(|child| child.id.kind == ChildKind::Pod)
            .filter_map(|child| Some((names::run_of(job.name(), &child.id.name)?, child.clone())))
            .collect();
        // The run that a later one followed has failed, or there would be no later one.
        let before = pods.keys().max().copied().unwrap_or(0);
        pods.retain(|_, pod| !ended_by_suspension(job, pod));
        let failed = pods.iter().filter(|(_, pod)| failed(pod)).map(|(run, _)| run + 1).max();
        let failed = failed.unwrap_or(0).max(before);
        let stored = job.status["failed"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        Self { pods, failed: failed.max(stored) }
    }

    /// The pod of the run that is due or goes on.
    pub fn present(&self) -> Option<&Child> {
        self.pods.get(&self.failed).map(|pod| &**pod)
    }

    /// The pod of the latest run.
    pub fn last(&self) -> Option<&Child> {
        self.pods.last_key_value().map(|(_, pod)| &**pod)
    }

    /// Whether a watch has shown the pod of the run that is due.
    pub fn seen(&self) -> bool {
        self.present().is_some_and(|pod| !matches!(pod.facts, Facts::Expected))
    }

    /// Whether the latest run is over, and no other is under way.
    pub fn over(&self) -> bool {
        self.last().and_then(Child::pod).is_some_and(PodFacts::ended)
    }

    /// Runs that failed, and failures of the present run that its pod restarts in place.
    pub fn failures(&self) -> u32 {
        let in_place =
            self.present().and_then(Child::pod).filter(|facts| !facts.ended()).map_or(0, |f| f.failures);
        self.failed.saturating_add(in_place)
    }

    /// Pods that have not ended and are not going.
    pub fn active(&self) -> impl Iterator<Item = &Child> {
        let ended = |pod: &Child| pod.pod().is_some_and(PodFacts::ended);
        self.pods.values().map(|pod| &**pod).filter(move |pod| !pod.deleting && !ended(pod))
    }

    /// When the next run may begin after those that failed; `None` where its pod is there already or none failed.
    pub fn due(&self) -> Option<Timestamp> {
        let before = self.failed.checked_sub(1).filter(|_| self.present().is_none())?;
        let pod = self.pods.get(&before)?;
        let ended = pod.pod().and_then(|facts| facts.finished_at).unwrap_or(pod.created);
        Some(ended + (PAUSE_MIN * 2_i32.pow(before.min(6))).min(PAUSE_MAX))
    }
}

/// The time of the job's last resumption.
pub(super) fn resumed(job: &Resource) -> Option<Timestamp> {
    let stored =
        conditions::find(&job.status["conditions"], "Suspended").filter(|c| c["status"] == "False")?;
    stored["lastTransitionTime"].as_str()?.parse().ok()
}

/// Whether the job is suspended, or was when its status was written.
fn suspended(job: &Resource) -> bool {
    let stored = conditions::find(&job.status["conditions"], "Suspended");
    job.spec["suspend"] == true || stored.is_some_and(|condition| condition["status"] == "True")
}

fn failed(pod: &Child) -> bool {
    pod.pod().is_some_and(|facts| facts.phase == Phase::Failed)
}

/// A pod that is deleted ends as `Failed`. Where the job's suspension is why, its run has not failed: it is as if it had never been.
fn ended_by_suspension(job: &Resource, pod: &Child) -> bool {
    pod.deleting && (suspended(job) || resumed(job).is_some_and(|resumed| pod.created <= resumed))
}
