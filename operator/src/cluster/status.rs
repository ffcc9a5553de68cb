//! What a DaskCluster says of itself: phase as today, counts, and conditions that name the first thing that blocks.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::build::Desired;
use super::validate::Valid;
use super::{View, scheduler_ready};
use crate::api::ClusterPhase;
use crate::conditions::{self, Condition};
use crate::names;
use crate::observe::Child;
use crate::plugin::Shape;
use crate::scheduler::Path;
use crate::spec::Invalid;
use crate::world::{SchedulerFacts, Trouble, World};

/// The phase is a function of state (compatibility contract §2.1), and follows the Service, never the pods:
/// `KubeCluster` allows 60 s to `Running` and waits for the pod only after that.
pub(super) fn phase(view: &View) -> ClusterPhase {
    match view.seen_service().and_then(|child| child.service()) {
        None => ClusterPhase::Created,
        Some(service) if service.load_balancer && !service.ingress => ClusterPhase::Pending,
        Some(_) => ClusterPhase::Running,
    }
}

/// What of the scheduler was made from an earlier template.
pub(super) struct Outdated<'a> {
    children: Vec<&'a Child>,
}

/// What the plan found.
pub(super) struct Said<'a> {
    /// What of the scheduler was made from an earlier template.
    pub outdated: &'a Outdated<'a>,
    /// What became of the children by plugins.
    pub shape: &'a Shape,
    /// Why the last plan could not be carried out.
    pub trouble: Option<&'a Trouble>,
    /// What is waited for.
    pub waiting: &'a [String],
}

impl<'a> Outdated<'a> {
    /// While plugins leave it open how the children should be, none is.
    pub(super) fn of(view: &'a View, desired: &Desired, shape: &Shape) -> Self {
        let found = [
            (view.deployment.as_deref(), &desired.scheduler_hash),
            (view.service.as_deref(), &desired.service_hash),
        ];
        let known = found.into_iter().filter(|_| !shape.unsure);
        let outdated = known.filter_map(|(child, hash)| child.filter(|c| is_outdated(c, hash)));
        Self { children: outdated.collect() }
    }
}

/// Whether a child was made from an earlier template. One that does not say from what it was made, because another operator
/// made it, is never replaced.
pub(super) fn is_outdated(child: &Child, hash: &str) -> bool {
    !child.deleting && child.hash.as_deref().is_some_and(|known| known != hash)
}

/// The whole status.
pub(super) fn status(
    world: &World,
    view: &View,
    valid: &Valid,
    found: &Said<'_>,
    now: Timestamp,
) -> Map<String, Value> {
    let resource = &view.resource;
    let name = resource.name();
    let mut said = vec![ready(view, found.trouble, found.waiting), scheduler(view), workers(view)];
    let stored = &resource.status["conditions"];
    let known = conditions::known(stored, "UpToDate").filter(|_| found.shape.unsure);
    said.push(known.unwrap_or_else(|| up_to_date(view, valid, found.outdated)));
    said.extend(idle(world, view, valid.spec.idle_timeout));
    said.extend(answers(world, view));
    said.extend(found.shape.conditions.iter().cloned());
    let selector = format!(
        "{}={name},{}=worker,{}={}",
        names::CLUSTER_NAME,
        names::COMPONENT,
        names::GROUP_NAME,
        names::default_group(name)
    );
    let mut status = Map::new();
    status.insert("phase".into(), json!(phase(view).as_str()));
    status.insert("observedGeneration".into(), json!(resource.generation));
    status.insert("replicas".into(), json!(view.workers.default_existing));
    status.insert("readyWorkers".into(), json!(view.workers.default_ready));
    status.insert("selector".into(), json!(selector));
    let tls = world.settings.tls_secret(&resource.annotations).is_some();
    let address = names::scheduler_address(name, resource.namespace(), &world.settings.domain, tls);
    status.insert("schedulerAddress".into(), json!(address));
    status.insert(
        "conditions".into(),
        conditions::list(&resource.status["conditions"], &said, resource.generation, now),
    );
    status
}

/// The status of a cluster that is refused.
pub(super) fn refused(view: &View, invalid: &Invalid, now: Timestamp) -> Map<String, Value> {
    let said = [Condition::no("Ready", invalid.reason, invalid.message.clone())];
    let resource = &view.resource;
    let mut status = Map::new();
    status.insert("phase".into(), json!(ClusterPhase::Error.as_str()));
    status.insert("observedGeneration".into(), json!(resource.generation));
    status.insert(
        "conditions".into(),
        conditions::list(&resource.status["conditions"], &said, resource.generation, now),
    );
    status
}

