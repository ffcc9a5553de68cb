//! DaskJob: a runner pod with a cluster of its own, removed when the runner has ended.

mod build;
mod plan;
mod status;
mod validate;

use std::sync::Arc;

use jiff::Timestamp;

pub use build::{Desired, build};
pub use plan::plan;
pub use validate::{Invalid, Valid, validate};

use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Key, Kind, Resource};
use crate::plan::Plan;
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
    /// Whatever pod has the runner's name.
    pub runner: Option<Arc<Child>>,
}

/// Plans for one job.
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Plan {
    let Some(view) = View::observe(world, key) else { return Plan::nothing() };
    match validate(&view.resource) {
        Ok(valid) => {
            let desired = build(&view.resource, &valid, &world.settings);
            plan(world, &view, desired, now)
        }
        Err(invalid) => plan::refuse(world, &view, &invalid, now),
    }
}

impl View {
    /// Reads the cache.
    pub fn observe(world: &World, key: &Key) -> Option<Self> {
        let resource = world.cache.resource(key)?.clone();
        let namespace = resource.namespace();
        let cluster = Key::new(Kind::Cluster, namespace, resource.name());
        let runner = ChildId::new(ChildKind::Pod, namespace, &names::runner(resource.name()));
        Some(Self {
            cluster: world.cache.resource(&cluster).cloned(),
            cluster_expected: world.cache.resource_expected(&cluster),
            runner: world.cache.child(&runner).cloned(),
            resource,
        })
    }
}
