//! DaskAutoscaler: lets worker groups of a cluster follow what its scheduler asks for.

mod build;
mod plan;
mod status;
mod validate;
mod wishes;

use std::sync::Arc;

use jiff::Timestamp;

pub use build::{Free, Present, build};
pub use plan::plan;
pub use validate::{Bounds, Valid, Window, validate};
pub use wishes::{WINDOW_MAX, Wishes};

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
    /// The groups it scales that exist and belong to that cluster, with their ready workers; in the order of its spec.
    pub groups: Vec<(Arc<Resource>, i64)>,
    /// Ready workers of the cluster's other groups.
    pub others: i64,
    /// An older autoscaler that scales one of these groups.
    pub rival: Option<String>,
    /// What its scheduler answered.
    pub scheduler: Option<SchedulerFacts>,
    /// Since when the cluster's scheduler pod exists, if it is ready.
    pub scheduler_since: Option<Timestamp>,
}

/// Plans for one autoscaler.
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Plan {
    let Some(view) = View::observe(world, key) else { return Plan::nothing() };
    match validate(&view.resource, &world.settings.pace) {
        Ok(valid) => plan(world, &view, &valid, now),
        Err(invalid) => plan::refuse(world, &view, &invalid, now),
    }
}

impl View {
    /// Reads the cache.
    pub fn observe(world: &World, key: &Key) -> Option<Self> {
        let resource = world.cache.resource(key)?.clone();
        let namespace = &*key.namespace;
        let cluster = &*resource.follows().unwrap_or_default().to_owned();
        let of_cluster = || world.cache.followers(namespace, cluster);
        let mine = group_names(&resource);
        let mut groups: Vec<(usize, Arc<Resource>, i64)> = Vec::new();
        let mut others = 0;
        for group in of_cluster().filter(|key| key.kind == Kind::WorkerGroup) {
            let Some(group) = world.cache.resource(group).filter(|group| !group.deleting) else { continue };
            let ready = ready_workers(world, group);
            match mine.iter().position(|name| name == group.name()) {
                Some(place) => groups.push((place, group.clone(), ready)),
                None => others += ready,
            }
        }
        groups.sort_by_key(|(place, _, _)| *place);
        let pods = crate::cluster::scheduler_pods(world, namespace, cluster);
        let ready = crate::cluster::scheduler_ready(&pods);
        Some(Self {
            cluster: world.cache.resource(&Key::new(Kind::Cluster, namespace, cluster)).cloned(),
            groups: groups.into_iter().map(|(_, group, ready)| (group, ready)).collect(),
            others,
            rival: of_cluster()
                .filter_map(|key| world.cache.resource(key))
                .find(|other| is_rival(&resource, &mine, other))
                .map(|other| other.name().to_owned()),
            scheduler: world.scheduler(namespace, cluster).cloned(),
            scheduler_since: pods.first().filter(|_| ready).map(|pod| pod.created),
            resource,
        })
    }
}

/// The groups an autoscaler names, as far as its spec can be read.
fn group_names(resource: &Resource) -> Vec<String> {
    let spec = &*resource.spec;
    let default = || names::default_group(resource.follows().unwrap_or_default());
    match (spec["workerGroup"].as_str(), spec["groups"].as_array()) {
        (Some(name), _) => vec![name.to_owned()],
        (None, Some(list)) => {
            list.iter().filter_map(|group| group["name"].as_str()).map(str::to_owned).collect()
        }
        (None, None) => vec![default()],
    }
}

/// Two autoscalers of one group would each undo what the other did: the older one has it.
fn is_rival(resource: &Resource, mine: &[String], other: &Resource) -> bool {
    other.key.kind == Kind::Autoscaler
        && !other.deleting
        && (other.created, other.name()) < (resource.created, resource.name())
        && group_names(other).iter().any(|name| mine.contains(name))
}

fn ready_workers(world: &World, group: &Resource) -> i64 {
    let workers = crate::worker_group::View::workers_of(world, group);
    workers.iter().filter(|worker| worker.alive() && worker.ready()).count() as i64
}
