//! What there is now, counted by what it says of itself.

use std::collections::BTreeMap;

use crate::api::{ClusterPhase, JobState};
use crate::observe::{ChildKind, Component, Facts, Kind, Phase, PodFacts};
use crate::world::World;

/// Of a resource that has not said anything of itself, or nothing that is known here.
const UNKNOWN: &str = "Unknown";

/// A namespace and a phase. Phases are a closed set, so that nobody who may write a status makes new series.
pub type Place = (String, &'static str);

/// Numbers of what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// `DaskCluster`s by `status.phase`.
    pub clusters: BTreeMap<Place, u64>,
    /// `DaskJob`s by `status.jobStatus`.
    pub jobs: BTreeMap<Place, u64>,
    /// Pods of workers by phase; `Ready` are the running ones that are ready, `Terminating` those that are going.
    pub workers: BTreeMap<Place, u64>,
    /// Fields that our definition of a kind keeps and the installed one does not.
    pub fields_missing: BTreeMap<&'static str, u64>,
}

impl Census {
    /// Counts the world.
    pub fn of(world: &World) -> Self {
        let mut census = Self::default();
        for resource in world.cache.resources() {
            let (counts, phase) = match resource.key.kind {
                Kind::Cluster => (&mut census.clusters, phase(resource.status["phase"].as_str())),
                Kind::Job => (&mut census.jobs, state(resource.status["jobStatus"].as_str())),
                Kind::WorkerGroup | Kind::Autoscaler => continue,
            };
            *counts.entry((resource.key.namespace.clone(), phase)).or_default() += 1;
        }
        let workers = world
            .cache
            .children()
            .filter(|child| child.id.kind == ChildKind::Pod && child.component == Some(Component::Worker));
        for child in workers {
            let phase = match &child.facts {
                _ if child.deleting => "Terminating",
                Facts::Pod(facts) => pod(facts),
                _ => "Pending",
            };
            *census.workers.entry((child.id.namespace.to_string(), phase)).or_default() += 1;
        }
        for kind in Kind::ALL {
            let served = world.served.as_ref().and_then(|served| served.kind(kind.name()));
            let missing = served.map_or(0, |served| served.lacking().len());
            census.fields_missing.insert(kind.name(), missing as u64);
        }
        census
    }
}

fn phase(said: Option<&str>) -> &'static str {
    let known = [ClusterPhase::Created, ClusterPhase::Pending, ClusterPhase::Running, ClusterPhase::Error];
    known.into_iter().map(ClusterPhase::as_str).find(|phase| Some(*phase) == said).unwrap_or(UNKNOWN)
}

fn state(said: Option<&str>) -> &'static str {
    use JobState::{ClusterCreated, Failed, JobCreated, Running, Successful};
    let known = [JobCreated, ClusterCreated, Running, Successful, Failed];
    known.into_iter().map(JobState::as_str).find(|state| Some(*state) == said).unwrap_or(UNKNOWN)
}

fn pod(facts: &PodFacts) -> &'static str {
    match facts.phase {
        Phase::Pending => "Pending",
        Phase::Running if facts.ready => "Ready",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    }
}
