//! DaskCluster: a scheduler and its default worker group.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::shared::{
    ChildMetadata, Condition, RawPodSpec, RawServiceSpec, lenient, lenient_list, or_default,
};
use super::update::{SchedulerUpdateStrategy, UpdateStrategy};

/// What a Dask cluster is to be.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kubernetes.dask.org",
    version = "v1",
    kind = "DaskCluster",
    plural = "daskclusters",
    namespaced,
    derive = "PartialEq",
    status = "DaskClusterStatus",
    doc = "A Dask scheduler, its Service and its workers.",
    shortname = "daskcluster",
    shortname = "dsk",
    category = "dask",
    scale(
        spec_replicas_path = ".spec.worker.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Workers", type_ = "integer", json_path = ".spec.worker.replicas"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyWorkers", priority = 1),
    printcolumn(name = "Scheduler", type_ = "string", json_path = ".status.schedulerAddress", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct DaskClusterSpec {
    /// Seconds without work after which the cluster is deleted; 0 means never.
    #[serde(default, deserialize_with = "or_default")]
    pub idle_timeout: i64,
    /// The default worker group.
    pub worker: WorkerSpec,
    /// The scheduler.
    pub scheduler: SchedulerSpec,
}

/// A group of equal workers.
///
/// A cluster's own copy of this is the template of its default group: what changes in it flows to the group, and what does not
/// change leaves alone what was set on the group itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerSpec {
    /// How many workers there are to be. The number of the DaskWorkerGroup counts, whoever wrote it last: `kubectl scale`,
    /// `KubeCluster.scale()`, an autoscaler. The number of a DaskCluster is handed to its default group when it changes, and
    /// only then.
    #[serde(default = "one", deserialize_with = "or_one")]
    pub replicas: i64,
    /// Labels and annotations of the workers.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "ChildMetadata::is_empty")]
    pub metadata: ChildMetadata,
    /// Pod spec of each worker.
    pub spec: RawPodSpec,
    /// How workers made from an earlier template are replaced; unset, they stay until they are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
}

/// The scheduler and the Service in front of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerSpec {
    /// Labels and annotations of the scheduler and its Service.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "ChildMetadata::is_empty")]
    pub metadata: ChildMetadata,
    /// Pod spec of the scheduler.
    pub spec: RawPodSpec,
    /// Spec of the scheduler's Service.
    pub service: RawServiceSpec,
    /// How a scheduler made from an earlier template is replaced; unset, it stays until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<SchedulerUpdateStrategy>,
}

/// What is known of a Dask cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaskClusterStatus {
    /// `Created`, `Pending`, `Running` or `Error`.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub phase: Option<ClusterPhase>,
    /// The `metadata.generation` this status was computed from.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, what is waited for, and why.
    #[serde(default, deserialize_with = "lenient_list", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Workers of the default group that exist.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Workers of the default group whose pod is ready.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub ready_workers: Option<i64>,
    /// Label selector of the default group's pods, for autoscalers.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Address of the scheduler inside the Kubernetes cluster, for instance `tcp://x-scheduler.ns.svc.cluster.local:8786`.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub scheduler_address: Option<String>,
}

/// `status.phase` of a DaskCluster; clients switch on these four strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClusterPhase {
    /// Seen; the Service does not exist yet.
    Created,
    /// The Service waits for its load balancer.
    Pending,
    /// The scheduler can be addressed.
    Running,
    /// The name cannot be used.
    Error,
}

impl ClusterPhase {
    /// The string on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Error => "Error",
        }
    }
}

fn one() -> i64 {
    1
}

/// Reads null as the default of one worker, as the API server does with a null of the CRD's.
fn or_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(1))
}
