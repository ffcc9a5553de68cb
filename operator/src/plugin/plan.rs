//! What to write for the children that plugins add. Pure.

use serde_json::{Map, Value, json};

use super::apply::{ADDED_MAX, Added};
use super::extras::{Extra, ExtraId};
use super::guard::cluster_of;
use super::ledger;
use super::shape::Shape;
use crate::observe::Resource;
use crate::plan::{Plan, Step, Target};
use crate::world::World;
use crate::{hash, names};

/// Missing ones are made, changed ones patched, those that no plugin wants any more deleted: a stage for what is noted of them on
/// the parent, and one for the children.
pub fn stages(world: &World, parent: &Resource, shape: &Shape, waiting: &mut Vec<String>) -> [Vec<Step>; 2] {
    let note = if shape.held { None } else { ledger::note(world, parent, shape) };
    [note.into_iter().collect(), children(world, parent, shape, waiting)]
}

/// The same for a parent that gets no children any more: what plugins that are gone have added is taken back.
pub fn leavings(world: &World, parent: &Resource) -> [Vec<Step>; 2] {
    let nothing = Shape::default();
    let deletions = superfluous(world, parent).filter(|extra| !declared(world, parent, extra)).map(deletion);
    let note = ledger::note(world, parent, &nothing);
    [note.into_iter().collect(), deletions.collect()]
}

/// The children that plugins added, as far as they are not going.
fn superfluous<'a>(world: &'a World, parent: &Resource) -> impl Iterator<Item = &'a Extra> {
    let extras = &world.plugins.extras;
    let there = extras.owned(&parent.uid).map(|extra| &**extra);
    there.filter(|extra| !extra.deleting && !extras.leaving(&extra.id))
}

/// Whether the plugin that added a child is asked about such.
fn declared(world: &World, parent: &Resource, extra: &Extra) -> bool {
    world.plugins.declares(&extra.plugin, parent.key.kind, &extra.id.type_)
}

/// Whether a child goes: its plugin has seen that it is there and does not want it, or is gone while no other one that might want it
/// has still to be heard, as after a change of the plugin's name. One that merely fails loses nothing.
fn goes(world: &World, parent: &Resource, shape: &Shape, extra: &Extra) -> bool {
    if shape.added.contains_key(&extra.id) {
        return false;
    }
    if declared(world, parent, extra) {
        return shape.settled.contains(&*extra.plugin);
    }
    let heirs = world.plugins.registry.of(parent.key.kind).map(|entry| &entry.declaration);
    let mut heirs = heirs.filter(|plugin| plugin.kinds.contains(&extra.id.type_));
    heirs.all(|plugin| shape.settled.contains(&plugin.name))
}

fn deletion(extra: &Extra) -> Step {
    Step::Delete {
        target: Target::Extra(extra.id.clone()),
        uid: extra.uid.to_string(),
        resource_version: None,
        propagation: crate::store::Propagation::Background,
        why: "no plugin wants it any more",
    }
}

fn children(world: &World, parent: &Resource, shape: &Shape, waiting: &mut Vec<String>) -> Vec<Step> {
    let extras = &world.plugins.extras;
    if shape.held {
        return Vec::new();
    }
    let mut steps: Vec<Step> = Vec::new();
    let leaving = superfluous(world, parent).filter(|extra| goes(world, parent, shape, extra));
    steps.extend(leaving.map(deletion));
    let there = extras.owned(&parent.uid).filter(|extra| !extra.deleting).count();
    let mut room = (ADDED_MAX + steps.len()).saturating_sub(there);
    for (id, added) in &shape.added {
        let Some(step) = wanted(world, parent, id, added, waiting) else { continue };
        if matches!(step, Step::Create { .. }) {
            if room == 0 {
                waiting.push(format!("waiting for room for {id}: plugins have added {ADDED_MAX} children"));
                continue;
            }
            room -= 1;
        }
        steps.push(step);
    }
    steps
}

/// Says by an event what has happened to the plugins; where conditions are not stored it could not be told what is news.
pub fn announce(world: &World, parent: &Resource, shape: &Shape, plan: &mut Plan) {
    let told = world.stores(parent.key.kind, "conditions");
    if let Some((reason, message)) = shape.news.as_ref().filter(|_| told) {
        plan.then(Step::announce(parent, true, reason, message.clone()));
    }
}

