//! What to write for a DaskJob.

use jiff::Timestamp;

use super::build::Desired;
use super::validate::Invalid;
use super::{View, status};
use crate::api::JobState;
use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Key, Kind, Resource};
use crate::ownership::{self, Claim};
use crate::plan::{Plan, Step, Target};
use crate::world::World;

/// Cluster and runner are made while the job has not ended; when it has, the status says so first and then the cluster goes.
pub fn plan(world: &World, view: &View, desired: Desired, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let resource = &*view.resource;
    if resource.deleting {
        return plan;
    }
    let state = status::state(view);
    let mut waiting = Vec::new();
    let mut children = Vec::new();
    if !status::ended(Some(state)) {
        children.extend(cluster(view, desired.cluster, &mut waiting));
        children.extend(runner(view, desired.runner, now, &mut waiting));
    }
    let trouble = world.remembered(&resource.key).trouble.filter(|_| !status::ended(Some(state)));
    let wanted = status::status(view, trouble.as_ref(), &waiting, now);
    let moved = crate::status::write(&mut plan, world, resource, wanted, now);
    if moved && status::stored(view) != Some(state) {
        plan.stage(announcement(resource, state).into_iter().collect());
    }
    // One after the other: where a quota lets only one of them in, the cluster's scheduler comes before the runner.
    for child in children {
        plan.then(child);
    }
    if status::ended(Some(state)) {
        plan.stage(remove_cluster(view).into_iter().collect());
    }
    plan.waiting = waiting;
    plan
}

/// A job that cannot be built: nothing is made or touched.
pub(super) fn refuse(world: &World, view: &View, invalid: &Invalid, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    if view.resource.deleting {
        return plan;
    }
    if crate::status::write(&mut plan, world, &view.resource, status::refused(view, invalid, now), now) {
        plan.then(Step::announce(&view.resource, true, "Refused", invalid.message.clone()));
    }
    plan
}

fn cluster(view: &View, body: serde_json::Value, waiting: &mut Vec<String>) -> Option<Step> {
    let resource = &*view.resource;
    match ownership::of_resource(resource, view.cluster.as_deref()) {
        Claim::Free if view.cluster_expected => None,
        Claim::Free => {
            let key = Key::new(Kind::Cluster, resource.namespace(), resource.name());
            Some(Step::Create { target: Target::Resource(key), body, expect: None })
        }
        // A cluster that somebody made by hand would be deleted with the job: it is never taken.
        Claim::Orphan => {
            waiting.push(format!(
                "DaskCluster {} exists already and is not the job's; rename one of them",
                resource.name()
            ));
            None
        }
        Claim::Leaving(why) | Claim::Foreign(why) => {
            waiting.push(why);
            None
        }
        Claim::Ours | Claim::Expected => None,
    }
}

fn runner(view: &View, body: serde_json::Value, now: Timestamp, waiting: &mut Vec<String>) -> Option<Step> {
    let resource = &*view.resource;
    // Without its cluster the runner would only wait for an address.
    if !waiting.is_empty() {
        return None;
    }
    let id = ChildId::new(ChildKind::Pod, resource.namespace(), &names::runner(resource.name()));
    match ownership::of_child(resource, view.runner.as_deref()) {
        Claim::Free => Some(Step::Create {
            expect: Some(Box::new(Child::expected(id.clone(), resource, None, now))),
            target: Target::Child(id),
            body,
        }),
        Claim::Orphan => {
            waiting.push(format!(
                "Pod {} exists already and is not the job's; delete it or rename the job",
                id.name
            ));
            None
        }
        Claim::Leaving(why) | Claim::Foreign(why) => {
            waiting.push(why);
            None
        }
        Claim::Ours | Claim::Expected => None,
    }
}

fn remove_cluster(view: &View) -> Option<Step> {
    let cluster =
        view.cluster.as_deref().filter(|found| !found.deleting && found.owned_by(&view.resource.uid))?;
    Some(Step::Delete {
        target: Target::Resource(cluster.key.clone()),
        uid: cluster.uid.clone(),
        resource_version: None,
        why: "the job has ended",
    })
}

/// The words are those of the Python operator's log, which its tests and people's searches look for.
fn announcement(resource: &Resource, state: JobState) -> Option<Step> {
    let name = resource.name();
    let (warning, reason, message) = match state {
        JobState::JobCreated => (
            false,
            "JobCreated",
            format!("A DaskJob has been created called {name} in {}", resource.namespace()),
        ),
        JobState::ClusterCreated => return None,
        JobState::Running => (false, "Running", "Job now in running".into()),
        JobState::Successful => (false, "Successful", "Job succeeded, deleting Dask cluster.".into()),
        JobState::Failed => (true, "Failed", "Job failed, deleting Dask cluster.".into()),
    };
    Some(Step::announce(resource, warning, reason, message))
}
