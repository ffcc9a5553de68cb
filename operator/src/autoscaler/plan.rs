//! What to write for a DaskAutoscaler: the number of workers of its cluster's default group.

use jiff::Timestamp;
use serde_json::json;

use super::build::{build, cooldown_from, cooldown_text};
use super::validate::{Invalid, Valid};
use super::{View, status};
use crate::conditions::Condition;
use crate::names;
use crate::observe::Resource;
use crate::ownership;
use crate::plan::{Ask, Plan, Step, Target};
use crate::world::World;

const KIND: &str = "Ready";

/// Asks the scheduler at the pace of the contract and lets the group follow its answer.
pub fn plan(world: &World, view: &View, valid: &Valid, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let resource = &*view.resource;
    plan.stage(ownership::without_kopf_finalizer(resource).into_iter().collect());
    if resource.deleting {
        return plan;
    }
    let name = resource.follows().unwrap_or_default().to_owned();
    let Some(cluster) = view.cluster.as_deref().filter(|cluster| !cluster.deleting) else {
        let why = format!("waiting for DaskCluster {name} to be created in this namespace");
        return say(world, view, plan, Condition::no(KIND, "ClusterMissing", why), now);
    };
    if !resource.owned_by(&cluster.uid) && resource.controller().is_none() {
        plan.then(ownership::adopt(
            Target::Resource(resource.key.clone()),
            &resource.owners,
            &resource.resource_version,
            cluster,
        ));
    }
    let Some(group) = view.group.as_deref() else {
        let why = format!("waiting for DaskWorkerGroup {} to be created", names::default_group(&name));
        return say(world, view, plan, Condition::no(KIND, "GroupMissing", why), now);
    };
    if !view.scheduler_ready {
        let why = format!("waiting for the scheduler pod of {name} to be ready");
        return say(world, view, plan, Condition::no(KIND, "SchedulerNotReady", why), now);
    }
    follow(world, view, valid, cluster, group, plan, now)
}

/// An autoscaler whose spec cannot be read.
pub(super) fn refuse(world: &World, view: &View, invalid: &Invalid, now: Timestamp) -> Plan {
    if view.resource.deleting {
        return Plan::nothing();
    }
    say(world, view, Plan::nothing(), Condition::no(KIND, invalid.reason, invalid.message.clone()), now)
}

fn follow(
    world: &World,
    view: &View,
    valid: &Valid,
    cluster: &Resource,
    group: &Resource,
    mut plan: Plan,
    now: Timestamp,
) -> Plan {
    let resource = &*view.resource;
    let cooldown = resource.annotations.get(names::COOLDOWN_UNTIL).and_then(|text| cooldown_from(text));
    let present = group.spec["worker"]["replicas"].as_i64().unwrap_or(1);
    let facts = view.scheduler.as_ref();
    // An answer from before the cool-down's end is about a cluster that has changed since.
    let answer = facts
        .and_then(|facts| facts.target)
        .filter(|(asked, _)| cooldown.is_none_or(|until| *asked >= until));
    let failure = facts.and_then(|facts| facts.failure.as_ref());
    let mut desired = None;
    let said = match (answer, failure) {
        (Some((_, wanted)), None) => {
            let target = build(valid, present, i64::from(wanted), &world.settings.pace);
            desired = Some(target);
            Condition::yes(KIND, "Following", "the group follows the scheduler's wish")
        }
        (_, Some(failure)) => Condition::no(KIND, "SchedulerUnanswered", failure.message.clone()),
        (None, None) if resource.status["conditions"][0]["reason"] == "Following" => {
            Condition::yes(KIND, "Following", "the group follows the scheduler's wish")
        }
        (None, None) => Condition::no(KIND, "Asking", "asking the scheduler how many workers it wants"),
    };
    if let Some(target) = desired.filter(|target| *target != present) {
        let until = now + world.settings.pace.cooldown;
        plan.then(Step::Patch {
            target: Target::Resource(resource.key.clone()),
            body: json!({"metadata": {"annotations": {names::COOLDOWN_UNTIL: cooldown_text(until)}}}),
        });
        plan.then(Step::Patch {
            target: Target::Resource(group.key.clone()),
            body: json!({
                "metadata": {"resourceVersion": group.resource_version},
                "spec": {"worker": {"replicas": target}},
            }),
        });
        plan.then(Step::announce(
            resource,
            false,
            "Scaled",
            format!("{} goes from {present} to {target} workers", group.name()),
        ));
    }
    let wanted = status::status(view, said, desired, now);
    crate::status::write(&mut plan, world, resource, wanted, now);
    let ask = Ask { target: true, ..Ask::default() };
    let mut poll = world.poll(cluster.namespace(), cluster.name(), ask, now);
    if let Some(until) = cooldown {
        poll.at = poll.at.max(until);
    }
    plan.poll = Some(poll);
    plan
}

fn say(world: &World, view: &View, mut plan: Plan, said: Condition, now: Timestamp) -> Plan {
    plan.waiting.push(said.message.clone());
    crate::status::write(&mut plan, world, &view.resource, status::status(view, said, None, now), now);
    plan
}
