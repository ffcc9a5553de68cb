//! What to write for a DaskWorkerGroup.

use jiff::{SignedDuration, Timestamp};

use super::build::Desired;
use super::update::Turn;
use super::validate::Valid;
use super::victims::{self, Choice};
use super::worker::Worker;
use super::{View, status};
use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Resource};
use crate::ownership;
use crate::plan::{Ask, Plan, Step, Target, Victim};
use crate::scheduler::Snapshot;
use crate::spec::Invalid;
use crate::world::World;

/// At most this many workers are made by one plan, so that a large group does not hold up others; the rest follows at once.
const CREATES_MAX: usize = 256;
/// An answer of the scheduler older than this does not choose who goes.
const ANSWER_MAX_AGE: SignedDuration = SignedDuration::from_secs(3);
/// How long it is believed that a scheduler serves no way to retire workers.
const UNSERVED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// Missing workers are made, ended ones replaced, superfluous ones drained.
pub fn plan(world: &World, view: &View, valid: &Valid, desired: Option<&Desired>, now: Timestamp) -> Plan {
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
    let turn = valid.update.turn(&alive, &view.workers, desired, valid.replicas);
    recreate(view, &turn, &mut rest);
    if turn.retire > 0 {
        shrink(world, view, &turn.candidates, turn.retire, &mut rest, now);
    }
    if turn.make == 0 && alive.len() > valid.replicas {
        rest.stage(view.workers.iter().filter(|w| w.ended() && !w.carrier.deleting).map(ended).collect());
    } else {
        grow(world, view, desired, turn.make, &mut rest, now);
    }
    let trouble = world.remembered(&resource.key).trouble;
    // The first workers are on their way: there is nothing to say before one of them has been seen.
    let beginning =
        resource.status["observedGeneration"].is_null() && rest.steps().any(|step| step.creates().is_some());
    if !beginning || trouble.is_some() {
        let wanted = status::status(view, valid.replicas, &turn, trouble.as_ref(), &rest.waiting, now);
        crate::status::write(&mut plan, world, resource, wanted, now);
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
    if let Some(first) = view.first.as_ref().filter(|_| missing > 0) {
        plan.waiting.push(first.clone());
        return;
    }
    let mut over: Vec<&Worker> = view.workers.iter().filter(|w| w.ended() && !w.carrier.deleting).collect();
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
    let created: Vec<Step> = free_slots(world, &view.resource, desired)
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

/// Names of free slots, lowest first. A name that anything has, even something that is going, is not free.
fn free_slots<'a>(
    world: &'a World,
    group: &'a Resource,
    desired: &'a Desired,
) -> impl Iterator<Item = ChildId> + 'a {
    (0..)
        .map(|slot| names::worker(group.name(), &group.uid, slot))
        // Dask knows a worker by its name, whatever carries it: after a change of the carrier both kinds live side by side.
        .filter(|name| {
            [ChildKind::Pod, ChildKind::Deployment]
                .iter()
                .all(|kind| world.cache.child(&ChildId::new(*kind, group.namespace(), name)).is_none())
        })
        .map(|name| ChildId::new(desired.carrier, group.namespace(), &name))
}

/// Takes `excess` workers away: those that never started at once, the others after the scheduler has retired them.
fn shrink(world: &World, view: &View, alive: &[&Worker], excess: usize, plan: &mut Plan, now: Timestamp) {
    let facts = view.scheduler.as_ref();
    let answer = facts
        .and_then(|f| f.workers.as_ref())
        .filter(|(asked, _)| now.duration_since(*asked) <= ANSWER_MAX_AGE);
    let choice = victims::choose(alive, excess, answer.map(|(_, known)| known));
    let unanswered = facts.and_then(|f| f.failure.as_ref()).filter(|_| answer.is_none());
    if choice.undecided > 0 && unanswered.is_some_and(|failure| failure.api_off) {
        return blindly(view, alive, excess, plan);
    }
    let Choice { unstarted, unregistered, registered, undecided } = choice;
    let gone = unstarted.iter().map(|worker| Step::delete_as_seen(&worker.carrier, "it never started"));
    let idle =
        unregistered.iter().map(|w| Step::delete_as_seen(&w.carrier, "the scheduler does not know it"));
    plan.stage(gone.chain(idle).collect());
    let cluster = view.cluster.as_ref().map(|cluster| cluster.name().to_owned()).unwrap_or_default();
    let address = world.scheduler_address(view.resource.namespace(), &cluster);
    let unserved =
        facts.and_then(|f| f.retire_unserved).filter(|seen| now.duration_since(*seen) < UNSERVED_FOR);
    if let (Some(_), Some((_, known))) = (unserved, answer) {
        unretired(view, &registered, known, plan);
    } else if let Some(at) = address.filter(|_| !registered.is_empty()) {
        let victims = registered
            .into_iter()
            .map(|(worker, addresses)| Victim {
                carrier: worker.carrier.id.clone(),
                uid: worker.carrier.uid.to_string(),
                addresses,
            })
            .collect();
        plan.then(Step::Drain { at: at.clone(), victims });
        // Those that the scheduler could not retire now stay, and are asked for again.
        plan.look_again(now + world.settings.pace.poll);
    }
    let held = excess - unstarted.len() - unregistered.len();
    if held > 0 {
        let why = unanswered.map(|failure| format!(": {}", failure.message)).unwrap_or_default();
        plan.waiting.push(format!("waiting for the scheduler to let go of {held} of them{why}"));
    }
    if undecided > 0 {
        let ask = Ask { workers: true, ..Ask::default() };
        let mut poll = world.poll(view.resource.namespace(), &cluster, ask, now);
        // The first question of a scale-down does not wait for the pace of others.
        if facts.is_none_or(|f| f.failures == 0) {
            poll.at = now;
        }
        plan.poll = Some(poll);
    }
}

/// The scheduler says who holds what, but serves no way to retire anybody: the victims it would have retired are deleted. Those
/// that run or hold something are named aloud.
fn unretired(view: &View, victims: &[(&Worker, Vec<String>)], known: &Snapshot, plan: &mut Plan) {
    let holds = |worker: &Worker| {
        let registered = worker.registered(known);
        registered
            .iter()
            .any(|(_, dask)| dask.tasks.is_none_or(|n| n > 0) || dask.stored_bytes.is_none_or(|n| n > 0))
    };
    let losing: Vec<&str> =
        victims.iter().filter(|(worker, _)| holds(worker)).map(|(worker, _)| worker.name()).collect();
    if !losing.is_empty() {
        plan.then(Step::announce(&view.resource, true, "ScaleDownUnconfirmed", unconfirmed(&losing)));
    }
    plan.stage(
        victims.iter().map(|(worker, _)| Step::delete(&worker.carrier, "fewer workers are wanted")).collect(),
    );
}

fn unconfirmed(names: &[&str]) -> String {
    format!(
        "deleting {} without the scheduler's word, because its HTTP API is off; what they hold may be computed again",
        names.join(", ")
    )
}

/// The scheduler runs but offers no way to ask which workers are idle: Kubernetes' facts choose, and that is said aloud.
fn blindly(view: &View, alive: &[&Worker], excess: usize, plan: &mut Plan) {
    let chosen = victims::choose_blindly(alive, excess);
    let names: Vec<&str> = chosen.iter().map(|worker| worker.name()).collect();
    plan.then(Step::announce(&view.resource, true, "ScaleDownUnconfirmed", unconfirmed(&names)));
    plan.stage(
        chosen.into_iter().map(|worker| Step::delete(&worker.carrier, "fewer workers are wanted")).collect(),
    );
}
