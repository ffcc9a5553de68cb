//! PodDisruptionBudgets: how many of the selected pods may be missing now.
//!
//! Follows `pkg/controller/disruption` of Kubernetes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{BUDGETS, DEPLOYMENTS, PODS, int_or_percent, object_mut, text, time};
use super::pod::PodFacts;
use super::queue::{Queue, Work};
use crate::request::Verb;
use crate::response::Reply;
use crate::status::Status;
use crate::storage::{GroupResource, LabelSelector, Stored};

/// How long after its eviction a pod counts as going, though it is still there.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// Keeps the status of PodDisruptionBudgets.
pub(crate) struct Disruptions;

impl ControlLoop for Disruptions {
    fn name(&self) -> &'static str {
        "controllermanager"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("policy", "poddisruptionbudgets") if seen.change.after.is_some() => {
                seen.mark(queue, "poddisruptionbudgets");
            }
            ("", "pods") => {
                let (before, after) = (seen.pods.before.as_deref(), seen.pods.after.as_deref());
                if before.map(appearance) == after.map(appearance) {
                    return;
                }
                let Some(budgets) = seen.server.storage().collection(&BUDGETS) else { return };
                for budget in budgets.in_namespace(&seen.object().key.namespace) {
                    let Some(selector) = selector_of(&budget.value()) else { continue };
                    let mut states = [before, after].into_iter().flatten();
                    if states.any(|pod| selector.matches(&pod.stored.meta.labels)) {
                        queue.add(Work::new("poddisruptionbudgets", &budget.key), seen.now);
                    }
                }
            }
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let Some(budget) = context.api.get(&BUDGETS, &work.key.namespace, &work.key.name) else {
            return Ok(None);
        };
        let value = budget.value();
        let pods = match selector_of(&value) {
            Some(selector) => context.api.select(&PODS, Some(&work.key.namespace), &selector),
            None => Vec::new(),
        };
        let pods: Vec<PodFacts> = pods.iter().map(PodFacts::read).collect();
        if pods.is_empty() {
            context.normal(&value, "NoPods", "No matching pods found");
        }
        let counted = match expect(&value, &pods, context) {
            Ok(counted) => counted,
            Err(message) => {
                let said = format!("Failed to calculate the number of expected pods: {message}");
                context.warning(&value, "CalculateExpectedPodCountFailed", &said);
                return fail(value, &message, context);
            }
        };
        let (disrupted, again) = disrupted(&value, &pods, context.now);
        let healthy = pods.iter().filter(|pod| {
            pod.ready && !pod.stored.meta.deleting && !disrupted.contains_key(&pod.stored.key.name)
        });
        let healthy = healthy.count() as i64;
        report(&budget, value, counted, healthy, disrupted, context)?;
        Ok(again)
    }
}

/// What of a pod shows in a budget.
fn appearance(pod: &PodFacts) -> (bool, bool, &BTreeMap<String, String>, &str) {
    (pod.ready, pod.stored.meta.deleting, &pod.stored.meta.labels, &pod.stored.meta.uid)
}

fn selector_of(budget: &Value) -> Option<LabelSelector> {
    LabelSelector::from_object(&budget["spec"]["selector"])
}

#[derive(Clone, Copy)]
struct Counted {
    expected: i64,
    desired: i64,
}

/// How many pods there should be, and how many of them healthy.
fn expect(budget: &Value, pods: &[PodFacts], context: &mut Context<'_, '_>) -> Result<Counted, String> {
    let spec = &budget["spec"];
    if !spec["maxUnavailable"].is_null() {
        let expected = scale(budget, pods, context)?;
        let missing = int_or_percent(&spec["maxUnavailable"], expected, true);
        return Ok(Counted { expected, desired: (expected - missing).max(0) });
    }
    match &spec["minAvailable"] {
        Value::String(_) => {
            let expected = scale(budget, pods, context)?;
            Ok(Counted { expected, desired: int_or_percent(&spec["minAvailable"], expected, true) })
        }
        number => Ok(Counted { expected: pods.len() as i64, desired: number.as_i64().unwrap_or_default() }),
    }
}

