//! DaemonSets: one pod on each node that admits it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{DAEMON_SETS, array_mut, int_or_percent, items, object_mut, set_count, text};
use super::pod::PodFacts;
use super::queue::{Queue, Work};
use super::revision::History;
use super::scheduler;
use super::template::{Maker, is_terminating, selector_of};
use crate::status::Status;
use crate::storage::{Key, Stored};

const REVISION_LABEL: &str = "controller-revision-hash";

/// Runs DaemonSets.
#[derive(Default)]
pub(crate) struct DaemonSets;

impl ControlLoop for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("apps", "daemonsets") if seen.change.after.is_some() => seen.mark(queue, "daemonsets"),
            ("", "pods") => seen.mark_controller(queue, "DaemonSet", "daemonsets"),
            ("", "nodes") => {
                let sets = seen.server.storage().collection(&DAEMON_SETS);
                if let Some(sets) = sets {
                    for set in sets.iter() {
                        queue.add(Work::new("daemonsets", &set.key), seen.now);
                    }
                }
            }
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let key = &work.key;
        let Some(stored) = context.api.get(&DAEMON_SETS, &key.namespace, &key.name) else { return Ok(None) };
        let value = stored.value();
        let Some(selector) = selector_of(&value) else { return Ok(None) };
        let maker = Maker { owner: &stored, value: &value, api_version: "apps/v1", kind: "DaemonSet" };
        let pods = maker.claim(&selector, context)?;
        if stored.meta.deleting {
            return Ok(None);
        }
        let history = History::keep(&stored, &value, "DaemonSet", REVISION_LABEL, context)?;
        let hash = history.newest().rsplit('-').next().unwrap_or_default().to_owned();
        let mut by_node: BTreeMap<String, Vec<Arc<PodFacts>>> = BTreeMap::new();
        for pod in &pods {
            by_node.entry(node_of(pod)).or_default().push(Arc::clone(pod));
        }
        let refused = match spread(&maker, &by_node, &hash, context) {
            Err(status) if is_terminating(&status) => Ok(()),
            other => other,
        };
        report(&maker, &by_node, &hash, context)?;
        refused?;
        let min_ready = value["spec"]["minReadySeconds"].as_i64().unwrap_or_default();
        Ok(pods.iter().filter_map(|pod| pod.available_at(min_ready)).filter(|at| *at > context.now).min())
    }
}

