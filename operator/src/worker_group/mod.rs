//! DaskWorkerGroup: any number of equal workers of one cluster.

mod build;
mod plan;
mod status;
mod validate;
mod victims;
mod worker;

use std::sync::Arc;

use jiff::Timestamp;

pub use build::{Desired, build};
pub use plan::plan;
pub use validate::{Invalid, Valid, validate};
pub use worker::Worker;

use crate::observe::{Key, Kind, Resource};
use crate::plan::Plan;
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
    /// The cluster's scheduler pod is ready.
    pub scheduler_ready: bool,
}

/// Plans for one group.
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Plan {
    let Some(view) = View::observe(world, key) else { return Plan::nothing() };
    match validate(&view.resource) {
        Ok(valid) => {
            let desired =
                view.cluster.as_ref().map(|cluster| build(&view.resource, cluster, &valid, &world.settings));
            plan(world, &view, &valid, desired.as_ref(), now)
        }
        Err(invalid) => plan::refuse(world, &view, &invalid, now),
    }
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
            scheduler_ready: crate::cluster::scheduler_ready(&crate::cluster::scheduler_pods(
                world, namespace, name,
            )),
            cluster,
            resource,
        })
    }

    /// The workers of a group.
    pub fn workers_of(world: &World, group: &Resource) -> Vec<Worker> {
        Worker::observe(world, group)
    }
}
