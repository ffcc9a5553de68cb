//! Garbage collection by ownerReferences: background, foreground, orphan, and owners that are not there.
//!
//! The rules are those of `k8s.io/kubernetes/pkg/controller/garbagecollector`.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{array_mut, items, text};
use super::queue::{Queue, Work};
use crate::registry::Registry;
use crate::server::ApiServer;
use crate::status::Status;
use crate::storage::{GroupResource, Key, OwnerRef, Stored};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Work on an object, by its uid: whether it has lost its owners.
const DEPENDENT: &str = "dependent";
/// Work on an object that is being deleted and whose dependents decide.
const OWNER: &str = "owner";

/// Deletes what has lost its owners.
pub(crate) struct GarbageCollector;

impl ControlLoop for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        let (before, after) = (seen.change.before.as_deref(), seen.change.after.as_deref());
        let storage = seen.server.storage();
        let Some(now_is) = after else {
            // It is gone: its dependents may have lost their last owner, its owners may have waited for it.
            let gone = seen.object();
            for (_, dependent) in storage.owned_by(&gone.meta.uid) {
                mark(queue, DEPENDENT, &dependent.meta.uid, seen.now);
            }
            mark_waiting_owners(seen, gone, queue);
            return;
        };
        let new_owners = before.is_none_or(|b| b.meta.owners != now_is.meta.owners);
        if new_owners && now_is.meta.owners.iter().any(|owner| !is_solid(seen.server, now_is, owner)) {
            mark(queue, DEPENDENT, &now_is.meta.uid, seen.now);
        }
        if let Some(before) = before.filter(|b| new_owners && !b.meta.owners.is_empty()) {
            mark_waiting_owners(seen, before, queue);
        }
        let held = now_is.meta.finalizers.iter().any(|f| f == FOREGROUND || f == ORPHAN);
        let held_alike =
            before.is_some_and(|b| b.meta.deleting && b.meta.finalizers == now_is.meta.finalizers);
        if now_is.meta.deleting && held && !held_alike {
            mark(queue, OWNER, &now_is.meta.uid, seen.now);
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let Some((resource, object)) = context.api.by_uid(&work.key.name) else { return Ok(None) };
        if work.about == OWNER {
            finish_owner(context, &resource, &object)?;
        } else {
            collect(context, &resource, &object)?;
        }
        Ok(None)
    }
}

fn mark(queue: &mut Queue, about: &'static str, uid: &str, now: Timestamp) {
    queue.add(Work { about, key: Key::new("", uid) }, now);
}

/// Owners in foreground deletion look again when a dependent goes or lets go of them.
fn mark_waiting_owners(seen: &Seen<'_>, dependent: &Stored, queue: &mut Queue) {
    for owner in &dependent.meta.owners {
        let found = seen.server.storage().by_uid(&owner.uid);
        if found.is_some_and(|(_, owner)| deletes_dependents(owner)) {
            mark(queue, OWNER, &owner.uid, seen.now);
        }
    }
}

/// In foreground deletion.
fn deletes_dependents(object: &Stored) -> bool {
    object.meta.deleting && object.meta.finalizers.iter().any(|f| f == FOREGROUND)
}

/// Exists and is not going to take its dependents along.
fn is_solid(server: &ApiServer, dependent: &Stored, owner: &OwnerRef) -> bool {
    match find(server, dependent, owner) {
        Owner::Exists(found) => !deletes_dependents(&found),
        Owner::Absent => false,
        Owner::Unknowable => true,
    }
}

/// What an ownerReference leads to.
enum Owner {
    /// The owner.
    Exists(Arc<Stored>),
    /// Nothing of that name, or another object under it.
    Absent,
    /// A kind that is not served, or a namespaced owner of a cluster-scoped object: nothing may be concluded.
    Unknowable,
}

/// Looks the owner up by name in the dependent's own namespace: an owner elsewhere is no owner.
fn find(server: &ApiServer, dependent: &Stored, owner: &OwnerRef) -> Owner {
    let Some((resource, namespaced)) = resource_of(server.registry(), owner) else {
        return Owner::Unknowable;
    };
    if namespaced && dependent.key.namespace.is_empty() {
        return Owner::Unknowable;
    }
    let namespace = if namespaced { dependent.key.namespace.as_str() } else { "" };
    match server.storage().get(&resource, &Key::new(namespace, &owner.name)) {
        Some(found) if found.meta.uid == owner.uid => Owner::Exists(Arc::clone(found)),
        _ => Owner::Absent,
    }
}

fn resource_of(registry: &Registry, owner: &OwnerRef) -> Option<(GroupResource, bool)> {
    let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
    registry
        .by_kind(group, version, &owner.kind)
        .map(|resource| (resource.storage.clone(), resource.namespaced))
}

