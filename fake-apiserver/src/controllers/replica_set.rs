//! ReplicaSets keep the number of their pods.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{REPLICA_SETS, Says, object_mut, remove_condition, set_condition, set_count};
use super::pod::PodFacts;
use super::queue::{Queue, Work};
use super::template::{Maker, is_terminating, rank_for_deletion, selector_of};
use crate::status::Status;
use crate::storage::Stored;

/// Pods made or deleted at a time, the real controller's `BurstReplicas`.
const BURST: usize = 500;

/// Keeps the number of pods.
pub(crate) struct ReplicaSets;

impl ControlLoop for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("apps", "replicasets") if seen.change.after.is_some() => seen.mark(queue, "replicasets"),
            ("", "pods") => {
                seen.mark_controller(queue, "ReplicaSet", "replicasets");
                mark_adopters(seen, queue);
            }
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let Some(set) = context.api.get(&REPLICA_SETS, &work.key.namespace, &work.key.name) else {
            return Ok(None);
        };
        let value = set.value();
        let Some(selector) = selector_of(&value) else { return Ok(None) };
        let maker = Maker { owner: &set, value: &value, api_version: "apps/v1", kind: "ReplicaSet" };
        let pods = maker.claim(&selector, context)?;
        let active: Vec<Arc<PodFacts>> = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
        let mut more = false;
        let mut refused = Ok(());
        if !set.meta.deleting {
            let wanted = value["spec"]["replicas"].as_i64().unwrap_or(1).max(0) as usize;
            (more, refused) = manage(&maker, &active, wanted, context);
        }
        // After writes the pods will announce themselves; the status follows then.
        let next = report(&set, &value, &pods, refused.as_ref().err(), context)?;
        match refused {
            Err(status) if !is_terminating(&status) => Err(status),
            _ => Ok(if more { Some(context.now) } else { next }),
        }
    }
}

/// A pod that nobody manages may be wanted by a ReplicaSet of its namespace.
fn mark_adopters(seen: &Seen<'_>, queue: &mut Queue) {
    let Some(pod) = seen.change.after.as_deref().filter(|pod| pod.controller().is_none()) else { return };
    if pod.meta.labels.is_empty()
        || seen
            .change
            .before
            .as_ref()
            .is_some_and(|b| b.meta.labels == pod.meta.labels && b.controller().is_none())
    {
        return;
    }
    let Some(sets) = seen.server.storage().collection(&REPLICA_SETS) else { return };
    for set in sets.in_namespace(&pod.key.namespace) {
        if selector_of(&set.value()).is_some_and(|selector| selector.matches(&pod.meta.labels)) {
            queue.add(Work::new("replicasets", &set.key), seen.now);
        }
    }
}

/// Creates what is missing, deletes what is too much. Returns whether there is more to do, and a refusal.
fn manage(
    maker: &Maker<'_>,
    active: &[Arc<PodFacts>],
    wanted: usize,
    context: &mut Context<'_, '_>,
) -> (bool, Result<(), Status>) {
    let mut done = 0;
    if active.len() < wanted {
        let template = &maker.value["spec"]["template"];
        for _ in 0..(wanted - active.len()).min(BURST) {
            let pod = maker.pod(template, context);
            match maker.create(pod, context) {
                // Another pod has the name: the next ending is free.
                Err(status) if status.reason == "AlreadyExists" => return (true, Ok(())),
                Err(status) => return (false, Err(status)),
                Ok(_) => done += 1,
            }
        }
        (active.len() + done < wanted, Ok(()))
    } else {
        let mut ranked = active.to_vec();
        if active.len() > wanted {
            rank_for_deletion(&mut ranked);
        }
        let excess = active.len() - wanted;
        for pod in ranked.iter().take(excess.min(BURST)) {
            if let Err(status) = maker.delete(pod, context) {
                return (false, Err(status));
            }
            done += 1;
        }
        (done < excess, Ok(()))
    }
}

/// Writes the status if it differs; returns when a ready pod becomes available.
fn report(
    set: &Stored,
    value: &Value,
    pods: &[Arc<PodFacts>],
    refused: Option<&Status>,
    context: &mut Context<'_, '_>,
) -> Result<Option<Timestamp>, Status> {
    let min_ready = value["spec"]["minReadySeconds"].as_i64().unwrap_or_default();
    let template_labels = value["spec"]["template"]["metadata"]["labels"].as_object();
    let (mut count, mut labelled, mut ready, mut available) = (0, 0, 0, 0);
    let mut next: Option<Timestamp> = None;
    for pod in pods.iter().filter(|pod| pod.is_active()) {
        count += 1;
        let carries = |(label, v): (&String, &Value)| {
            pod.stored.meta.labels.get(label).map(String::as_str) == v.as_str()
        };
        labelled += i64::from(template_labels.is_none_or(|labels| labels.iter().all(carries)));
        if let Some(at) = pod.available_at(min_ready) {
            ready += 1;
            if at <= context.now {
                available += 1;
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
    }
    let terminating = pods.iter().filter(|pod| pod.stored.meta.deleting && !pod.has_ended()).count();
    let mut status = value["status"].clone();
    let map = object_mut(&mut status);
    map.insert("replicas".into(), count.into());
    map.insert("observedGeneration".into(), set.meta.generation.into());
    map.insert("terminatingReplicas".into(), terminating.into());
    set_count(&mut status, "fullyLabeledReplicas", labelled);
    set_count(&mut status, "readyReplicas", ready);
    set_count(&mut status, "availableReplicas", available);
    match refused {
        // Only the first refusal is told: the next names another pod, and would be a change each time.
        Some(_) if super::object::is_true(value, "ReplicaFailure") => {}
        Some(refusal) => {
            let says = Says {
                kind: "ReplicaFailure",
                status: "True",
                reason: "FailedCreate",
                message: &refusal.message,
            };
            set_condition(&mut status, says, context.now);
        }
        None => remove_condition(&mut status, "ReplicaFailure"),
    }
    if status["conditions"].as_array().is_some_and(Vec::is_empty) {
        object_mut(&mut status).remove("conditions");
    }
    if status != value["status"] {
        let mut object = value.clone();
        object["status"] = status;
        context.api.update_status(&REPLICA_SETS, object)?;
    }
    Ok(next)
}
