//! What controllers ask of a pod, read once from each of its versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::quantity;
use crate::storage::Stored;

/// Phase of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Phase {
    /// Accepted; not all containers have started.
    #[default]
    Pending,
    /// At least one container runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// A container ended badly, or the system ended the pod.
    Failed,
    /// The node cannot be asked.
    #[serde(other)]
    Unknown,
}

/// The facts about one version of a pod.
#[derive(Debug)]
pub(crate) struct PodFacts {
    /// The pod itself.
    pub stored: Arc<Stored>,
    /// Phase.
    pub phase: Phase,
    /// Condition Ready is true.
    pub ready: bool,
    /// Since when.
    pub ready_since: Option<Timestamp>,
    /// Name of the node; empty when not bound.
    pub node: String,
    /// Address; empty when there is none yet.
    pub ip: String,
    /// Sum of the restarts of its containers.
    pub restarts: i64,
    /// `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i64,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// What the scheduler has to find room for, in thousandths.
    pub requests: BTreeMap<String, i128>,
}

impl PodFacts {
    /// Reads a pod; what is missing or malformed counts as absent.
    pub(crate) fn read(stored: &Arc<Stored>) -> Self {
        let view: View = serde_json::from_slice(&stored.bytes).unwrap_or_default();
        let ready = view.status.conditions.iter().find(|c| c.kind == "Ready");
        let cost = view.metadata.annotations.as_ref().and_then(|a| a.deletion_cost.as_deref());
        Self {
            phase: view.status.phase,
            ready: ready.is_some_and(|c| c.status == "True"),
            ready_since: ready.and_then(|c| c.since.as_deref()?.parse().ok()),
            restarts: view.status.container_statuses.iter().map(|c| c.restarts).sum(),
            deletion_cost: cost.and_then(|c| c.parse().ok()).unwrap_or_default(),
            created: view.metadata.created.as_deref().and_then(|t| t.parse().ok()),
            requests: requests(&view.spec),
            node: view.spec.node,
            ip: view.status.ip,
            stored: Arc::clone(stored),
        }
    }

    /// Neither ended nor ending.
    pub(crate) fn is_active(&self) -> bool {
        !self.has_ended() && !self.stored.meta.deleting
    }

    /// Succeeded or failed.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// From when on it counts as available, ready for so many seconds; `None` when it is not ready.
    pub(crate) fn available_at(&self, min_ready_seconds: i64) -> Option<Timestamp> {
        if !self.ready {
            return None;
        }
        let since = self.ready_since.unwrap_or(Timestamp::UNIX_EPOCH);
        since.checked_add(SignedDuration::from_secs(min_ready_seconds)).ok()
    }
}

/// The larger of what containers ask for together and what an init container asks for, each resource for itself.
fn requests(spec: &Spec) -> BTreeMap<String, i128> {
    let mut sum: BTreeMap<String, i128> = BTreeMap::new();
    let sidecars = spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    for (name, value) in spec.containers.iter().chain(sidecars).flat_map(|c| &c.resources.requests) {
        *sum.entry(name.clone()).or_default() += value.milli();
    }
    for (name, value) in spec.init_containers.iter().flat_map(|c| &c.resources.requests) {
        let known = sum.entry(name.clone()).or_default();
        *known = (*known).max(value.milli());
    }
    for (name, value) in &spec.overhead {
        *sum.entry(name.clone()).or_default() += value.milli();
    }
    sum
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct View {
    metadata: Metadata,
    spec: Spec,
    status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    #[serde(rename = "creationTimestamp")]
    created: Option<String>,
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "controller.kubernetes.io/pod-deletion-cost")]
    deletion_cost: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "nodeName")]
    node: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    overhead: BTreeMap<String, Quantity>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    restart_policy: Option<String>,
    resources: Resources,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: BTreeMap<String, Quantity>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Quantity {
    Text(String),
    Number(serde_json::Number),
}

impl Quantity {
    fn milli(&self) -> i128 {
        match self {
            Self::Text(text) => quantity::milli(text),
            Self::Number(number) => quantity::milli(&number.to_string()),
        }
        .unwrap_or_default()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStatus {
    phase: Phase,
    #[serde(rename = "podIP")]
    ip: String,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(rename = "lastTransitionTime")]
    since: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    #[serde(rename = "restartCount")]
    restarts: i64,
}
