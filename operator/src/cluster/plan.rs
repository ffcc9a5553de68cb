//! What to write for a DaskCluster.

use std::mem;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::build::Desired;
use super::validate::Valid;
use super::{View, idle, status};
use crate::api::ClusterPhase;
use crate::merge;
use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Key, Kind, Resource};
use crate::ownership::{self, Claim};
use crate::plan::{Plan, Step, Target};
use crate::plugin::{self, Shape};
use crate::spec::Invalid;
use crate::store::Propagation;
use crate::world::World;

/// Missing children are made, the worker number flows to the default group when it changes, an idle cluster goes.
pub fn plan(
    world: &World,
    view: &View,
    valid: &Valid,
    mut desired: Desired,
    shape: &Shape,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::nothing();
    let resource = &*view.resource;
    let finalizer = ownership::without_kopf_finalizer(resource);
    plan.stage(finalizer.into_iter().collect());
    if resource.deleting {
        return plan;
    }
    let mut children = Vec::new();
    let mut waiting: Vec<String> = shape.waiting.iter().cloned().collect();
    let outdated = status::Outdated::of(view, &desired, shape);
    let (deployment, service) = (mem::take(&mut desired.deployment), mem::take(&mut desired.service));
    for (kind, found, body, hash) in [
        (ChildKind::Deployment, view.deployment.as_deref(), deployment, &desired.scheduler_hash),
        (ChildKind::Service, view.service.as_deref(), service, &desired.service_hash),
    ] {
        if shape.held {
            continue;
        }
        let outdated = |child: &&Child| valid.recreate && !shape.unsure && status::is_outdated(child, hash);
        if let Some(child) = found.filter(outdated) {
            children.extend(replace(resource, child));
        } else {
            children.extend(scheduler_child(resource, kind, found, body, now, &mut waiting));
        }
    }
    let group = default_group(view, valid, &desired, shape, &mut waiting);
    let added = plugin::stages(world, resource, shape, &mut waiting);
    let remembered = world.remembered(&resource.key);
    // While the Service is on its way there is nothing to say yet, unless something is in the way.
    let something_to_say = view.seen_service().is_some()
        || remembered.trouble.is_some()
        || !waiting.is_empty()
        || !resource.status["phase"].is_null();
    if something_to_say {
        let said = status::Said {
            outdated: &outdated,
            shape,
            trouble: remembered.trouble.as_ref(),
            waiting: &waiting,
        };
        let status = status::status(world, view, valid, &said, now);
        let moved = crate::status::write(&mut plan, world, resource, status, now);
        plan.stage(announcements(view, moved));
        plugin::announce(world, resource, shape, &mut plan);
    }
    plan.stage(children);
    plan.stage(group.into_iter().collect());
    plan.stage(path_note(world, resource).into_iter().collect());
    idle::idle(world, view, valid, &mut plan, now);
    // Last: what plugins add may be refused, and then nothing after it is done.
    for stage in added {
        plan.stage(stage);
    }
    plan.waiting = waiting;
    plan
}

/// A cluster that cannot be built: the phase says `Error` and nothing is made or touched.
pub(super) fn refuse(world: &World, view: &View, invalid: &Invalid, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    plan.stage(ownership::without_kopf_finalizer(&view.resource).into_iter().collect());
    if view.resource.deleting {
        return plan;
    }
    let status = status::refused(view, invalid, now);
    if crate::status::write(&mut plan, world, &view.resource, status, now) {
        plan.then(Step::announce(&view.resource, true, "Refused", invalid.message.clone()));
    }
    plan
}

/// Deletes what was made from an earlier template, so that it is made anew. In the foreground: its name is free when its pods
/// have gone, and there are never two schedulers.
fn replace(resource: &Resource, child: &Child) -> Vec<Step> {
    let text = format!("deleting {} to make it anew: its part of the spec has changed", child.id);
    let mut delete = Step::delete(child, "its part of the spec has changed");
    if let Step::Delete { propagation, .. } = &mut delete {
        *propagation = Propagation::Foreground;
    }
    vec![Step::announce(resource, true, "Recreating", text), delete]
}

fn scheduler_child(
    resource: &Resource,
    kind: ChildKind,
    found: Option<&Child>,
    body: Value,
    now: Timestamp,
    waiting: &mut Vec<String>,
) -> Option<Step> {
    let id = ChildId::new(kind, resource.namespace(), &names::scheduler(resource.name()));
    match ownership::of_child(resource, found) {
        Claim::Free => Some(Step::Create {
            expect: Some(Box::new(Child::expected(id.clone(), resource, None, now))),
            target: Target::Child(id),
            body,
        }),
        Claim::Orphan => found.map(|child| {
            ownership::adopt(Target::Child(id), &child.owners, &child.resource_version, resource)
        }),
        Claim::Leaving(why) | Claim::Foreign(why) => {
            waiting.push(why);
            None
        }
        Claim::Ours | Claim::Expected => None,
    }
}