/// Decides about an object some of whose owners are absent or in foreground deletion.
fn collect(
    context: &mut Context<'_, '_>,
    resource: &GroupResource,
    object: &Arc<Stored>,
) -> Result<(), Status> {
    if object.meta.deleting && !deletes_dependents(object) {
        return Ok(());
    }
    let mut solid = 0;
    let mut waiting: Vec<Arc<Stored>> = Vec::new();
    let mut lost: Vec<&str> = Vec::new();
    for owner in &object.meta.owners {
        match find(context.api.server(), object, owner) {
            Owner::Exists(found) if deletes_dependents(&found) => {
                lost.push(&owner.uid);
                waiting.push(found);
            }
            Owner::Exists(_) | Owner::Unknowable => solid += 1,
            Owner::Absent => lost.push(&owner.uid),
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    if solid > 0 {
        return let_go(context, resource, object, &lost);
    }
    if object.meta.deleting {
        return Ok(());
    }
    let has_dependents = context.api.server().storage().owned_by(&object.meta.uid).next().is_some();
    let policy = if !waiting.is_empty() && has_dependents {
        unblock_cycle(context, resource, object)?;
        "Foreground"
    } else if object.meta.finalizers.iter().any(|f| f == ORPHAN) {
        "Orphan"
    } else if object.meta.finalizers.iter().any(|f| f == FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    };
    let options = json!({"propagationPolicy": policy, "preconditions": {"uid": object.meta.uid}});
    match context.api.delete(resource, &object.key, options) {
        Err(status) if status.code == 404 || status.code == 409 => Ok(()),
        other => other,
    }
}

/// A dependent that is itself deleting its dependents would wait for the owner that waits for it.
fn unblock_cycle(
    context: &mut Context<'_, '_>,
    resource: &GroupResource,
    object: &Arc<Stored>,
) -> Result<(), Status> {
    let cyclic =
        context.api.owned_by(&object.meta.uid).iter().any(|(_, dependent)| deletes_dependents(dependent));
    if cyclic {
        let mut value = object.value();
        for owner in array_mut(&mut value["metadata"], "ownerReferences") {
            owner["blockOwnerDeletion"] = false.into();
        }
        value["metadata"]["resourceVersion"] = Value::Null;
        context.api.update(resource, value)?;
    }
    Ok(())
}

/// Removes references to some owners.
fn let_go(
    context: &mut Context<'_, '_>,
    resource: &GroupResource,
    object: &Stored,
    uids: &[&str],
) -> Result<(), Status> {
    let value = object.value();
    let kept: Vec<&Value> = items(&value["metadata"]["ownerReferences"])
        .iter()
        .filter(|owner| !uids.contains(&text(&owner["uid"])))
        .collect();
    let patch = json!({"metadata": {"uid": object.meta.uid, "ownerReferences": kept}});
    context.api.patch(resource, &object.key, patch).map(drop)
}

/// Foreground: deletes blocking dependents, then the finalizer. Orphan: frees dependents, then the finalizer.
fn finish_owner(
    context: &mut Context<'_, '_>,
    resource: &GroupResource,
    owner: &Arc<Stored>,
) -> Result<(), Status> {
    if !owner.meta.deleting {
        return Ok(());
    }
    let uid = owner.meta.uid.as_str();
    let dependents = context.api.owned_by(uid);
    if owner.meta.finalizers.iter().any(|f| f == ORPHAN) {
        for (resource, dependent) in &dependents {
            let_go(context, resource, dependent, &[uid])?;
        }
        return remove_finalizer(context, resource, owner, ORPHAN);
    }
    if !deletes_dependents(owner) {
        return Ok(());
    }
    let blocks = |dependent: &Stored| {
        dependent.meta.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion)
    };
    let blocking: Vec<_> = dependents.into_iter().filter(|(_, dependent)| blocks(dependent)).collect();
    for (resource, dependent) in &blocking {
        collect(context, resource, dependent)?;
    }
    // What had nothing to wait for is gone by now; the others announce it when they go.
    let left = blocking.iter().any(|(_, dependent)| {
        context.api.by_uid(&dependent.meta.uid).is_some_and(|(_, now_is)| blocks(&now_is))
    });
    if left { Ok(()) } else { remove_finalizer(context, resource, owner, FOREGROUND) }
}

fn remove_finalizer(
    context: &mut Context<'_, '_>,
    resource: &GroupResource,
    object: &Stored,
    finalizer: &str,
) -> Result<(), Status> {
    // The object may have changed since: only the finalizer is touched.
    let Some((_, newest)) = context.api.by_uid(&object.meta.uid) else { return Ok(()) };
    let kept: Vec<&String> = newest.meta.finalizers.iter().filter(|f| *f != finalizer).collect();
    if kept.len() == newest.meta.finalizers.len() {
        return Ok(());
    }
    context.api.patch(resource, &object.key, json!({"metadata": {"finalizers": kept}})).map(drop)
}
