//! DaskWorkerGroup: any number of equal workers of one cluster.

mod build;
mod drain;
mod plan;
mod roll;
mod status;
mod update;
mod validate;
mod victims;
mod worker;

use std::sync::Arc;

use jiff::Timestamp;

pub use build::{Desired, build};
pub(crate) use drain::{ANSWER_MAX_AGE, grace};
pub use plan::plan;
pub use roll::Roll;
pub use update::{Amount, Update};
pub use validate::{Valid, validate};
pub use worker::Worker;

use crate::names;
use crate::observe::{Key, Kind, Resource};
use crate::plan::Plan;
use crate::plugin::{self, Built};
use crate::world::{SchedulerFacts, World};

/// What is observed of a group.
#[derive(Clone, Debug)]
pub struct View {
    /// The DaskWorkerGroup.
    pub resource: Arc<Resource>,
    /// The DaskCluster it names.
    pub cluster: Option<Arc<Resource>>,
    /// Its workers.
    pub workers: Vec<Worker>,
    /// What its scheduler answered.
    pub scheduler: Option<SchedulerFacts>,
    /// What has to exist before workers are made: the scheduler's pod, and the runner of a job's cluster. Where a quota lets
    /// only some pods in, workers must not starve these (pain 22).
    pub first: Option<String>,
}

/// Plans for one group.
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Plan {
    let Some(view) = View::observe(world, key) else { return Plan::nothing() };
    match validate(&view.resource) {
        Ok(valid) => {
            let desired =
                view.cluster.as_ref().map(|cluster| build(&view.resource, cluster, &valid, &world.settings));
            let shape = desired.as_ref().map_or_else(Default::default, |desired| {
                plugin::shape(world, &view.resource, || desired.children(), now)
            });
            let desired = desired.map(|desired| desired.shaped(&shape));
            plan(world, &view, &valid, desired.as_ref(), &shape, now)
        }
        Err(invalid) => plan::refuse(world, &view, &invalid, now),
    }
}

/// The children as built, for plugins; `None` where nothing can be built.
pub fn built(world: &World, resource: &Resource) -> Option<Vec<Built>> {
    let valid = validate(resource).ok()?;
    let cluster = Key::new(Kind::Cluster, resource.namespace(), resource.follows()?);
    let cluster = world.cache.resource(&cluster)?;
    Some(build(resource, cluster, &valid, &world.settings).children())
}

impl View {
    /// Reads the cache.
    pub fn observe(world: &World, key: &Key) -> Option<Self> {
        let resource = world.cache.resource(key)?.clone();
        let namespace = resource.namespace();
        let cluster = resource
            .follows()
            .and_then(|name| world.cache.resource(&Key::new(Kind::Cluster, namespace, name)))
            .cloned();
        let name = resource.follows().unwrap_or_default();
        Some(Self {
            workers: Self::workers_of(world, &resource),
            scheduler: world.scheduler(namespace, name).cloned(),
            first: cluster.as_ref().and_then(|cluster| comes_first(world, cluster)),
            cluster,
            resource,
        })
    }

    /// The workers of a group.
    pub fn workers_of(world: &World, group: &Resource) -> Vec<Worker> {
        Worker::observe(world, group)
    }
}

fn comes_first(world: &World, cluster: &Resource) -> Option<String> {
    let (namespace, name) = (cluster.namespace(), cluster.name());
    if crate::cluster::scheduler_pods(world, namespace, name).is_empty() {
        return Some(format!("waiting for the pod of Deployment {} to exist", names::scheduler(name)));
    }
    let job = crate::job::of_cluster(world, cluster)?;
    let runs = crate::job::Runs::observe(world, job);
    (!runs.seen())
        .then(|| format!("waiting for the job's pod {} to exist", names::runner(job.name(), runs.failed)))
}
