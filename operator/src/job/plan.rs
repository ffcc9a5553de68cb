//! What to write for a DaskJob.

use jiff::Timestamp;

use super::build::Desired;
use super::course::{self, Course};
use super::validate::Valid;
use super::{View, status};
use crate::api::JobState;
use crate::conditions;
use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Key, Kind, Resource};
use crate::ownership::{self, Claim};
use crate::plan::{Plan, Step, Target};
use crate::plugin::{self, Shape};
use crate::spec::Invalid;
use crate::store::Propagation;
use crate::world::World;

/// Cluster and runner are made while the job is to run; when it has ended, the status says so first and then the cluster goes.
pub fn plan(
    world: &World,
    view: &View,
    valid: &Valid,
    desired: Desired,
    shape: &Shape,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::nothing();
    let resource = &*view.resource;
    if resource.deleting {
        return plan;
    }
    let course = course::course(view, valid, now);
    let mut waiting: Vec<String> = Vec::new();
    let mut children = Vec::new();
    let mut added: Vec<Vec<Step>> = Vec::new();
    let runs = course == Course::Run(view.runs.failed);
    if runs && shape.held {
        waiting.extend(shape.waiting.clone());
    } else if runs {
        children.extend(cluster(view, valid, desired.cluster, &mut waiting));
        children.extend(runner(view, desired.runner, now, &mut waiting));
        added.extend(plugin::stages(world, resource, shape, &mut waiting));
    } else {
        added.extend(plugin::leavings(world, resource));
    }
    let over = matches!(course, Course::Over(_));
    let trouble = world.remembered(&resource.key).trouble.filter(|_| !over);
    let said = status::Said { shape, trouble: trouble.as_ref(), waiting: &waiting };
    let wanted = status::status(view, valid, &course, &said, now);
    if crate::status::write(&mut plan, world, resource, wanted, now) {
        plan.stage(announcement(view, &course).into_iter().collect());
    }
    plugin::announce(world, resource, shape, &mut plan);
    // One after the other: where a quota lets only one of them in, the cluster comes before the runner.
    for child in children {
        plan.then(child);
    }
    plan.stage(removals(view, valid, &course));
    // Last: what plugins add may be refused, and then nothing after it is done.
    for stage in added {
        plan.stage(stage);
    }
    again(view, valid, &course, &mut plan, now);
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

fn cluster(view: &View, valid: &Valid, body: serde_json::Value, waiting: &mut Vec<String>) -> Option<Step> {
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
        Claim::Ours if stale(view, valid) => {
            waiting.push(format!("waiting for DaskCluster {} of the run before to go", resource.name()));
            None
        }
        Claim::Ours | Claim::Expected => None,
    }
}

