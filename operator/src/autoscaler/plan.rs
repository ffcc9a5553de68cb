//! What to write for a DaskAutoscaler: the number of workers of the groups it scales.

use jiff::Timestamp;
use serde_json::json;

use super::build::{Free, Present, build, cooldown_from, cooldown_text};
use super::validate::Valid;
use super::{View, status};
use crate::conditions::{self, Condition};
use crate::names;
use crate::observe::Resource;
use crate::ownership;
use crate::plan::{Ask, Plan, Step, Target};
use crate::spec::Invalid;
use crate::world::World;

const KIND: &str = "Ready";

/// Asks the scheduler at its pace and lets the groups follow the answers. What is missing is said once and waited for: its
/// appearance is an event.
pub fn plan(world: &World, view: &View, valid: &Valid, now: Timestamp) -> Plan {
    let mut plan = Plan::nothing();
    let resource = &*view.resource;
    plan.stage(ownership::without_kopf_finalizer(resource).into_iter().collect());
    if resource.deleting {
        return plan;
    }
    let name = resource.follows().unwrap_or_default();
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
    if let Some(rival) = &view.rival {
        let why =
            format!("DaskAutoscaler {rival} is older and scales one of these groups; delete one of them");
        return say(world, view, plan, Condition::no(KIND, "GroupTaken", why), now);
    }
    let missing = missing(view, valid);
    if view.groups.is_empty() {
        let why = missing.unwrap_or_default();
        return say(world, view, plan, Condition::no(KIND, "GroupMissing", why), now);
    }
    let Some(since) = view.scheduler_since else {
        let why = format!("waiting for the scheduler pod of {name} to be ready");
        return say(world, view, plan, Condition::no(KIND, "SchedulerNotReady", why), now);
    };
    follow(world, view, valid, missing, since, plan, now)
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
    missing: Option<String>,
    since: Timestamp,
    mut plan: Plan,
    now: Timestamp,
) -> Plan {
    let resource = &*view.resource;
    let resting = Resting::of(resource, valid);
    let facts = view.scheduler.as_ref();
    let failure = facts.and_then(|facts| facts.failure.as_ref());
    // An answer of the scheduler's predecessor, or one that was asked for long ago, is about another cluster.
    let answer = facts.filter(|_| failure.is_none()).and_then(|facts| {
        let asked = facts.target.map(|(asked, _)| asked)?;
        (asked >= since && now.duration_since(asked) <= valid.interval * 2).then_some((asked, facts))
    });
    let free = answer.map(|(asked, _)| resting.free(asked)).filter(|free| free.up || free.down);
    let targets = answer.zip(free).map(|((_, facts), free)| {
        let present = present(view, valid);
        build(valid, &present, view.others, &facts.wishes, free)
    });
    let before = conditions::find(&resource.status["conditions"], KIND);
    let following = || Condition::yes(KIND, "Following", "the group follows the scheduler's wish");
    let said = match (&targets, failure) {
        (_, Some(failure)) => Condition::no(KIND, "SchedulerUnanswered", failure.message.clone()),
        _ if missing.is_some() => Condition::no(KIND, "GroupMissing", missing.unwrap_or_default()),
        (Some(_), None) => following(),
        (None, None) if before.is_some_and(|ready| ready["reason"] == "Following") => following(),
        (None, None) => Condition::no(KIND, "Asking", "asking the scheduler how many workers it wants"),
    };
    let desired = targets.as_ref().map(|targets| targets.iter().flatten().sum());
    if let Some(targets) = targets {
        scale(view, valid, &targets, &mut plan, now);
    }
    crate::status::write(&mut plan, world, resource, status::status(view, said, desired, now), now);
    let window = valid.up.stabilization.max(valid.down.stabilization);
    let ask = Ask { target: true, window, ..Ask::default() };
    let mut poll = world.poll_every(resource, ask, valid.interval, now);
    // A window wants to see every wish; without one, those that cannot be followed need not be asked for.
    if let Some(from) = resting.until().filter(|_| window.is_zero()) {
        poll.at = poll.at.max(from);
    }
    plan.poll = Some(poll);
    plan
}

/// The groups as they are, in the order of the spec.
fn present(view: &View, valid: &Valid) -> Vec<Option<Present>> {
    let of_group = |name: &str| {
        let (group, ready) = view.groups.iter().find(|(group, _)| group.name() == name)?;
        Some(Present { replicas: replicas(group), ready: *ready })
    };
    valid.groups.iter().map(|bounds| of_group(&bounds.name)).collect()
}