fn ready(view: &View, trouble: Option<&Trouble>, waiting: &[String]) -> Condition {
    if let Some(trouble) = trouble {
        return Condition::no("Ready", &trouble.reason, trouble.message.clone());
    }
    if let Some(first) = waiting.first() {
        return Condition::no("Ready", "Waiting", first.clone());
    }
    let scheduler = scheduler(view);
    match (phase(view), scheduler.status) {
        (ClusterPhase::Running, Some(true)) => {
            Condition::yes("Ready", "Running", "the scheduler can be reached")
        }
        (ClusterPhase::Running, _) => Condition::no("Ready", &scheduler.reason, scheduler.message),
        (ClusterPhase::Pending, _) => Condition::no(
            "Ready",
            "LoadBalancerPending",
            format!("waiting for the load balancer of Service {}", names::scheduler(view.resource.name())),
        ),
        _ => Condition::no("Ready", "Creating", "the scheduler's Service does not exist yet"),
    }
}

fn scheduler(view: &View) -> Condition {
    const KIND: &str = "SchedulerReady";
    if scheduler_ready(&view.scheduler_pods) {
        return Condition::yes(KIND, "Ready", "the scheduler's pod is ready");
    }
    if let Some(failure) =
        view.deployment.as_ref().and_then(|d| d.deployment()).and_then(|d| d.failure.as_ref())
    {
        return Condition::no(KIND, "PodRefused", failure.to_string());
    }
    match view.scheduler_pods.as_slice() {
        [] => Condition::no(KIND, "PodMissing", "the scheduler's pod does not exist yet"),
        [pod] => match pod.pod().and_then(|facts| facts.blocked.as_ref()) {
            Some(blocked) => {
                Condition::no(KIND, &blocked.reason, format!("pod {}: {}", pod.id.name, blocked.message))
            }
            None => {
                Condition::no(KIND, "PodNotReady", format!("waiting for pod {} to be ready", pod.id.name))
            }
        },
        several => {
            let names: Vec<&str> = several.iter().map(|pod| &*pod.id.name).collect();
            Condition::no(
                KIND,
                "SeveralPods",
                format!("waiting for one of the pods {} to go", names.join(", ")),
            )
        }
    }
}

/// Whether the idle time-out can be kept: only the scheduler knows whether it is idle. Nothing where none is set.
fn idle(world: &World, view: &View, idle_timeout: i64) -> Option<Condition> {
    const KIND: &str = "IdleTimeoutKept";
    if idle_timeout <= 0 {
        return None;
    }
    let facts = world.scheduler(view.resource.namespace(), view.resource.name());
    Some(match facts.and_then(|facts| facts.failure.as_ref()) {
        Some(failure) => Condition::no(KIND, "SchedulerUnanswered", failure.message.clone()),
        None => Condition::yes(
            KIND,
            "Watched",
            format!("the cluster is deleted after {idle_timeout} s without work"),
        ),
    })
}

/// Whether scheduler and workers are those of the present spec.
fn up_to_date(view: &View, valid: &Valid, outdated: &Outdated<'_>) -> Condition {
    const KIND: &str = "UpToDate";
    let mut said: Vec<String> = Vec::new();
    if !outdated.children.is_empty() {
        let names: Vec<String> = outdated.children.iter().map(|child| child.id.to_string()).collect();
        let what = names.join(" and ");
        said.push(if valid.recreate {
            format!("{what}: made from an earlier spec, to be made anew")
        } else {
            format!(
                "{what}: made from an earlier spec; delete to make anew, which loses the scheduler's graph of tasks, \
                 or set spec.scheduler.updateStrategy.type to Recreate"
            )
        });
    }
    if view.workers.outdated > 0 {
        said.push(format!("{} workers were made from an earlier template", view.workers.outdated));
    }
    if said.is_empty() {
        return Condition::yes(KIND, "UpToDate", "scheduler and workers were made from the present spec");
    }
    Condition::no(KIND, "Outdated", said.join("; "))
}

/// By which path the scheduler answers, or why it does not. Nothing where nobody has had anything to ask.
fn answers(world: &World, view: &View) -> Option<Condition> {
    const KIND: &str = "SchedulerAnswers";
    let facts = world.scheduler(view.resource.namespace(), view.resource.name());
    if let Some(failure) = facts.and_then(SchedulerFacts::silence) {
        return Some(Condition::no(KIND, failure.reason, failure.message.clone()));
    }
    let path = facts.and_then(|facts| facts.path);
    match path {
        Some(Path::Http) => Some(Condition::yes(
            KIND,
            Path::Http.reason(),
            "asked over its HTTP API; what each worker holds and runs is asked over the comm protocol where that can be had",
        )),
        Some(Path::Comm) => Some(Condition::yes(
            KIND,
            Path::Comm.reason(),
            "asked over Dask's comm protocol: its HTTP API is off",
        )),
        // Nothing was asked since this operator started: what is written still holds.
        None => conditions::known(&view.resource.status["conditions"], KIND),
    }
}

fn workers(view: &View) -> Condition {
    const KIND: &str = "WorkersReady";
    let counts = format!("{} of {} workers are ready", view.workers.ready, view.workers.wanted);
    if view.workers.ready >= view.workers.wanted {
        return Condition::yes(KIND, "Ready", counts);
    }
    match &view.workers.blocked {
        Some(blocked) => Condition::no(KIND, "Blocked", format!("{counts}; {blocked}")),
        None => Condition::no(KIND, "Starting", counts),
    }
}
