//! A worker, whatever carries it: a bare Pod, or a Deployment with its pods.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::observe::{Child, ChildKind, Facts, Phase, PodFacts, Resource};
use crate::world::World;

/// First pause before a worker that failed is replaced once more; doubles up to [`PAUSE_MAX`], as the kubelet does.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(10);
/// Longest such pause.
const PAUSE_MAX: SignedDuration = SignedDuration::from_secs(300);
/// A worker that lived this long did not fail at its start; counting begins anew.
const LIVED: SignedDuration = SignedDuration::from_secs(600);

/// A worker as observed.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The Pod or Deployment that is created and deleted.
    pub carrier: Arc<Child>,
    /// Pods of a Deployment that are not going; empty for a bare Pod.
    pub pods: Vec<Arc<Child>>,
}

impl Worker {
    /// All workers of a group, whoever made them, in order of kind and name.
    ///
    /// Counted are carriers that the group owns, and those that carry its label and nobody's ownership: what today's
    /// operator made counts whatever it is named. A pod of somebody else's controller is a Deployment's pod, not a carrier.
    pub fn observe(world: &World, group: &Resource) -> Vec<Self> {
        let labelled = || world.cache.of_group(group.namespace(), group.name());
        let carrier = |child: &&Arc<Child>| match child.id.kind {
            ChildKind::Service => false,
            ChildKind::Pod | ChildKind::Deployment => {
                child.owned_by(&group.uid) || child.controller().is_none()
            }
        };
        let of_replica_sets: Vec<&Arc<Child>> = labelled()
            .filter(|child| {
                child.controller().is_some_and(|owner| &*owner.kind == "ReplicaSet") && !child.deleting
            })
            .collect();
        labelled()
            .filter(carrier)
            .map(|child| Self {
                carrier: child.clone(),
                pods: of_replica_sets
                    .iter()
                    .filter(|pod| made_by(pod, child))
                    .map(|pod| (*pod).clone())
                    .collect(),
            })
            .collect()
    }

    /// The name Dask knows it by, unless the user chose another.
    pub fn name(&self) -> &str {
        &self.carrier.id.name
    }

    /// It counts: it has not ended and is not going.
    pub fn alive(&self) -> bool {
        !self.carrier.deleting && !self.ended()
    }

    /// Its pod has ended for good. A Deployment makes a new one by itself.
    pub fn ended(&self) -> bool {
        self.carrier.pod().is_some_and(PodFacts::ended)
    }

    /// Its pod is ready.
    pub fn ready(&self) -> bool {
        self.pod_facts().any(|facts| facts.ready)
    }

    /// A container of it has started, so that it may have registered with the scheduler and hold work.
    pub fn started(&self) -> bool {
        self.pod_facts().any(|facts| facts.started)
    }

    /// A container of it runs at this moment, so that it may register with the scheduler any time.
    pub fn running(&self) -> bool {
        self.pod_facts().any(|facts| facts.running)
    }

    /// Since when, the last of several.
    pub fn running_since(&self) -> Option<Timestamp> {
        self.pod_facts().filter_map(|facts| facts.running_since).max()
    }

    /// It has been created, but no watch has shown it yet.
    pub fn expected(&self) -> bool {
        matches!(self.carrier.facts, Facts::Expected)
    }

    /// Why it is not ready, in words.
    pub fn blocked(&self) -> Option<String> {
        if let Some(failure) = self.carrier.deployment().and_then(|facts| facts.failure.as_ref()) {
            return Some(format!("worker {}: {failure}", self.name()));
        }
        let facts = self.pod_facts().find(|facts| !facts.ready)?;
        let blocked = facts.blocked.as_ref()?;
        Some(format!("worker {}: {}: {}", self.name(), blocked.reason, blocked.message))
    }

    /// Addresses of its pods.
    pub fn ips(&self) -> impl Iterator<Item = &str> {
        self.pod_facts().filter_map(|facts| facts.ip.as_deref())
    }

    /// For a worker that ended: from when on it may be replaced, and which count its successor carries.
    ///
    /// The pods themselves are the memory, so that a restarted operator keeps the pace.
    pub fn replacement(&self) -> (Timestamp, u32) {
        let Some(facts) = self.carrier.pod() else { return (self.carrier.created, 0) };
        let ended = facts.finished_at.unwrap_or(self.carrier.created);
        let lived = ended.duration_since(facts.started_at.unwrap_or(ended));
        if facts.phase == Phase::Failed && lived < LIVED
            || facts.phase == Phase::Succeeded && lived < PAUSE_MIN
        {
            let failures = self.carrier.failures;
            let pause = match failures {
                0 => SignedDuration::ZERO,
                n => (PAUSE_MIN * 2_i32.pow((n - 1).min(6))).min(PAUSE_MAX),
            };
            return (ended + pause, failures + 1);
        }
        (ended, 0)
    }

    fn pod_facts(&self) -> impl Iterator<Item = &PodFacts> {
        self.carrier.pod().into_iter().chain(self.pods.iter().filter_map(|pod| pod.pod()))
    }
}

/// Whether a pod belongs to a Deployment: its ReplicaSet is named after the Deployment and the template's hash.
fn made_by(pod: &Child, deployment: &Child) -> bool {
    deployment.id.kind == ChildKind::Deployment
        && pod.controller().is_some_and(|owner| {
            owner.name.rsplit_once('-').is_some_and(|(name, _)| name == &*deployment.id.name)
        })
}