/// The runner is made once its scheduler's pod exists: where a quota has little room, the runner is nothing without it (pain 22),
/// and a scheduler of an earlier cluster of the same name must not get its work (pain 9).
fn runner(view: &View, body: serde_json::Value, now: Timestamp, waiting: &mut Vec<String>) -> Option<Step> {
    let resource = &*view.resource;
    if !waiting.is_empty() {
        return None;
    }
    let name = names::runner(resource.name(), view.runs.failed);
    let id = ChildId::new(ChildKind::Pod, resource.namespace(), &name);
    match ownership::of_child(resource, view.runner.as_deref()) {
        Claim::Free => {
            if let Some(why) = scheduler_missing(view) {
                waiting.push(why);
                return None;
            }
            let expect = Child::expected(id.clone(), resource, None, now);
            Some(Step::Create { expect: Some(Box::new(expect)), target: Target::Child(id), body })
        }
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

fn scheduler_missing(view: &View) -> Option<String> {
    let name = names::scheduler(view.resource.name());
    let Some(cluster) = view.cluster.as_deref() else {
        return Some(format!("waiting for DaskCluster {} to exist", view.resource.name()));
    };
    let (old, present): (Vec<_>, Vec<_>) =
        view.scheduler_pods.iter().partition(|pod| pod.created < cluster.created);
    if let Some(pod) = old.first() {
        return Some(format!("waiting for pod {} of an earlier cluster of this name to go", pod.id.name));
    }
    let missing = present.iter().all(|pod| pod.deleting);
    missing.then(|| format!("waiting for the pod of Deployment {name} to exist"))
}

/// The cluster was made for a run that has failed, and each run is to get a new one.
fn stale(view: &View, valid: &Valid) -> bool {
    let made_for = |cluster: &Resource| {
        cluster.annotations.get(names::RUN).and_then(|run| run.parse::<u32>().ok()).unwrap_or(0)
    };
    valid.fresh && view.cluster.as_deref().is_some_and(|cluster| made_for(cluster) < view.runs.failed)
}

/// What the job has no use for any more.
fn removals(view: &View, valid: &Valid, course: &Course) -> Vec<Step> {
    // In the foreground the name stays taken until all of it has gone, so that the next cluster cannot meet what is left.
    let (why, propagation) = match course {
        Course::Over(_) => ("the job has ended", Propagation::Background),
        Course::Suspended => ("the job is suspended", Propagation::Foreground),
        Course::Pausing(_) | Course::Run(_) if stale(view, valid) => {
            ("the run it was made for has failed", Propagation::Foreground)
        }
        Course::Pausing(_) | Course::Run(_) => return Vec::new(),
    };
    let mut steps: Vec<Step> = Vec::new();
    let cluster = view.cluster.as_deref().filter(|c| !c.deleting && c.owned_by(&view.resource.uid));
    steps.extend(cluster.map(|cluster| Step::Delete {
        target: Target::Resource(cluster.key.clone()),
        uid: cluster.uid.clone(),
        resource_version: None,
        propagation,
        why,
    }));
    if matches!(course, Course::Over(_) | Course::Suspended) {
        steps.extend(view.runs.active().filter(|pod| !pod.uid.is_empty()).map(|pod| Step::delete(pod, why)));
    }
    steps
}

/// Times at which something is due though nothing happens; an end that has stood long enough is one of them.
fn again(view: &View, valid: &Valid, course: &Course, plan: &mut Plan, now: Timestamp) {
    let resource = &*view.resource;
    match course {
        Course::Over(_) => {
            let ended = resource.status["endTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            // Only what is stored counts: whoever waits for the end must have been able to see it.
            let Some((ended, ttl)) = ended.zip(valid.ttl).filter(|_| status::is_over(resource)) else {
                return;
            };
            let due = ended.saturating_add(ttl).unwrap_or(Timestamp::MAX);
            if due > now {
                plan.look_again(due);
            } else {
                plan.then(Step::Delete {
                    target: Target::Resource(resource.key.clone()),
                    uid: resource.uid.clone(),
                    resource_version: None,
                    propagation: Propagation::Background,
                    why: "its ttlSecondsAfterFinished has passed",
                });
            }
        }
        Course::Suspended => {}
        Course::Pausing(_) | Course::Run(_) => {
            if let Course::Pausing(until) = course {
                plan.look_again(*until);
            }
            if let Some((_, at)) = course::deadline(view, valid) {
                plan.look_again(at);
            }
        }
    }
}

/// The words of the five states are those of the Python operator's log, which its tests and people's searches look for.
fn announcement(view: &View, course: &Course) -> Option<Step> {
    let resource = &*view.resource;
    let name = resource.name();
    let state = status::state(view, course);
    let said = |kind: &str| conditions::find(&resource.status["conditions"], kind);
    let reason_was = |reason: &str| said("Ready").is_some_and(|ready| ready["reason"] == reason);
    let was_suspended = said("Suspended").is_some_and(|suspended| suspended["status"] == "True");
    let (warning, reason, message) = match (course, state) {
        (Course::Suspended, _) if !was_suspended => {
            (false, "Suspended", "Job suspended, deleting its pods.".into())
        }
        (Course::Suspended, _) => return None,
        (Course::Pausing(_), _) if !reason_was("BackOff") => {
            let failed = view.runs.last().map(course::why).unwrap_or_default();
            (true, "RunFailed", format!("Run {} failed: {failed}", view.runs.failed))
        }
        (_, JobState::JobCreated) if was_suspended => (false, "Resumed", "Job resumed.".into()),
        (_, state) if status::stored(view) == Some(state) => return None,
        (_, JobState::JobCreated) => (
            false,
            "JobCreated",
            format!("A DaskJob has been created called {name} in {}", resource.namespace()),
        ),
        (_, JobState::ClusterCreated) => return None,
        (_, JobState::Running) => (false, "Running", "Job now in running".into()),
        (_, JobState::Successful) => (false, "Successful", "Job succeeded, deleting Dask cluster.".into()),
        (_, JobState::Failed) => (true, "Failed", "Job failed, deleting Dask cluster.".into()),
    };
    Some(Step::announce(resource, warning, reason, message))
}
