//! DaskAutoscaler: lets the default group of a cluster follow what its scheduler asks for.

mod build;
mod plan;
mod status;
mod validate;

use std::sync::Arc;

use jiff::Timestamp;

pub use build::build;
pub use plan::plan;
pub use validate::{Invalid, Valid, validate};

use crate::names;
use crate::observe::{Key, Kind, Resource};
use crate::plan::Plan;
use crate::world::{SchedulerFacts, World};

/// What is observed of an autoscaler.
#[derive(Clone, Debug)]
pub struct View {
    /// The DaskAutoscaler.
    pub resource: Arc<Resource>,
    /// The DaskCluster it names.
    pub cluster: Option<Arc<Resource>>,
    /// That cluster's default group.
    pub group: Option<Arc<Resource>>,
    /// What its scheduler answered.
    pub scheduler: Option<SchedulerFacts>,
    /// The cluster's scheduler pod is ready.
    pub scheduler_ready: bool,
}

/// Plans for one autoscaler.
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Plan {
    let Some(view) = View::observe(world, key) else { return Plan::nothing() };
    match validate(&view.resource) {
        Ok(valid) => plan(world, &view, &valid, now),
        Err(invalid) => plan::refuse(world, &view, &invalid, now),
    }
}

impl View {
    /// Reads the cache.
    pub fn observe(world: &World, key: &Key) -> Option<Self> {
        let resource = world.cache.resource(key)?.clone();
        let namespace = resource.namespace();
        let name = resource.follows().unwrap_or_default();
        let found = |kind, name: &str| world.cache.resource(&Key::new(kind, namespace, name)).cloned();
        Some(Self {
            cluster: found(Kind::Cluster, name),
            group: found(Kind::WorkerGroup, &names::default_group(name)),
            scheduler: world.scheduler(namespace, name).cloned(),
            scheduler_ready: crate::cluster::scheduler_ready(&crate::cluster::scheduler_pods(
                world, namespace, name,
            )),
            resource,
        })
    }
}
