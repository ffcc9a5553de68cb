//! The checker: judges any plan by its world, independently of the planner.
//!
//! Every test runs it; in production a plan that breaks an invariant is refused, logged and counted.

mod added;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Key, Kind, Resource};
use crate::plan::{Plan, Step, Target};
use crate::worker_group::{self, Roll, Worker};
use crate::world::World;

/// More steps than this in one plan are a mistake.
const STEPS_MAX: usize = 4_096;

/// The invariants a plan breaks, in words.
pub fn check(world: &World, key: &Key, plan: &Plan, now: Timestamp) -> Vec<String> {
    let mut broken = Vec::new();
    let Some(owner) = world.cache.resource(key) else {
        if !plan.is_empty() {
            broken.push(format!("{key} does not exist and yet something is to be written for it"));
        }
        return broken;
    };
    if plan.steps().count() > STEPS_MAX {
        broken.push(format!("{key}: more than {STEPS_MAX} steps in one plan"));
    }
    broken.extend(added::check_number(world, key, owner, plan));
    let losses = Losses::of(world, owner, plan, now);
    let mut created = BTreeSet::new();
    for step in plan.steps() {
        if let Err(why) = check_step(world, owner, plan, step, &losses) {
            broken.push(format!("{key}: {}: {why}", step.summary()));
        }
        if let Step::Create { target, .. } = step
            && !created.insert(target.clone())
        {
            broken.push(format!("{key}: {target} is created twice"));
        }
    }
    broken
}

fn check_step(
    world: &World,
    owner: &Resource,
    plan: &Plan,
    step: &Step,
    losses: &Losses,
) -> Result<(), String> {
    if owner.deleting && !is_finalizer_removal(step) {
        return Err("the owner is being deleted; its children are garbage collection's".into());
    }
    match step {
        Step::Create { target: Target::Extra(id), body, .. } => added::check_create(world, owner, id, body),
        Step::Create { target, body, .. } => {
            check_create(owner, target, body)?;
            added::check_kept(world, owner, target, body)
        }
        Step::Delete { target: Target::Extra(id), uid, .. } => added::check_delete(world, owner, id, uid),
        Step::Patch { target: Target::Extra(id), body } => added::check_patch(world, owner, id, body),
        Step::Delete { target: Target::Child(id), uid, .. } => {
            check_delete(world, owner, id, uid)?;
            losses.check(id)
        }
        Step::Delete { target: Target::Resource(key), uid, .. } => {
            let found = world.cache.resource(key).ok_or("what is deleted is not known")?;
            let own = key == &owner.key && (key.kind == Kind::Cluster || is_over(owner));
            let of_job =
                owner.key.kind == Kind::Job && key.kind == Kind::Cluster && found.owned_by(&owner.uid);
            check_uid(&found.uid, uid)?;
            if own || of_job { Ok(()) } else { Err("it deletes a resource that is not its own".into()) }
        }
        Step::Retire { victims, .. } | Step::Drain { victims, .. } => {
            if owner.key.kind != Kind::WorkerGroup {
                return Err("only a worker group drains workers".into());
            }
            victims.iter().try_for_each(|victim| {
                if victim.addresses.is_empty() {
                    return Err(format!("{} has no address to retire", victim.carrier));
                }
                let marked = world.cache.child(&victim.carrier).is_some_and(|child| child.retiring.is_some());
                if !marked && !plan.steps().any(|step| step.marks() == Some(&victim.carrier)) {
                    return Err(format!("{} is retired without a mark", victim.carrier));
                }
                check_delete(world, owner, &victim.carrier, &victim.uid)
            })
        }
        Step::Status { key, .. } if key != &owner.key => Err("it writes another resource's status".into()),
        Step::Patch { target: Target::Resource(key), .. } => check_patch(world, owner, key),
        Step::Patch { target: Target::Child(id), .. } if step.marks().is_some() => {
            let uid = world.cache.child(id).map(|child| child.uid.to_string()).unwrap_or_default();
            check_delete(world, owner, id, &uid)
        }
        Step::Patch { .. } | Step::Status { .. } | Step::Announce(_) => Ok(()),
    }
}

fn check_create(owner: &Resource, target: &Target, body: &serde_json::Value) -> Result<(), String> {
    let (api_version, kind, namespace, name) = target.parts();
    let told = |path: &str| body.pointer(path).and_then(serde_json::Value::as_str).unwrap_or_default();
    if (told("/apiVersion"), told("/kind")) != (api_version, kind)
        || (told("/metadata/namespace"), told("/metadata/name")) != (namespace, name)
    {
        return Err("the object is another than the step says".into());
    }
    if namespace != owner.namespace() {
        return Err("children live in their owner's namespace".into());
    }
    let owned = body["metadata"]["ownerReferences"].as_array().is_some_and(|owners| {
        owners.len() == 1 && owners[0]["uid"] == owner.uid && owners[0]["controller"] == true
    });
    if !owned {
        return Err("a child without its owner would never be collected".into());
    }
    let labels = &body["metadata"]["labels"];
    let fixed = [names::CLUSTER_NAME, names::COMPONENT];
    let missing = fixed.iter().find(|label| labels[**label].is_null());
    match missing {
        // A job's cluster carries no component.
        Some(label) if !(kind == "DaskCluster" && *label == names::COMPONENT) => {
            Err(format!("the label {label} is missing"))
        }
        _ => Ok(()),
    }
}