fn replicas(group: &Resource) -> i64 {
    group.spec["worker"]["replicas"].as_i64().unwrap_or(1)
}

/// Writes the numbers that change, and before them the cool-down, so that a crash in between costs a pause and not a second step.
fn scale(view: &View, valid: &Valid, targets: &[Option<i64>], plan: &mut Plan, now: Timestamp) {
    let resource = &*view.resource;
    let target_of = |group: &Resource| {
        let place = valid.groups.iter().position(|bounds| bounds.name == group.name())?;
        targets.get(place).copied().flatten().filter(|target| *target != replicas(group))
    };
    let changes: Vec<(&Resource, i64)> =
        view.groups.iter().filter_map(|(group, _)| Some((&**group, target_of(group)?))).collect();
    if changes.is_empty() {
        return;
    }
    plan.then(Step::Patch {
        target: Target::Resource(resource.key.clone()),
        body: json!({"metadata": {"annotations": Resting::begin(resource, valid, now)}}),
    });
    let patch = |(group, target): &(&Resource, i64)| Step::Patch {
        target: Target::Resource(group.key.clone()),
        body: json!({
            "metadata": {"resourceVersion": group.resource_version},
            "spec": {"worker": {"replicas": target}},
        }),
    };
    plan.stage(changes.iter().map(patch).collect());
    let said = |(group, target): &(&Resource, i64)| {
        let message = format!("{} goes from {} to {target} workers", group.name(), replicas(group));
        Step::announce(resource, false, "Scaled", message)
    };
    plan.stage(changes.iter().map(said).collect());
}

/// Which of the groups are not there.
fn missing(view: &View, valid: &Valid) -> Option<String> {
    let there = |name: &str| view.groups.iter().any(|(group, _)| group.name() == name);
    let missing: Vec<&str> =
        valid.groups.iter().map(|bounds| bounds.name.as_str()).filter(|name| !there(name)).collect();
    (!missing.is_empty()).then(|| {
        let cluster = view.resource.follows().unwrap_or_default();
        format!("waiting for DaskWorkerGroup {} of {cluster} to be created", missing.join(", "))
    })
}

fn say(world: &World, view: &View, mut plan: Plan, said: Condition, now: Timestamp) -> Plan {
    plan.waiting.push(said.message.clone());
    crate::status::write(&mut plan, world, &view.resource, status::status(view, said, None, now), now);
    plan
}

/// Until when the numbers stay as they are after a change, in each direction.
struct Resting {
    up: Option<Timestamp>,
    down: Option<Timestamp>,
}

impl Resting {
    /// From the annotations: that of the contract holds for both directions; ours tells them apart, unless the other operator
    /// has changed something since.
    fn of(resource: &Resource, valid: &Valid) -> Self {
        let read = |name| resource.annotations.get(name).and_then(|text: &String| cooldown_from(text));
        let until = read(names::COOLDOWN_UNTIL);
        let longest = valid.up.cooldown.max(valid.down.cooldown);
        let changed = read(names::SCALED_AT).filter(|at| until.is_some_and(|until| until <= *at + longest));
        match changed {
            Some(at) => Self { up: Some(at + valid.up.cooldown), down: Some(at + valid.down.cooldown) },
            None => Self { up: until, down: until },
        }
    }

    /// The annotations of a change that is made now.
    fn begin(resource: &Resource, valid: &Valid, now: Timestamp) -> serde_json::Value {
        let (up, down) = (valid.up.cooldown, valid.down.cooldown);
        let mut annotations = json!({names::COOLDOWN_UNTIL: cooldown_text(now + up.max(down))});
        if up != down {
            annotations[names::SCALED_AT] = json!(cooldown_text(now));
        } else if resource.annotations.contains_key(names::SCALED_AT) {
            annotations[names::SCALED_AT] = serde_json::Value::Null;
        }
        annotations
    }

    /// An answer that was asked for before the end is about a cluster that has changed since.
    fn free(&self, asked: Timestamp) -> Free {
        let over = |until: Option<Timestamp>| until.is_none_or(|until| asked >= until);
        Free { up: over(self.up), down: over(self.down) }
    }

    /// Until when neither direction is free.
    fn until(&self) -> Option<Timestamp> {
        self.up.zip(self.down).map(|(up, down)| up.min(down))
    }
}