/// What the controllers of the pods want, together.
fn scale(budget: &Value, pods: &[PodFacts], context: &mut Context<'_, '_>) -> Result<i64, String> {
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    let mut unmanaged = false;
    for pod in pods {
        let Some(owner) = pod.stored.controller() else {
            unmanaged = true;
            continue;
        };
        let found = context.api.by_uid(&owner.uid).and_then(|(resource, owner)| {
            // The ReplicaSet of a Deployment changes with every template.
            let above = owner.controller().filter(|above| above.kind == "Deployment");
            let above =
                above.and_then(|above| context.api.get(&DEPLOYMENTS, &owner.key.namespace, &above.name));
            let (resource, owner) = above.map_or((resource, owner), |above| (DEPLOYMENTS, above));
            Some((owner.meta.uid.clone(), replicas(&resource, &owner, context)?))
        });
        let (uid, replicas) =
            found.ok_or_else(|| format!("found no controllers for pod {:?}", pod.stored.key.name))?;
        wanted.insert(uid, replicas);
    }
    if unmanaged {
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of \
             the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please \
             set \".spec.minAvailable\" field of the PDB to an integer value.",
            budget["spec"]["selector"]
        );
        context.warning(budget, "UnmanagedPods", &message);
    }
    Ok(wanted.values().sum())
}

/// `spec.replicas` of whatever can be scaled.
fn replicas(resource: &GroupResource, owner: &Arc<Stored>, context: &mut Context<'_, '_>) -> Option<i64> {
    let request = context.api.request_for(resource, Verb::Get).ok()?;
    let request = request.namespace(&owner.key.namespace).name(&owner.key.name).subresource("scale");
    match context.api.request(request).ok()?.reply {
        Reply::Value(scale) => Some(scale["spec"]["replicas"].as_i64().unwrap_or_default()),
        Reply::Object(stored) => Some(stored.value()["spec"]["replicas"].as_i64().unwrap_or_default()),
        _ => None,
    }
}

/// The evicted pods that are still to be deleted, and when that is no longer believed.
fn disrupted(budget: &Value, pods: &[PodFacts], now: Timestamp) -> (Map<String, Value>, Option<Timestamp>) {
    let (mut kept, mut again) = (Map::new(), None::<Timestamp>);
    for pod in pods.iter().filter(|pod| !pod.stored.meta.deleting) {
        let evicted = &budget["status"]["disruptedPods"][&pod.stored.key.name];
        let until = text(evicted).parse::<Timestamp>().ok();
        let until = until.and_then(|evicted| evicted.checked_add(DELETION_TIMEOUT).ok());
        if let Some(until) = until.filter(|until| *until > now) {
            kept.insert(pod.stored.key.name.clone(), evicted.clone());
            again = Some(again.map_or(until, |again| again.min(until)));
        }
    }
    (kept, again)
}

fn report(
    budget: &Stored,
    value: Value,
    counted: Counted,
    healthy: i64,
    disrupted: Map<String, Value>,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    let allowed = if counted.expected <= 0 { 0 } else { (healthy - counted.desired).max(0) };
    let mut status = value["status"].clone();
    let fields = object_mut(&mut status);
    fields.insert("currentHealthy".into(), healthy.into());
    fields.insert("desiredHealthy".into(), counted.desired.into());
    fields.insert("expectedPods".into(), counted.expected.into());
    fields.insert("disruptionsAllowed".into(), allowed.into());
    fields.insert("observedGeneration".into(), budget.meta.generation.into());
    fields.remove("disruptedPods");
    if !disrupted.is_empty() {
        fields.insert("disruptedPods".into(), disrupted.into());
    }
    let (verdict, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    conclude(&mut status, verdict, reason, "", context.now);
    write(value, status, context)
}

/// Nothing may be evicted while the numbers are not known.
fn fail(mut value: Value, why: &str, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
    let mut status = value["status"].take();
    object_mut(&mut status).insert("disruptionsAllowed".into(), 0.into());
    conclude(&mut status, "False", "SyncFailed", why, context.now);
    write(value, status, context).map(|()| None)
}

/// The condition `DisruptionAllowed`, whose fields are all required.
fn conclude(status: &mut Value, verdict: &str, reason: &str, message: &str, now: Timestamp) {
    let known = &status["conditions"][0];
    let since = text(&known["lastTransitionTime"]).to_owned();
    let since = if known["status"] == verdict { since } else { time(now) };
    let generation = status["observedGeneration"].as_i64().unwrap_or_default();
    status["conditions"] = json!([{"type": "DisruptionAllowed", "status": verdict, "reason": reason,
        "message": message, "lastTransitionTime": since, "observedGeneration": generation}]);
}

fn write(mut value: Value, status: Value, context: &mut Context<'_, '_>) -> Result<(), Status> {
    if value["status"] != status {
        value["status"] = status;
        context.api.update_status(&BUDGETS, value)?;
    }
    Ok(())
}
