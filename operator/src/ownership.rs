//! Whose a child is: ours, nobody's, or somebody else's.

use serde_json::{Value, json};

use crate::observe::{Child, Owner, Resource};
use crate::plan::{Step, Target};

/// What a name that we want is taken by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing has the name.
    Free,
    /// It is ours.
    Ours,
    /// Its creation was sent and has not been seen yet.
    Expected,
    /// It has no controller; it can be adopted.
    Orphan,
    /// It is going; the text says what is waited for.
    Leaving(String),
    /// It belongs to something else; the text says to what.
    Foreign(String),
}

/// Judges the child that has the name we want.
pub fn of_child(owner: &Resource, child: Option<&Child>) -> Claim {
    let Some(child) = child else { return Claim::Free };
    if matches!(child.facts, crate::observe::Facts::Expected) {
        return Claim::Expected;
    }
    judge(owner, &child.id.to_string(), child.deleting, &child.owners)
}

/// Judges the resource that has the name we want.
pub fn of_resource(owner: &Resource, found: Option<&Resource>) -> Claim {
    let Some(found) = found else { return Claim::Free };
    judge(owner, &found.key.to_string(), found.deleting, &found.owners)
}

fn judge(owner: &Resource, what: &str, deleting: bool, owners: &[Owner]) -> Claim {
    if deleting {
        return Claim::Leaving(format!("waiting for the deletion of {what} to end"));
    }
    if owners.iter().any(|known| *known.uid == *owner.uid) {
        return Claim::Ours;
    }
    match owners.iter().find(|known| known.controller) {
        None => Claim::Orphan,
        // An earlier object of the same name: garbage collection takes its children away.
        Some(other) if *other.name == *owner.name() && *other.kind == *owner.key.kind.name() => {
            Claim::Leaving(format!(
                "waiting for {what} to go, which belongs to an earlier {} of this name",
                owner.key.kind.name()
            ))
        }
        Some(other) => Claim::Foreign(format!(
            "{what} exists already and belongs to {} {}; rename one of them",
            other.kind, other.name
        )),
    }
}

/// Appends us to the owners of an object; foreign owners stay. Holds only for the version that was seen.
pub fn adopt(target: Target, owners: &[Owner], resource_version: &str, by: &Resource) -> Step {
    let mut references: Vec<Value> = owners.iter().map(Owner::reference).collect();
    let mut ours = by.owner_reference();
    if owners.iter().any(|owner| owner.controller) {
        ours["controller"] = Value::Bool(false);
    }
    references.push(ours);
    Step::Patch {
        target,
        body: json!({"metadata": {"resourceVersion": resource_version, "ownerReferences": references}}),
    }
}

/// Removes kopf's finalizer, and only that: with the Python operator gone nobody else would, and the object could never go.
pub fn without_kopf_finalizer(resource: &Resource) -> Option<Step> {
    let kept: Vec<&String> =
        resource.finalizers.iter().filter(|finalizer| *finalizer != crate::names::KOPF_FINALIZER).collect();
    (kept.len() < resource.finalizers.len()).then(|| Step::Patch {
        target: Target::Resource(resource.key.clone()),
        body: json!({"metadata": {"resourceVersion": resource.resource_version, "finalizers": kept}}),
    })
}
