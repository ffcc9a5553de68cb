//! Writing status: only what changed, transitions at once, counts at most once a second.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::conditions::{self, Condition};
use crate::observe::Resource;
use crate::plan::{Plan, Step};
use crate::world::World;

/// Shortest time between two status writes that differ in counts or messages only.
const COUNTS_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// Adds the status write to a plan where the wanted status differs from the stored one.
///
/// `wanted` holds every field of ours; on a CRD that stores fewer, the others are left out, so that a field which is pruned
/// does not look like a difference for ever. Returns whether a transition is being written.
pub fn write(
    plan: &mut Plan,
    world: &World,
    resource: &Resource,
    mut wanted: Map<String, Value>,
    now: Timestamp,
) -> bool {
    if let (Some(lack), Some(Value::Array(conditions))) =
        (world.lack(resource.key.kind), wanted.get_mut("conditions"))
    {
        conditions.extend(outdated(lack, resource, now));
    }
    let Some(step) = difference(world, resource, wanted) else { return false };
    let transition = is_transition(resource, &step);
    let last = world.remembered(&resource.key).status_written;
    let due = last.map_or(now, |last| last + COUNTS_EVERY);
    if !transition && due > now {
        plan.look_again(due);
        return false;
    }
    plan.then(Step::Status { key: resource.key.clone(), body: Value::Object(step) });
    transition
}

/// The condition of resources whose installed definition lacks fields. There is none where it lacks nothing.
fn outdated(lack: String, resource: &Resource, now: Timestamp) -> Vec<Value> {
    let said = Condition::no("DefinitionCurrent", "FieldsUnknown", lack);
    match conditions::list(&resource.status["conditions"], &[said], resource.generation, now) {
        Value::Array(conditions) => conditions,
        _ => Vec::new(),
    }
}

/// The fields whose value differs from the stored status.
fn difference(world: &World, resource: &Resource, wanted: Map<String, Value>) -> Option<Map<String, Value>> {
    let changed: Map<String, Value> = wanted
        .into_iter()
        .filter(|(key, value)| world.stores(resource.key.kind, key) && resource.status[key] != *value)
        .collect();
    (!changed.is_empty()).then_some(changed)
}

/// Phase, job state or a condition's status changed, or the status is written for the first time.
fn is_transition(resource: &Resource, changed: &Map<String, Value>) -> bool {
    changed.iter().any(|(key, value)| match key.as_str() {
        "phase" | "jobStatus" | "endTime" | "observedGeneration" => true,
        "conditions" => conditions::transition(&resource.status["conditions"], value),
        _ => resource.status.is_null(),
    })
}