fn wanted(
    world: &World,
    parent: &Resource,
    id: &ExtraId,
    added: &Added,
    waiting: &mut Vec<String>,
) -> Option<Step> {
    let extras = &world.plugins.extras;
    let hash = hash::of(&added.object);
    if extras.on_its_way(id, &hash) {
        return None;
    }
    let target = Target::Extra(id.clone());
    let Some(found) = extras.get(id) else {
        return Some(Step::Create { target, body: sealed(parent, added, &hash), expect: None });
    };
    if found.deleting || extras.leaving(id) {
        waiting.push(format!("waiting for the deletion of {id} to end"));
        return None;
    }
    if !found.owned_by(&parent.uid) {
        waiting.push(format!(
            "{id}, which plugin {} adds, exists already and is not this {}'s; rename one of them",
            added.plugin,
            parent.key.kind.name()
        ));
        return None;
    }
    let inherited = *found.plugin != *added.plugin;
    if inherited && declared(world, parent, found) {
        waiting.push(format!(
            "{id}, which plugin {} adds, is plugin {}'s; rename one of them",
            added.plugin, found.plugin
        ));
        return None;
    }
    if found.hash.as_deref() == Some(&*hash) && !inherited {
        return None;
    }
    Some(Step::Patch { target, body: difference(parent, found, added, &hash) })
}

/// The object as it is written: with its owner, its plugin, and what is needed to change it later.
fn sealed(parent: &Resource, added: &Added, hash: &str) -> Value {
    let mut object = added.object.clone();
    let metadata = &mut object["metadata"];
    metadata["namespace"] = parent.namespace().into();
    metadata["ownerReferences"] = json!([parent.owner_reference()]);
    metadata["labels"][names::PLUGIN] = added.plugin.as_str().into();
    if let Some(cluster) = cluster_of(parent) {
        metadata["labels"][names::CLUSTER_NAME] = cluster.into();
    }
    metadata["annotations"][names::HASH] = hash.into();
    metadata["annotations"][names::FIELDS] = fields(&added.object).to_string().into();
    object
}

/// The merge patch to what is wanted now: all of it, and nothing for each field that was written and is not wanted any more. The
/// values that were written are not kept anywhere: they may be secret.
fn difference(parent: &Resource, found: &Extra, added: &Added, hash: &str) -> Value {
    let mut patch = sealed(parent, added, hash);
    let before: Value = serde_json::from_str(&found.fields).unwrap_or_default();
    remove(&mut patch, &before, &added.object);
    patch["metadata"]["resourceVersion"] = (*found.resource_version).into();
    patch
}

/// The names of an object's fields, lists and values in short.
fn fields(object: &Value) -> Value {
    match object {
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), fields(value))).collect())
        }
        _ => Value::from(0),
    }
}

fn remove(patch: &mut Value, before: &Value, now: &Value) {
    let (Some(before), Some(now), Some(patch)) = (before.as_object(), now.as_object(), patch.as_object_mut())
    else {
        return;
    };
    let gone: Map<String, Value> = before
        .keys()
        .filter(|key| !now.contains_key(*key) && !patch.contains_key(*key))
        .map(|key| (key.clone(), Value::Null))
        .collect();
    for (key, inner) in before {
        if let (Some(now), Some(patch)) = (now.get(key), patch.get_mut(key)) {
            remove(patch, inner, now);
        }
    }
    patch.extend(gone);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_and_is_not_wanted_any_more_is_taken_away() {
        let before =
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"x": {"y": 1, "z": 2}, "l": [1]}});
        let now = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"x": {"y": 3}}});
        let mut patch = now.clone();
        patch["metadata"]["labels"]["ours"] = json!("kept");
        remove(&mut patch, &fields(&before), &now);
        let expected = json!({
            "metadata": {"labels": {"a": "1", "b": null, "ours": "kept"}},
            "spec": {"x": {"y": 3, "z": null}, "l": null},
        });
        assert_eq!(patch, expected);
    }

    #[test]
    fn what_is_noted_of_an_object_holds_no_value_of_it() {
        let noted = fields(&json!({"stringData": {"password": "secret"}})).to_string();
        assert_eq!(noted, r#"{"stringData":{"password":0}}"#);
    }
}
