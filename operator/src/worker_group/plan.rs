//! What to write for a DaskWorkerGroup.

use jiff::{SignedDuration, Timestamp};

use super::build::Desired;
use super::drain::{self, Split};
use super::update::Turn;
use super::validate::Valid;
use super::worker::Worker;
use super::{View, status};
use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Resource};
use crate::ownership;
use crate::plan::{Plan, Step, Target};
use crate::plugin::{self, Shape};
use crate::settings::Carrier;
use crate::spec::Invalid;
use crate::world::World;

/// At most this many workers are made by one plan, so that a large group does not hold up others; the rest follows at once.
const CREATES_MAX: usize = 256;
/// Worker Deployments come so long after their group's time stamp, which has whole seconds: at least a quarter of a second after the
/// group itself. The Python operator takes that long, and its suite (`test_object_dask_cluster`) relies on it.
const SETTLING: SignedDuration = SignedDuration::from_millis(1_250);

/// Missing workers are made, ended ones replaced, superfluous ones drained.
pub fn plan(
    world: &World,
    view: &View,
    valid: &Valid,
    desired: Option<&Desired>,
    shape: &Shape,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::nothing();
    let resource = &*view.resource;
    if resource.deleting {
        return plan;
    }
    let (Some(cluster), Some(desired)) = (&view.cluster, desired) else {
        // The cluster that owned it is gone: garbage collection takes the group along.
        if resource.owners.iter().any(|owner| &*owner.kind == "DaskCluster") {
            return plan;
        }
        let why = format!("waiting for DaskCluster {} to be created in this namespace", valid.spec.cluster);
        return say(world, view, "ClusterMissing", why, now);
    };
    if cluster.deleting {
        return plan;
    }
    if let Some(other) =
        resource.controller().filter(|owner| *owner.uid != *cluster.uid && &*owner.kind == "DaskCluster")
    {
        let why = format!("waiting to be deleted with the earlier DaskCluster {} that owns it", other.name);
        return say(world, view, "OwnerGone", why, now);
    }
    if !resource.owned_by(&cluster.uid) {
        plan.then(ownership::adopt(
            Target::Resource(resource.key.clone()),
            &resource.owners,
            &resource.resource_version,
            cluster,
        ));
    }
    let mut rest = Plan::nothing();
    let alive: Vec<&Worker> = view.workers.iter().filter(|worker| worker.alive()).collect();
    let split = Split::of(&alive, view.scheduler.as_ref());
    let turn = valid.update.turn(&split.staying, &view.workers, desired, valid.replicas);
    recreate(view, &turn, &mut rest);
    // Those that are deleted whatever they hold need not be retired.
    let obstacle =
        if turn.at_once.is_empty() { drain::drain(world, view, &split, &turn, &mut rest, now) } else { None };
    if drain::unanswered_since(view).is_some() && obstacle.as_ref().is_none_or(|known| !known.unanswered()) {
        rest.then(drain::answered(view));
    }
    if shape.held {
        rest.waiting.extend(shape.waiting.clone());
    } else if turn.make == 0 && split.staying.len() > valid.replicas {
        rest.stage(view.workers.iter().filter(|w| w.ended() && !w.carrier.deleting).map(ended).collect());
    } else {
        grow(world, view, desired, turn.make, &mut rest, now);
    }
    let added = plugin::stages(world, resource, shape, &mut rest.waiting);
    for stage in added {
        rest.stage(stage);
    }
    let trouble = world.remembered(&resource.key).trouble;
    // The first workers are on their way: there is nothing to say before one of them has been seen.
    let beginning = resource.status["observedGeneration"].is_null()
        && (rest.steps().any(|step| step.creates().is_some()) || settled_at(world, resource, now).is_some());
    if !beginning || trouble.is_some() {
        let said = status::Said {
            trouble: trouble.as_ref(),
            waiting: &rest.waiting,
            obstacle: obstacle.as_ref(),
            shape,
        };
        let wanted = status::status(view, valid.replicas, &turn, &said, now);
        crate::status::write(&mut plan, world, resource, wanted, now);
        plugin::announce(world, resource, shape, &mut plan);
    }
    plan.stages.append(&mut rest.stages);
    plan.waiting = rest.waiting;
    plan.poll = rest.poll;
    if let Some(at) = rest.again {
        plan.look_again(at);
    }
    plan
}

/// A group that cannot be built.
pub(super) fn refuse(world: &World, view: &View, invalid: &Invalid, now: Timestamp) -> Plan {
    if view.resource.deleting {
        return Plan::nothing();
    }
    let mut plan = say(world, view, invalid.reason, invalid.message.clone(), now);
    let before = &view.resource.status["conditions"][0]["reason"];
    if *before != invalid.reason {
        plan.then(Step::announce(&view.resource, true, "Refused", invalid.message.clone()));
    }
    plan
}

fn say(world: &World, view: &View, reason: &str, message: String, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    crate::status::write(&mut plan, world, &view.resource, status::blocked(view, reason, &message, now), now);
    plan.waiting.push(message);
    plan
}

