//! The scheduler: binds pending pods to the fitting node with the fewest pods, and says why it cannot.
//!
//! It looks at nodeSelector, required node affinity, taints, scheduling gates, `unschedulable`, and requests against
//! allocatable. It does not look at pod affinity, topology spread, volumes, priorities or preemption.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{NODES, PODS, Says, array_mut, items, set_condition, text};
use super::pod::PodFacts;
use super::queue::{Queue, Work};
use crate::quantity;
use crate::request::Verb;
use crate::status::Status;
use crate::storage::{Key, LabelSelector, Stored};

/// Binds pods.
#[derive(Default)]
pub(crate) struct Scheduler {
    nodes: BTreeMap<String, Node>,
    /// Pods that fit nowhere; they are tried again when something gives room.
    waiting: BTreeSet<Key>,
}

/// One node as the scheduler counts it.
#[derive(Default)]
struct Node {
    value: Value,
    labels: BTreeMap<String, String>,
    /// Not deleted.
    exists: bool,
    allocatable: BTreeMap<String, i128>,
    used: BTreeMap<String, i128>,
    pods: i128,
}

impl ControlLoop for Scheduler {
    fn name(&self) -> &'static str {
        "default-scheduler"
    }

    fn manager(&self) -> &'static str {
        "kube-scheduler"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("", "nodes") => {
                let known = self.nodes.entry(seen.object().key.name.clone()).or_default();
                if known.take(seen.change.after.as_deref()) {
                    self.try_waiting(queue, seen.now);
                }
            }
            ("", "pods") => {
                let (before, after) = (seen.pods.before.as_deref(), seen.pods.after.as_deref());
                let counted =
                    |pod: Option<&PodFacts>| pod.is_some_and(|p| !p.node.is_empty() && !p.has_ended());
                if let Some(pod) = before.filter(|pod| counted(Some(pod))) {
                    self.nodes.entry(pod.node.clone()).or_default().count(pod, -1);
                }
                if let Some(pod) = after.filter(|pod| counted(Some(pod))) {
                    self.nodes.entry(pod.node.clone()).or_default().count(pod, 1);
                }
                if counted(before) && !counted(after) {
                    self.try_waiting(queue, seen.now);
                }
                let key = &seen.object().key;
                match after {
                    Some(pod) if pod.node.is_empty() && !pod.stored.meta.deleting && !pod.has_ended() => {
                        let seen_before = before.is_some_and(|b| b.stored.meta.uid == pod.stored.meta.uid);
                        if !seen_before || !self.waiting.contains(key) {
                            queue.add(Work::new("pods", key), seen.now);
                        }
                    }
                    _ => {
                        self.waiting.remove(key);
                    }
                }
            }
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let Some(facts) = context.observed.pod(&work.key) else { return Ok(None) };
        let facts = std::sync::Arc::clone(facts);
        let pod = facts.stored.value();
        let ours = matches!(text(&pod["spec"]["schedulerName"]), "" | "default-scheduler");
        if !facts.node.is_empty() || facts.stored.meta.deleting || facts.has_ended() || !ours {
            return Ok(None);
        }
        // Whatever comes of it, only a change of the pod or of the nodes makes it worth another try.
        self.waiting.insert(work.key.clone());
        if !items(&pod["spec"]["schedulingGates"]).is_empty() {
            self.waiting.remove(&work.key);
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            return refuse(context, pod, "SchedulingGated", message, false).map(|()| None);
        }
        match self.choose(&pod, &facts) {
            Ok(node) => {
                bind(context, &facts.stored, &node)?;
                self.waiting.remove(&work.key);
                let message =
                    format!("Successfully assigned {}/{} to {node}", work.key.namespace, work.key.name);
                context.normal(&pod, "Scheduled", &message);
            }
            Err(message) => refuse(context, pod, "Unschedulable", &message, true)?,
        }
        Ok(None)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Why a pod may not run on a node.
struct Misfit {
    whys: Vec<String>,
    /// It would not fit if all other pods were gone.
    hopeless: bool,
}

impl Scheduler {
    fn try_waiting(&mut self, queue: &mut Queue, now: Timestamp) {
        for key in std::mem::take(&mut self.waiting) {
            queue.add(Work::new("pods", &key), now);
        }
    }

