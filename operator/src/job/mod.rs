//! DaskJob: a runner pod with a cluster of its own, removed when the runner has ended.

mod build;
mod course;
mod plan;
mod runs;
mod status;
mod validate;

use std::sync::Arc;

use jiff::Timestamp;

pub use build::{Desired, build};
pub use plan::plan;
pub use runs::Runs;
pub use validate::{Valid, validate};

use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Key, Kind, Resource};
use crate::plan::Plan;
use crate::plugin::{self, Built, Shape};
use crate::world::World;

/// What is observed of a job.
#[derive(Clone, Debug)]
pub struct View {
    /// The DaskJob.
    pub resource: Arc<Resource>,
    /// Whatever DaskCluster has the job's name.
    pub cluster: Option<Arc<Resource>>,
    /// The cluster's creation was sent and has not been seen yet.
    pub cluster_expected: bool,
    /// Pods labelled as the scheduler of a cluster of that name, going or not.
    pub scheduler_pods: Vec<Arc<Child>>,
    /// The pods of its runs.
    pub runs: Runs,
    /// Whatever pod has the name of the run that is due.
    pub runner: Option<Arc<Child>>,
}

/// Plans for one job.
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Plan {
    let Some(view) = View::observe(world, key) else { return Plan::nothing() };
    match validate(&view.resource) {
        Ok(valid) => {
            let desired = build(&view.resource, &valid, view.runs.failed, &world.settings);
            let shape = if status::is_over(&view.resource) {
                Shape::at_rest(&view.resource)
            } else {
                plugin::shape(world, &view.resource, || desired.children(), now)
            };
            plan(world, &view, &valid, desired.shaped(&shape), &shape, now)
        }
        Err(invalid) => plan::refuse(world, &view, &invalid, now),
    }
}

/// The children as built, for plugins; `None` where nothing is built any more.
pub fn built(world: &World, resource: &Resource) -> Option<Vec<Built>> {
    let valid = validate(resource).ok().filter(|_| !status::is_over(resource))?;
    let run = Runs::observe(world, resource).failed;
    Some(build(resource, &valid, run, &world.settings).children())
}

/// The job that controls a cluster, if it has not ended.
pub fn of_cluster<'a>(world: &'a World, cluster: &Resource) -> Option<&'a Arc<Resource>> {
    let owner = cluster.controller().filter(|owner| &*owner.kind == Kind::Job.name())?;
    let key = Key::new(Kind::Job, cluster.namespace(), &owner.name);
    world.cache.resource(&key).filter(|job| *job.uid == *owner.uid && !status::is_over(job))
}

impl View {
    /// Reads the cache.
    pub fn observe(world: &World, key: &Key) -> Option<Self> {
        let resource = world.cache.resource(key)?.clone();
        let namespace = resource.namespace();
        let cluster = Key::new(Kind::Cluster, namespace, resource.name());
        let runs = Runs::observe(world, &resource);
        let name = names::runner(resource.name(), runs.failed);
        Some(Self {
            cluster: world.cache.resource(&cluster).cloned(),
            cluster_expected: world.cache.resource_expected(&cluster),
            scheduler_pods: crate::cluster::all_scheduler_pods(world, namespace, resource.name()),
            runner: world.cache.child(&ChildId::new(ChildKind::Pod, namespace, &name)).cloned(),
            runs,
            resource,
        })
    }
}
