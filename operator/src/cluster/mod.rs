//! DaskCluster: a scheduler Deployment, its Service, and a default worker group.

mod build;
mod idle;
mod plan;
mod status;
mod validate;

use std::sync::Arc;

use jiff::Timestamp;

pub use build::{Desired, build, scheduler_selector};
pub use idle::Idleness;
pub use plan::plan;
pub use validate::{Valid, validate};

use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Component, Facts, Key, Kind, Resource};
use crate::plan::Plan;
use crate::plugin::{self, Built};
use crate::world::World;

/// What is observed of a cluster.
#[derive(Clone, Debug)]
pub struct View {
    /// The DaskCluster.
    pub resource: Arc<Resource>,
    /// Whatever has the scheduler Deployment's name.
    pub deployment: Option<Arc<Child>>,
    /// Whatever has the scheduler Service's name.
    pub service: Option<Arc<Child>>,
    /// Pods labelled as this cluster's scheduler that are not going.
    pub scheduler_pods: Vec<Arc<Child>>,
    /// Whatever has the default group's name.
    pub group: Option<Arc<Resource>>,
    /// The default group's creation was sent and has not been seen yet.
    pub group_expected: bool,
    /// Workers of all its groups: wanted, ready, and the first that is blocked.
    pub workers: Workers,
    /// The job it was made for, while that job's runner has not ended.
    pub active_job: Option<Key>,
}

/// The workers of a cluster, over all its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// How many the groups ask for.
    pub wanted: i64,
    /// How many are ready.
    pub ready: i64,
    /// Carriers of the default group.
    pub default_existing: i64,
    /// Ready ones of the default group.
    pub default_ready: i64,
    /// How many were made from an earlier template, as the groups say.
    pub outdated: i64,
    /// The first worker that cannot start, and why.
    pub blocked: Option<String>,
}

/// Plans for one cluster.
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Plan {
    let Some(view) = View::observe(world, key) else { return Plan::nothing() };
    match validate(&view.resource) {
        Ok(valid) => {
            let desired = build(&view.resource, &valid, &world.settings);
            let shape = plugin::shape(world, &view.resource, || desired.children(), now);
            plan(world, &view, &valid, desired.shaped(&shape), &shape, now)
        }
        Err(invalid) => plan::refuse(world, &view, &invalid, now),
    }
}

/// The children as built, for plugins; `None` where nothing can be built.
pub fn built(world: &World, resource: &Resource) -> Option<Vec<Built>> {
    let valid = validate(resource).ok()?;
    Some(build(resource, &valid, &world.settings).children())
}

impl View {
    /// Reads the cache.
    pub fn observe(world: &World, key: &Key) -> Option<Self> {
        let cache = &world.cache;
        let resource = cache.resource(key)?.clone();
        let (namespace, name) = (resource.namespace().to_owned(), resource.name().to_owned());
        let child = |kind| cache.child(&ChildId::new(kind, &namespace, &names::scheduler(&name))).cloned();
        let group = Key::new(Kind::WorkerGroup, &namespace, &names::default_group(&name));
        Some(Self {
            deployment: child(ChildKind::Deployment),
            service: child(ChildKind::Service),
            scheduler_pods: scheduler_pods(world, &namespace, &name),
            group: cache.resource(&group).cloned(),
            group_expected: cache.resource_expected(&group),
            workers: Workers::observe(world, &namespace, &name),
            active_job: active_job(world, &resource),
            resource,
        })
    }

    /// The Service, once a watch has shown it.
    pub fn seen_service(&self) -> Option<&Child> {
        self.service.as_deref().filter(|child| !matches!(child.facts, Facts::Expected))
    }
}

/// Pods labelled as the scheduler of a cluster that are not going.
pub fn scheduler_pods(world: &World, namespace: &str, cluster: &str) -> Vec<Arc<Child>> {
    let mut pods = all_scheduler_pods(world, namespace, cluster);
    pods.retain(|pod| !pod.deleting);
    pods
}

/// Pods labelled as the scheduler of a cluster, going or not.
pub fn all_scheduler_pods(world: &World, namespace: &str, cluster: &str) -> Vec<Arc<Child>> {
    world
        .cache
        .of_cluster(namespace, cluster)
        .filter(|child| child.component == Some(Component::Scheduler) && child.pod().is_some())
        .cloned()
        .collect()
}

/// Whether a cluster has exactly one scheduler pod and it is ready.
pub fn scheduler_ready(pods: &[Arc<Child>]) -> bool {
    matches!(pods, [pod] if pod.pod().is_some_and(|facts| facts.ready))
}

impl Workers {
    fn observe(world: &World, namespace: &str, cluster: &str) -> Self {
        let mut workers = Self::default();
        let default_group = Key::new(Kind::WorkerGroup, namespace, &names::default_group(cluster));
        if world.cache.resource(&default_group).is_none() {
            // Not made yet: what it will ask for is known all the same.
            let cluster = world.cache.resource(&Key::new(Kind::Cluster, namespace, cluster));
            workers.wanted =
                cluster.map_or(0, |cluster| cluster.spec["worker"]["replicas"].as_i64().unwrap_or(1));
        }
        let groups = world.cache.followers(namespace, cluster).filter(|key| key.kind == Kind::WorkerGroup);
        for group in groups.filter_map(|key| world.cache.resource(key)) {
            let observed = crate::worker_group::View::workers_of(world, group);
            let alive: Vec<_> = observed.iter().filter(|worker| worker.alive()).collect();
            let ready = alive.iter().filter(|worker| worker.ready()).count() as i64;
            workers.wanted += group.spec["worker"]["replicas"].as_i64().unwrap_or(1);
            workers.ready += ready;
            let count = |field: &str| group.status[field].as_i64();
            if let Some((existing, updated)) = count("replicas").zip(count("updatedReplicas")) {
                workers.outdated += existing - updated;
            }
            if group.name() == names::default_group(cluster) {
                workers.default_existing = alive.len() as i64;
                workers.default_ready = ready;
            }
            if workers.blocked.is_none() {
                workers.blocked =
                    alive.iter().find_map(|worker| worker.blocked()).or_else(|| trouble(world, group));
            }
        }
        workers
    }
}

/// What keeps a group itself from making workers, for instance a quota.
fn trouble(world: &World, group: &Resource) -> Option<String> {
    let trouble = world.remembered(&group.key).trouble?;
    Some(format!("{}: {}: {}", group.name(), trouble.reason, trouble.message))
}

/// The job that controls a cluster, while its runner exists and has not ended.
pub fn active_job(world: &World, cluster: &Resource) -> Option<Key> {
    let job = crate::job::of_cluster(world, cluster)?;
    (!crate::job::Runs::observe(world, job).over()).then(|| job.key.clone())
}