/// Makes the default group, or lets a changed worker number or template flow to it. The group adopts itself.
fn default_group(
    view: &View,
    valid: &Valid,
    desired: &Desired,
    shape: &Shape,
    waiting: &mut Vec<String>,
) -> Option<Step> {
    let resource = &*view.resource;
    let held = shape.held;
    let key = Key::new(Kind::WorkerGroup, resource.namespace(), &names::default_group(resource.name()));
    match ownership::of_resource(resource, view.group.as_deref()) {
        Claim::Free if view.group_expected || held => None,
        Claim::Free => {
            let body = desired.group.clone();
            Some(Step::Create { target: Target::Resource(key), body, expect: None })
        }
        Claim::Ours | Claim::Orphan => {
            view.group.as_deref().and_then(|group| flow(resource, valid, desired, shape, group))
        }
        Claim::Leaving(why) | Claim::Foreign(why) => {
            waiting.push(why);
            None
        }
        Claim::Expected => None,
    }
}

/// The group is the truth; the cluster's number and template flow only when they change (compatibility contract, trap 9).
///
/// What flowed last is remembered on the group, so that an operator that was down neither misses nor repeats a change. Without
/// that memory (a group made by today's operator) the number kopf handled last tells whether one is due; that operator never
/// let a template flow.
///
/// While plugins leave it open how the template should be, the number flows alone.
fn flow(
    resource: &Resource,
    valid: &Valid,
    desired: &Desired,
    shape: &Shape,
    group: &Resource,
) -> Option<Step> {
    let wanted = valid.spec.worker.replicas;
    let flowed = group.annotations.get(names::FLOWED_REPLICAS).and_then(|text| text.parse::<i64>().ok());
    let known = group.annotations.get(names::FLOWED_TEMPLATE).map(String::as_str);
    let template = if shape.unsure { known.unwrap_or_default() } else { &*desired.template_hash };
    if flowed == Some(wanted) && (known == Some(template) || shape.unsure) {
        return None;
    }
    let mut worker = Value::Null;
    if known.is_some_and(|known| known != template) {
        let mut before = group.spec["worker"].clone();
        if let Some(before) = before.as_object_mut() {
            before.remove("replicas");
        }
        worker = merge::diff(&before, &desired.template).unwrap_or_default();
    }
    if flowed.or_else(|| handled_by_kopf(resource)).unwrap_or(wanted) != wanted {
        worker["replicas"] = json!(wanted);
    }
    let mut body = json!({"metadata": {
        "resourceVersion": group.resource_version,
        "annotations": {names::FLOWED_REPLICAS: wanted.to_string()},
    }});
    if !shape.unsure {
        body["metadata"]["annotations"][names::FLOWED_TEMPLATE] = json!(template);
    }
    if !worker.is_null() {
        body["spec"] = json!({"worker": worker});
    }
    Some(Step::Patch { target: Target::Resource(group.key.clone()), body })
}

/// The worker number that the Python operator had handled, from kopf's memory on the cluster.
fn handled_by_kopf(resource: &Resource) -> Option<i64> {
    let text = resource.annotations.get(names::KOPF_LAST_HANDLED)?;
    let handled: Value = serde_json::from_str(text.trim()).ok()?;
    handled["spec"]["worker"]["replicas"].as_i64()
}

/// By which path the scheduler answers, as an annotation where the installed definition stores no conditions.
fn path_note(world: &World, resource: &Resource) -> Option<Step> {
    let path = world.scheduler(resource.namespace(), resource.name())?.path?.reason();
    let noted = resource.annotations.get(names::SCHEDULER_PATH).is_some_and(|noted| noted == path);
    (!noted && !world.stores(Kind::Cluster, "conditions")).then(|| Step::Patch {
        target: Target::Resource(resource.key.clone()),
        body: json!({"metadata": {"annotations": {names::SCHEDULER_PATH: path}}}),
    })
}

fn announcements(view: &View, moved: bool) -> Vec<Step> {
    let phase = status::phase(view);
    if !moved || view.resource.status["phase"] == phase.as_str() {
        return Vec::new();
    }
    match phase {
        ClusterPhase::Running => vec![Step::announce(
            &view.resource,
            false,
            "Running",
            format!("the scheduler is addressed by Service {}", names::scheduler(view.resource.name())),
        )],
        _ => Vec::new(),
    }
}