/// The node a pod is on, or is meant for by its affinity.
fn node_of(pod: &PodFacts) -> String {
    if !pod.node.is_empty() {
        return pod.node.clone();
    }
    let value = pod.stored.value();
    let required =
        &value["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    text(&required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]).to_owned()
}

/// Makes missing pods, removes those that ended or stand where they should not, and replaces old ones step by step.
fn spread(
    maker: &Maker<'_>,
    by_node: &BTreeMap<String, Vec<Arc<PodFacts>>>,
    hash: &str,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    let nodes: Vec<Arc<Stored>> = admitting(maker, context);
    let strategy = &maker.value["spec"]["updateStrategy"];
    let at_once = match &strategy["rollingUpdate"]["maxUnavailable"] {
        Value::Null => 1,
        most => int_or_percent(most, nodes.len() as i64, true).max(1),
    };
    let available = |node: &Arc<Stored>| {
        by_node.get(&node.key.name).into_iter().flatten().any(|pod| pod.is_active() && pod.ready)
    };
    let mut may_go = at_once - nodes.iter().filter(|node| !available(node)).count() as i64;
    for node in &nodes {
        let pods = by_node.get(&node.key.name).map(Vec::as_slice).unwrap_or_default();
        for pod in pods.iter().filter(|pod| pod.has_ended() && !pod.stored.meta.deleting) {
            maker.delete(pod, context)?;
        }
        let mut active: Vec<&Arc<PodFacts>> = pods.iter().filter(|pod| pod.is_active()).collect();
        if active.is_empty() && !pods.iter().any(|pod| pod.stored.meta.deleting) {
            let pod = maker.pod(&template(maker, &node.key.name, hash), context);
            maker.create(pod, context)?;
            continue;
        }
        // The oldest of several stays.
        active.sort_by_key(|pod| (pod.created, pod.stored.key.name.clone()));
        for pod in active.iter().skip(1) {
            maker.delete(pod, context)?;
        }
        let rolling = text(&strategy["type"]) != "OnDelete";
        if let Some(pod) = active.first().filter(|pod| rolling && is_old(pod, hash))
            && (may_go > 0 || !pod.ready)
        {
            may_go -= i64::from(pod.ready);
            maker.delete(pod, context)?;
        }
    }
    for (node, pods) in by_node {
        if !nodes.iter().any(|known| known.key.name == *node) {
            for pod in pods.iter().filter(|pod| !pod.stored.meta.deleting) {
                maker.delete(pod, context)?;
            }
        }
    }
    Ok(())
}

fn is_old(pod: &PodFacts, hash: &str) -> bool {
    pod.stored.meta.labels.get(REVISION_LABEL).is_none_or(|label| label != hash)
}

fn admitting(maker: &Maker<'_>, context: &Context<'_, '_>) -> Vec<Arc<Stored>> {
    let mut template = maker.value["spec"]["template"].clone();
    tolerate(&mut template);
    scheduler::nodes(context).into_iter().filter(|node| scheduler::admits(node, &template)).collect()
}

/// A DaemonSet's pods stay on nodes that are in trouble.
fn tolerate(template: &mut Value) {
    let tolerations = array_mut(&mut template["spec"], "tolerations");
    for (name, effect) in [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ] {
        let key = format!("node.kubernetes.io/{name}");
        tolerations.push(json!({"key": key, "effect": effect, "operator": "Exists"}));
    }
}

fn template(maker: &Maker<'_>, node: &str, hash: &str) -> Value {
    let mut template = maker.value["spec"]["template"].clone();
    tolerate(&mut template);
    let labels = object_mut(object_mut(&mut template["metadata"]).entry("labels").or_insert(Value::Null));
    labels.insert(REVISION_LABEL.into(), hash.into());
    let generation = super::object::annotation(maker.value, "deprecated.daemonset.template.generation");
    if !generation.is_empty() {
        labels.insert("pod-template-generation".into(), generation.into());
    }
    let only_here = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
    let required =
        &mut template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    // The node's name goes into every term: they are alternatives.
    if items(&required["nodeSelectorTerms"]).is_empty() {
        *required = json!({"nodeSelectorTerms": [{}]});
    }
    for term in array_mut(required, "nodeSelectorTerms") {
        term["matchFields"] = only_here.clone();
    }
    template
}

fn report(
    maker: &Maker<'_>,
    by_node: &BTreeMap<String, Vec<Arc<PodFacts>>>,
    hash: &str,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    let key: &Key = &maker.owner.key;
    let Some(newest) = context.api.get(&DAEMON_SETS, &key.namespace, &key.name) else { return Ok(()) };
    let nodes = admitting(maker, context);
    let min_ready = maker.value["spec"]["minReadySeconds"].as_i64().unwrap_or_default();
    let (mut current, mut ready, mut available, mut updated) = (0, 0, 0, 0);
    for node in &nodes {
        let pods = by_node.get(&node.key.name).into_iter().flatten();
        let Some(pod) = pods.filter(|pod| pod.is_active()).min_by_key(|pod| pod.created) else { continue };
        current += 1;
        ready += i64::from(pod.ready);
        available += i64::from(pod.available_at(min_ready).is_some_and(|at| at <= context.now));
        updated += i64::from(!is_old(pod, hash));
    }
    let misplaced = by_node.keys().filter(|node| !nodes.iter().any(|known| known.key.name == **node)).count();
    let mut value = newest.value();
    let mut status = value["status"].clone();
    let wanted = nodes.len() as i64;
    let map = object_mut(&mut status);
    for (field, count) in [
        ("currentNumberScheduled", current),
        ("desiredNumberScheduled", wanted),
        ("numberMisscheduled", misplaced as i64),
        ("numberReady", ready),
        ("observedGeneration", maker.owner.meta.generation),
    ] {
        map.insert(field.into(), count.into());
    }
    set_count(&mut status, "numberAvailable", available);
    set_count(&mut status, "numberUnavailable", wanted - available);
    set_count(&mut status, "updatedNumberScheduled", updated);
    if value["status"] != status {
        value["status"] = status;
        context.api.update_status(&DAEMON_SETS, value)?;
    }
    Ok(())
}