fn check_delete(world: &World, owner: &Resource, id: &ChildId, uid: &str) -> Result<(), String> {
    let child: &Child = world.cache.child(id).ok_or("what is deleted is not known")?;
    check_uid(&child.uid, uid)?;
    let labelled = child.group.as_deref() == Some(owner.name()) && &*child.id.namespace == owner.namespace();
    let orphaned = child.controller().is_none() && labelled;
    let deletable = match owner.key.kind {
        Kind::WorkerGroup => child.owned_by(&owner.uid) || orphaned,
        Kind::Job => id.kind == ChildKind::Pod && child.owned_by(&owner.uid),
        // To be made anew, where the spec says so.
        Kind::Cluster => {
            let scheduler = &*id.name == names::scheduler(owner.name()).as_str() && id.kind != ChildKind::Pod;
            let chosen = owner.spec["scheduler"]["updateStrategy"]["type"] == "Recreate";
            scheduler && chosen && child.owned_by(&owner.uid)
        }
        Kind::Autoscaler => false,
    };
    if deletable { Ok(()) } else { Err("it deletes something that is not its own to delete".into()) }
}

/// A job whose end is stored: it may delete itself.
fn is_over(owner: &Resource) -> bool {
    let state = owner.status["jobStatus"].as_str().unwrap_or_default();
    owner.key.kind == Kind::Job
        && matches!(state, "Successful" | "Failed")
        && !owner.status["endTime"].is_null()
}

/// The workers that may hold work and have not been let go: deleted outside of a drain they would take it along.
struct Losses {
    holders: BTreeSet<ChildId>,
}

impl Losses {
    fn of(world: &World, owner: &Resource, plan: &Plan, now: Timestamp) -> Self {
        let deletes = |step: &Step| matches!(step, Step::Delete { target: Target::Child(_), .. });
        if !plan.steps().any(deletes) || Self::nobody_could_lose(world, owner, now) {
            return Self { holders: BTreeSet::new() };
        }
        let workers = worker_group::View::workers_of(world, owner);
        let facts = world.scheduler(owner.namespace(), owner.follows().unwrap_or_default());
        let lately = |asked: Timestamp| now.duration_since(asked) <= worker_group::ANSWER_MAX_AGE;
        let answer = facts.and_then(|facts| facts.workers.as_ref()).filter(|(asked, _)| lately(*asked));
        let roll = answer.map(|(_, snapshot)| Roll::new(snapshot, &workers));
        let unknown = |worker: &Worker| roll.as_ref().is_some_and(|roll| roll.of(worker).is_empty());
        let may_hold = |worker: &&Worker| worker.started() && !worker.ended() && !unknown(worker);
        Self { holders: workers.iter().filter(may_hold).map(|worker| worker.carrier.id.clone()).collect() }
    }

    /// Nothing runs the scheduler, or it has been waited for, or the spec chooses that its workers' work is lost.
    fn nobody_could_lose(world: &World, owner: &Resource, now: Timestamp) -> bool {
        let cluster = owner.follows().unwrap_or_default();
        let since = owner.annotations.get(names::UNANSWERED_SINCE).and_then(|text| text.parse().ok());
        let waited = |since: Timestamp| {
            let view = worker_group::View::observe(world, &owner.key);
            view.is_some_and(|view| now.duration_since(since) >= worker_group::grace(world, &view))
        };
        owner.key.kind != Kind::WorkerGroup
            || owner.spec["worker"]["updateStrategy"]["type"] == "Recreate"
            || world.scheduler_is_gone(owner.namespace(), cluster)
            || since.is_some_and(waited)
    }

    fn check(&self, id: &ChildId) -> Result<(), String> {
        if self.holders.contains(id) {
            return Err("it may hold work, and the scheduler has not let it go".into());
        }
        Ok(())
    }
}

fn check_uid(known: &str, given: &str) -> Result<(), String> {
    if given.is_empty() || known != given {
        Err("the uid is not that of what was observed".into())
    } else {
        Ok(())
    }
}

fn check_patch(world: &World, owner: &Resource, key: &Key) -> Result<(), String> {
    let own = key == &owner.key;
    let group = key.kind == Kind::WorkerGroup && key.namespace == owner.namespace();
    let allowed = own
        || group
            && match owner.key.kind {
                Kind::Cluster => key.name == names::default_group(owner.name()),
                // Any group of the cluster it names.
                Kind::Autoscaler => {
                    let followed = world.cache.resource(key).and_then(|group| group.follows());
                    followed.is_some() && followed == owner.follows()
                }
                Kind::Job | Kind::WorkerGroup => false,
            };
    if allowed { Ok(()) } else { Err("it changes a resource that is not its own".into()) }
}

fn is_finalizer_removal(step: &Step) -> bool {
    matches!(step, Step::Patch { body, .. } if body["metadata"]["finalizers"].is_array())
}