    /// The fitting node with the fewest pods, the first by name among equals; or why there is none.
    fn choose(&self, pod: &Value, facts: &PodFacts) -> Result<String, String> {
        let mut best: Option<(i128, &String)> = None;
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let (mut count, mut hopeless) = (0, 0);
        for (name, node) in self.nodes.iter().filter(|(_, node)| node.exists) {
            count += 1;
            match node.fits(name, pod, facts) {
                Ok(()) if best.is_none_or(|(pods, _)| node.pods < pods) => best = Some((node.pods, name)),
                Ok(()) => {}
                Err(misfit) => {
                    hopeless += usize::from(misfit.hopeless);
                    misfit.whys.into_iter().for_each(|why| *reasons.entry(why).or_default() += 1);
                }
            }
        }
        if let Some((_, name)) = best {
            return Ok(name.clone());
        }
        if count == 0 {
            return Err("no nodes available to schedule pods".into());
        }
        let mut whys: Vec<String> = reasons.iter().map(|(why, nodes)| format!("{nodes} {why}")).collect();
        whys.sort();
        let mut victims = Vec::new();
        if count > hopeless {
            victims.push(format!("{} No preemption victims found for incoming pod", count - hopeless));
        }
        if hopeless > 0 {
            victims.push(format!("{hopeless} Preemption is not helpful for scheduling"));
        }
        victims.sort();
        let after = format!(
            "no new claims to deallocate, preemption: 0/{count} nodes are available: {}.",
            victims.join(", ")
        );
        Err(format!("0/{count} nodes are available: {}. {after}", whys.join(", ")))
    }
}

impl Node {
    /// Takes the node's newest state in; returns whether it may have got room.
    fn take(&mut self, node: Option<&Stored>) -> bool {
        let Some(node) = node else {
            self.exists = false;
            return false;
        };
        let value = node.value();
        let relevant = !self.exists
            || self.value["spec"] != value["spec"]
            || self.labels != node.meta.labels
            || self.value["status"]["allocatable"] != value["status"]["allocatable"];
        self.exists = true;
        self.labels.clone_from(&node.meta.labels);
        self.allocatable = value["status"]["allocatable"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, amount)| Some((name.clone(), quantity::milli(text(amount))?)))
            .collect();
        self.value = value;
        relevant
    }

    fn count(&mut self, pod: &PodFacts, sign: i128) {
        self.pods += sign;
        for (name, amount) in &pod.requests {
            *self.used.entry(name.clone()).or_default() += sign * amount;
        }
    }

    /// Whether the pod may run here and there is room; otherwise what is in the way.
    fn fits(&self, name: &str, pod: &Value, facts: &PodFacts) -> Result<(), Misfit> {
        let never = |why: &str| Err(Misfit { whys: vec![why.into()], hopeless: true });
        let spec = &pod["spec"];
        let tolerations = items(&spec["tolerations"]);
        if self.value["spec"]["unschedulable"] == true
            && !tolerates(tolerations, UNSCHEDULABLE, "", "NoSchedule")
        {
            return never("node(s) were unschedulable");
        }
        let taint = items(&self.value["spec"]["taints"]).iter().find(|taint| {
            let effect = text(&taint["effect"]);
            effect != "PreferNoSchedule"
                && !tolerates(tolerations, text(&taint["key"]), text(&taint["value"]), effect)
        });
        if taint.is_some() {
            return never("node(s) had untolerated taint(s)");
        }
        let selected = spec["nodeSelector"].as_object().is_none_or(|labels| {
            labels.iter().all(|(l, v)| self.labels.get(l).map(String::as_str) == v.as_str())
        });
        if !selected || !self.affine(name, spec) {
            return never("node(s) didn't match Pod's node affinity/selector");
        }
        let (mut short, mut hopeless): (Vec<String>, bool) = (Vec::new(), false);
        if self.pods * 1_000 + 1_000 > self.allocatable.get("pods").copied().unwrap_or_default() {
            short.push("Too many pods".into());
        }
        for (resource, amount) in facts.requests.iter().filter(|(_, amount)| **amount > 0) {
            let all = self.allocatable.get(resource).copied().unwrap_or_default();
            if *amount > all - self.used.get(resource).copied().unwrap_or_default() {
                hopeless |= *amount > all;
                short.push(format!("Insufficient {resource}"));
            }
        }
        if short.is_empty() { Ok(()) } else { Err(Misfit { whys: short, hopeless }) }
    }

    /// Required node affinity: one of the terms holds.
    fn affine(&self, name: &str, spec: &Value) -> bool {
        let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        if required.is_null() {
            return true;
        }
        let named = BTreeMap::from([("metadata.name".to_owned(), name.to_owned())]);
        items(&required["nodeSelectorTerms"]).iter().any(|term| {
            let holds = |list: &str, values: &BTreeMap<String, String>| {
                items(&term[list]).iter().all(|test| expression_holds(test, values))
            };
            holds("matchExpressions", &self.labels) && holds("matchFields", &named)
        })
    }
}

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

