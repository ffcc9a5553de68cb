//! What the checker asks of plans that plugins had a say in; independent of [`crate::plugin::guard`], which judges answers.

use serde_json::Value;

use super::check_uid;
use crate::names;
use crate::observe::{Key, Resource};
use crate::plan::{Plan, Step, Target};
use crate::plugin::{self, ADDED_MAX, Built, Edit, ExtraId, Role};
use crate::world::World;

/// A child that a plugin adds is of a declared kind, in its parent's namespace, owned by it, labelled, and no part of Dask's.
pub(super) fn check_create(
    world: &World,
    owner: &Resource,
    id: &ExtraId,
    body: &Value,
) -> Result<(), String> {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let said = (text("/apiVersion"), text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
    if said != (&*id.type_.api_version, &*id.type_.kind, owner.namespace(), &*id.name)
        || *id.namespace != *owner.namespace()
    {
        return Err("the object is another than the step says, or not in its owner's namespace".into());
    }
    let owners = body["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !matches!(owners, [only] if only["uid"] == owner.uid && only["controller"] == true) {
        return Err("a child without its owner would never be collected".into());
    }
    let labels = &body["metadata"]["labels"];
    if let Some(label) = [names::COMPONENT, names::GROUP_NAME].iter().find(|label| !labels[**label].is_null())
    {
        return Err(format!("the label {label} makes it a part of Dask's"));
    }
    declared(world, owner, id, labels[names::PLUGIN].as_str().unwrap_or_default())
}

/// It is changed only where it is the parent's, in the version that was seen, and stays what it is.
pub(super) fn check_patch(world: &World, owner: &Resource, id: &ExtraId, body: &Value) -> Result<(), String> {
    let found = world.plugins.extras.get(id).ok_or("what is changed is not known")?;
    if !found.owned_by(&owner.uid) {
        return Err("it changes something that is not its own".into());
    }
    if body["metadata"]["resourceVersion"] != *found.resource_version {
        return Err("it is not bound to the version that was seen".into());
    }
    check_create(world, owner, id, body)
}

/// It is deleted only where it is the parent's, and by the uid it was observed with.
pub(super) fn check_delete(world: &World, owner: &Resource, id: &ExtraId, uid: &str) -> Result<(), String> {
    let found = world.plugins.extras.get(id).ok_or("what is deleted is not known")?;
    check_uid(&found.uid, uid)?;
    if !found.owned_by(&owner.uid) {
        return Err("it deletes something that is not its own to delete".into());
    }
    // Of a plugin that is gone everything goes; one that is there must have said something else since.
    let said = world.plugins.last_answer(&found.plugin, &owner.key);
    let wanted = said.is_none_or(|change| change.edits.iter().any(|edit| adds(edit, id)));
    if wanted && declared(world, owner, id, &found.plugin).is_ok() {
        return Err(format!("plugin {} has not said that it does not want it any more", found.plugin));
    }
    Ok(())
}

fn adds(edit: &Edit, id: &ExtraId) -> bool {
    let Edit::Add { object } = edit else { return false };
    object["apiVersion"] == *id.type_.api_version
        && object["kind"] == *id.type_.kind
        && object["metadata"]["name"] == *id.name
}

fn declared(world: &World, owner: &Resource, id: &ExtraId, plugin: &str) -> Result<(), String> {
    if !world.plugins.declares(plugin, owner.key.kind, &id.type_) {
        return Err(format!("plugin {plugin} has not declared that it adds {} here", id.type_.kind));
    }
    Ok(())
}

/// How many children plugins would have added to a parent after this plan.
pub(super) fn check_number(world: &World, key: &Key, owner: &Resource, plan: &Plan) -> Option<String> {
    if world.plugins.is_empty() {
        return None;
    }
    let there = world.plugins.extras.owned(&owner.uid).filter(|extra| !extra.deleting).count();
    let steps = || plan.steps();
    let made = steps().filter(|s| matches!(s, Step::Create { target: Target::Extra(_), .. })).count();
    let gone = steps().filter(|s| matches!(s, Step::Delete { target: Target::Extra(_), .. })).count();
    let after = (there + made).saturating_sub(gone);
    (made > 0 && after > ADDED_MAX)
        .then(|| format!("{key}: plugins would have added {after} children, more than {ADDED_MAX}"))
}

/// A child of the operator's that is made is found by the same labels and selects by the same ones as without plugins.
pub(super) fn check_kept(
    world: &World,
    owner: &Resource,
    target: &Target,
    body: &Value,
) -> Result<(), String> {
    if world.plugins.registry.of(owner.key.kind).next().is_none() {
        return Ok(());
    }
    let built = plugin::built(world, owner).ok_or("it is made though nothing can be built")?;
    let (_, kind, _, name) = target.parts();
    let named = |child: &&Built| {
        child.object["kind"] == *kind
            && (child.role == Role::Worker || child.object["metadata"]["name"] == *name)
    };
    let plain = &built.iter().find(named).ok_or("it is none of the children that are built")?.object;
    for path in ["/metadata/ownerReferences", "/spec/cluster"] {
        same(path, plain.pointer(path), body.pointer(path))?;
    }
    for path in ["/metadata/labels", "/spec/template/metadata/labels", "/spec/selector"] {
        for label in [names::CLUSTER_NAME, names::COMPONENT, names::GROUP_NAME] {
            let label = label.replace('/', "~1");
            // A Deployment's selector is one level deeper than a Service's.
            for path in [format!("{path}/{label}"), format!("{path}/matchLabels/{label}")] {
                same(&path, plain.pointer(&path), body.pointer(&path))?;
            }
        }
    }
    Ok(())
}

fn same(path: &str, before: Option<&Value>, after: Option<&Value>) -> Result<(), String> {
    if before == after {
        Ok(())
    } else {
        Err(format!("a plugin changed {path}, by which the child is known"))
    }
}
