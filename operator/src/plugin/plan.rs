//! What to write for the children that plugins add. Pure.

use serde_json::{Map, Value, json};

use super::apply::{ADDED_MAX, Added};
use super::extras::{Extra, ExtraId};
use super::guard::cluster_of;
use super::shape::Shape;
use crate::observe::Resource;
use crate::plan::{Plan, Step, Target};
use crate::world::World;
use crate::{hash, names};

/// Missing ones are made, changed ones patched, those that no plugin wants any more deleted.
pub fn steps(world: &World, parent: &Resource, shape: &Shape, waiting: &mut Vec<String>) -> Vec<Step> {
    let extras = &world.plugins.extras;
    if shape.held {
        return Vec::new();
    }
    let mut steps: Vec<Step> = Vec::new();
    let superfluous = extras.owned(&parent.uid).filter(|extra| {
        shape.settled.contains(&*extra.plugin)
            && !shape.added.contains_key(&extra.id)
            && !extra.deleting
            && !extras.leaving(&extra.id)
    });
    steps.extend(superfluous.map(|extra| Step::Delete {
        target: Target::Extra(extra.id.clone()),
        uid: extra.uid.to_string(),
        resource_version: None,
        propagation: crate::store::Propagation::Background,
        why: "its plugin does not want it any more",
    }));
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
    if found.hash.as_deref() == Some(&*hash) {
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