fn expression_holds(test: &Value, labels: &BTreeMap<String, String>) -> bool {
    let known = labels.get(text(&test["key"]));
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = || items(&test["values"]).first().and_then(|v| number(text(v)));
    match text(&test["operator"]) {
        "Gt" => known.and_then(|k| number(k)).zip(bound()).is_some_and(|(known, bound)| known > bound),
        "Lt" => known.and_then(|k| number(k)).zip(bound()).is_some_and(|(known, bound)| known < bound),
        _ => LabelSelector::from_object(&json!({"matchExpressions": [test]}))
            .is_some_and(|s| s.matches(labels)),
    }
}

/// Whether one of the tolerations fits a taint.
pub(crate) fn tolerates(tolerations: &[Value], key: &str, value: &str, effect: &str) -> bool {
    tolerations.iter().any(|toleration| {
        let exists = toleration["operator"] == "Exists";
        let key_fits = text(&toleration["key"]) == key || (exists && text(&toleration["key"]).is_empty());
        let effect_fits = matches!(text(&toleration["effect"]), "") || text(&toleration["effect"]) == effect;
        key_fits && effect_fits && (exists || text(&toleration["value"]) == value)
    })
}

/// The pod's `binding`: sets its node and its condition PodScheduled.
fn bind(context: &mut Context<'_, '_>, pod: &Stored, node: &str) -> Result<(), Status> {
    let mut request =
        context.api.request_for(&PODS, Verb::Create)?.name(pod.key.name.clone()).subresource("binding");
    request.namespace = Some(pod.key.namespace.clone());
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": pod.key.name, "namespace": pod.key.namespace, "uid": pod.meta.uid},
        "target": {"kind": "Node", "name": node},
    });
    context.api.request(request.body(binding)).map(drop)
}

/// Says in the pod's condition why it is not scheduled; once for each reason.
fn refuse(
    context: &mut Context<'_, '_>,
    mut pod: Value,
    reason: &str,
    message: &str,
    event: bool,
) -> Result<(), Status> {
    let says = Says { kind: "PodScheduled", status: "False", reason, message };
    if !set_condition(&mut pod["status"], says, context.now) {
        return Ok(());
    }
    let generation = pod["metadata"]["generation"].clone();
    let conditions = array_mut(&mut pod["status"], "conditions");
    if let Some(condition) = conditions.iter_mut().find(|condition| condition["reason"] == "Unschedulable") {
        condition["observedGeneration"] = generation;
    }
    pod["metadata"]["resourceVersion"] = Value::Null;
    context.api.update_status(&PODS, pod.clone())?;
    if event {
        context.warning(&pod, "FailedScheduling", message);
    }
    Ok(())
}

/// Whether a DaemonSet's pod may run on a node: its selectors, affinity and taints, but not its room.
pub(crate) fn admits(node: &Stored, template: &Value) -> bool {
    let mut known = Node::default();
    known.take(Some(node));
    known.allocatable.insert("pods".into(), i128::MAX / 2);
    let pod = json!({"spec": template["spec"]});
    let none = std::sync::Arc::new(Stored::from_value(&json!({}), &std::sync::Arc::default(), 0));
    let mut facts = PodFacts::read(&none);
    facts.requests.clear();
    known.fits(&node.key.name, &pod, &facts).is_ok()
}

/// The nodes there are, by name.
pub(crate) fn nodes(context: &Context<'_, '_>) -> Vec<std::sync::Arc<Stored>> {
    context.api.collection(&NODES).map(|nodes| nodes.iter().cloned().collect()).unwrap_or_default()
}
