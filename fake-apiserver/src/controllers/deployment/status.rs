//! The status of a Deployment: counts and the conditions Available, Progressing and ReplicaFailure.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::control_loop::Context;
use super::super::object::{
    DEPLOYMENTS, Says, array_mut, condition, items, object_mut, remove_condition, set_condition, set_count,
    text, time,
};
use super::Deployment;
use super::sets::Sets;
use crate::status::Status;

/// Writes the status if it differs; returns when the progress deadline passes.
pub(super) fn write(
    deployment: &Deployment<'_>,
    sets: &Sets,
    context: &mut Context<'_, '_>,
) -> Result<Option<Timestamp>, Status> {
    let key = &deployment.stored.key;
    let Some(newest) = context.api.get(&DEPLOYMENTS, &key.namespace, &key.name) else { return Ok(None) };
    let mut value = newest.value();
    let before = value["status"].take();
    let mut status = before.clone();
    counts(&mut status, deployment, sets);
    available(&mut status, deployment, context.now);
    progressing(&mut status, &before, deployment, sets, context.now);
    match sets.all().find_map(|set| condition(&set.value, "ReplicaFailure")) {
        Some(failure) => {
            let (reason, message) = (text(&failure["reason"]), text(&failure["message"]));
            let says = Says { kind: "ReplicaFailure", status: "True", reason, message };
            set_condition(&mut status, says, context.now);
        }
        None => remove_condition(&mut status, "ReplicaFailure"),
    }
    move_changed(&mut status, &before);
    stamp_updates(&mut status, &before, context.now);
    let due = deadline(&status, deployment).filter(|at| *at > context.now);
    if status != before {
        value["status"] = status;
        context.api.update_status(&DEPLOYMENTS, value)?;
    }
    Ok(due)
}

fn counts(status: &mut Value, deployment: &Deployment<'_>, sets: &Sets) {
    let available = sets.total("availableReplicas");
    let updated = sets.new.as_ref().map_or(0, |new| new.count("replicas"));
    set_count(status, "replicas", sets.total("replicas"));
    set_count(status, "updatedReplicas", updated);
    set_count(status, "readyReplicas", sets.total("readyReplicas"));
    set_count(status, "availableReplicas", available);
    set_count(status, "unavailableReplicas", (sets.total_size() - available).max(0));
    let map = object_mut(status);
    map.insert("terminatingReplicas".into(), sets.total("terminatingReplicas").into());
    map.insert("observedGeneration".into(), deployment.stored.meta.generation.into());
}

fn available(status: &mut Value, deployment: &Deployment<'_>, now: Timestamp) {
    let available = status["availableReplicas"].as_i64().unwrap_or_default();
    let (holds, reason, message) = if available >= deployment.replicas - deployment.max_unavailable {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set_condition(status, Says { kind: "Available", status: holds, reason, message }, now);
}

/// Whether every replica is of the new template and available.
fn is_complete(status: &Value, deployment: &Deployment<'_>) -> bool {
    let count = |field: &str| status[field].as_i64().unwrap_or_default();
    ["updatedReplicas", "replicas", "availableReplicas"]
        .iter()
        .all(|field| count(field) == deployment.replicas)
}

/// Whether more is updated, ready or available than before, or less is old.
fn has_moved(status: &Value, before: &Value) -> bool {
    let count = |of: &Value, field: &str| of[field].as_i64().unwrap_or_default();
    let old = |of: &Value| count(of, "replicas") - count(of, "updatedReplicas");
    ["updatedReplicas", "readyReplicas", "availableReplicas"]
        .iter()
        .any(|f| count(status, f) > count(before, f))
        || old(status) < old(before)
}

fn progressing(status: &mut Value, before: &Value, deployment: &Deployment<'_>, sets: &Sets, now: Timestamp) {
    let set = |holds: &str, reason: &str, message: &str, into: &mut Value| {
        set_condition(into, Says { kind: "Progressing", status: holds, reason, message }, now);
    };
    let spec = &deployment.value["spec"];
    if spec["paused"] == true {
        return set("Unknown", "DeploymentPaused", "Deployment is paused", status);
    }
    if spec["progressDeadlineSeconds"].as_i64().is_none_or(|s| s == i64::from(i32::MAX)) {
        return remove_condition(status, "Progressing");
    }
    let known = items(&before["conditions"]).iter().find(|c| c["type"] == "Progressing");
    let reason = known.map(|c| text(&c["reason"])).unwrap_or_default();
    if reason == "DeploymentPaused" {
        return set("Unknown", "DeploymentResumed", "Deployment is resumed", status);
    }
    let who = match &sets.new {
        Some(new) => format!("ReplicaSet {:?}", new.name()),
        None => format!("Deployment {:?}", deployment.stored.key.name),
    };
    let updated = status["replicas"] == status["updatedReplicas"];
    match &sets.new {
        Some(new) if sets.created => {
            let message = format!("Created new replica set {:?}", new.name());
            set("True", "NewReplicaSetCreated", &message, status);
        }
        Some(new) if reason.is_empty() => {
            set("True", "FoundNewReplicaSet", &format!("Found new replica set {:?}", new.name()), status);
        }
        // A finished roll-out stays finished, whatever becomes of its pods.
        _ if updated && reason == "NewReplicaSetAvailable" => return,
        _ => {}
    }
    if is_complete(status, deployment) {
        set("True", "NewReplicaSetAvailable", &format!("{who} has successfully progressed."), status);
    } else if has_moved(status, before) {
        set("True", "ReplicaSetUpdated", &format!("{who} is progressing."), status);
    } else if deadline(before, deployment).is_some_and(|at| at <= now) {
        set("False", "ProgressDeadlineExceeded", &format!("{who} has timed out progressing."), status);
    }
}

/// A condition that has changed is written behind the others.
fn move_changed(status: &mut Value, before: &Value) {
    let has_changed = |condition: &Value| {
        let known = items(&before["conditions"]).iter().find(|known| known["type"] == condition["type"]);
        known.is_some_and(|known| {
            known["status"] != condition["status"] || known["reason"] != condition["reason"]
        })
    };
    array_mut(status, "conditions").sort_by_key(has_changed);
}

/// Conditions of Deployments also say when they were last written, and Progressing is written with every move.
fn stamp_updates(status: &mut Value, before: &Value, now: Timestamp) {
    let moved = has_moved(status, before);
    for condition in array_mut(status, "conditions") {
        let known = items(&before["conditions"]).iter().find(|c| c["type"] == condition["type"]);
        let same = known.is_some_and(|known| known == condition);
        let moving =
            moved && condition["type"] == "Progressing" && condition["reason"] == "ReplicaSetUpdated";
        if !same || moving {
            condition["lastUpdateTime"] = time(now).into();
        }
    }
}

/// When a roll-out that does not move counts as failed.
fn deadline(status: &Value, deployment: &Deployment<'_>) -> Option<Timestamp> {
    let seconds = deployment.value["spec"]["progressDeadlineSeconds"].as_i64()?;
    let progressing = items(&status["conditions"]).iter().find(|c| c["type"] == "Progressing")?;
    let settled = ["NewReplicaSetAvailable", "ProgressDeadlineExceeded", "DeploymentPaused"];
    if settled.contains(&text(&progressing["reason"])) {
        return None;
    }
    let since: Timestamp = text(&progressing["lastUpdateTime"]).parse().ok()?;
    since.checked_add(SignedDuration::from_secs(seconds)).ok()
}