/// Deletes all workers of an earlier template at once: whoever chose `Recreate` chose to lose what they hold.
fn recreate(view: &View, turn: &Turn<'_>, plan: &mut Plan) {
    if turn.clearing {
        plan.waiting.push("waiting for the workers made from another template to go".into());
    }
    if turn.at_once.is_empty() {
        return;
    }
    let text = format!(
        "deleting {} workers made from another template, with what they hold, because the update strategy is Recreate",
        turn.at_once.len()
    );
    plan.then(Step::announce(&view.resource, true, "Recreating", text));
    plan.stage(
        turn.at_once.iter().map(|worker| Step::delete(&worker.carrier, "its template has changed")).collect(),
    );
}

/// Makes `missing` workers in the lowest free slots. A worker that ended is replaced after a pause that grows with each
/// failure in a row, and goes once its successor exists.
fn grow(world: &World, view: &View, desired: &Desired, missing: usize, plan: &mut Plan, now: Timestamp) {
    // One that was being retired has ended as it should, and has no successor.
    let (retired, mut over): (Vec<&Worker>, Vec<&Worker>) = view
        .workers
        .iter()
        .filter(|w| w.ended() && !w.carrier.deleting)
        .partition(|w| w.carrier.retiring.is_some());
    plan.stage(retired.into_iter().map(ended).collect());
    if let Some(first) = view.first.as_ref().filter(|_| missing > 0) {
        plan.waiting.push(first.clone());
        return;
    }
    if let Some(at) = settled_at(world, &view.resource, now).filter(|_| missing > 0) {
        plan.waiting.push("waiting a moment before the first worker Deployments are made".into());
        plan.look_again(at);
        return;
    }
    over.sort_by_key(|worker| worker.replacement());
    let resting = over.iter().filter(|worker| worker.replacement().0 > now).count();
    // Workers that ended and may not be replaced yet keep their seat.
    let resting = resting.min(missing);
    if let Some(next) =
        over.iter().map(|worker| worker.replacement().0).find(|at| *at > now).filter(|_| resting > 0)
    {
        plan.waiting.push("waiting before a worker that failed is replaced".into());
        plan.look_again(next);
    }
    let mut count = (missing - resting).min(batch(world, view, plan, now)).min(CREATES_MAX);
    // While a quota refuses pods, one is enough to find out when it no longer does.
    if world.remembered(&view.resource.key).trouble.is_some_and(|trouble| trouble.reason == "QuotaExceeded") {
        count = count.min(1);
    }
    let mut failures: Vec<u32> =
        over.iter().filter(|w| w.replacement().0 <= now).map(|w| w.replacement().1).collect();
    failures.reverse();
    let created: Vec<Step> = free_slots(world, view, desired, now)
        .take(count)
        .map(|id| {
            let body = desired.worker(&id.name, failures.pop().unwrap_or(0));
            let expect = Child::expected(id.clone(), &view.resource, Some(view.resource.name()), now);
            Step::Create { target: Target::Child(id), body, expect: Some(Box::new(expect)) }
        })
        .collect();
    if created.len() < missing - resting && plan.again.is_none() {
        plan.look_again(now);
    }
    plan.stage(created);
    let settled = over.iter().filter(|w| w.replacement().0 <= now || missing == 0);
    plan.stage(settled.copied().map(ended).collect());
}

/// When the first Deployments may be made, if not yet. A time stamp in the future is another clock's and means nothing.
fn settled_at(world: &World, group: &Resource, now: Timestamp) -> Option<Timestamp> {
    let since = Some(group.created).filter(|created| {
        world.settings.carrier == Carrier::Deployment && *created <= now && *created + SETTLING > now
    });
    since.map(|created| created + SETTLING)
}

fn ended(worker: &Worker) -> Step {
    Step::delete(&worker.carrier, "it has ended")
}

/// How many workers may be made in this round; the time of the last round is the youngest worker's creation.
fn batch(world: &World, view: &View, plan: &mut Plan, now: Timestamp) -> usize {
    let settings = &world.settings;
    if settings.batch_size == 0 {
        return usize::MAX;
    }
    let last = view.workers.iter().map(|worker| worker.carrier.created).max();
    match last.map(|last| last + settings.batch_delay).filter(|next| *next > now) {
        Some(next) => {
            plan.waiting.push(format!("waiting before the next {} workers are made", settings.batch_size));
            plan.look_again(next);
            0
        }
        None => settings.batch_size as usize,
    }
}

/// Names of free slots, lowest first. A name that anything has, even something that is going, is not free; nor is that of a worker
/// that vanished, on which the scheduler may still count.
fn free_slots<'a>(
    world: &'a World,
    view: &'a View,
    desired: &'a Desired,
    now: Timestamp,
) -> impl Iterator<Item = ChildId> + 'a {
    let group = &*view.resource;
    let known = view.scheduler.as_ref();
    (0..)
        .map(move |slot| names::worker(group.name(), &group.uid, slot))
        // Dask knows a worker by its name, whatever carries it: after a change of the carrier both kinds live side by side.
        .filter(move |name| {
            [ChildKind::Pod, ChildKind::Deployment].iter().all(|kind| {
                let carrier = ChildId::new(*kind, group.namespace(), name);
                world.cache.child(&carrier).is_none()
                    && !known.is_some_and(|facts| facts.may_count_on(&carrier, now))
            })
        })
        .map(move |name| ChildId::new(desired.carrier, group.namespace(), &name))
}
