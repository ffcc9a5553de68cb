//! DaskJob: a runner pod and the cluster it uses, removed when the runner has ended.

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    cluster::DaskClusterSpec,
    shared::{ChildMetadata, Condition, RawPodSpec, date_time, lenient, lenient_list, or_default, rfc3339},
};

/// What a job is to run, and on which cluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kubernetes.dask.org",
    version = "v1",
    kind = "DaskJob",
    plural = "daskjobs",
    namespaced,
    derive = "PartialEq",
    status = "DaskJobStatus",
    doc = "A pod that runs to completion beside a DaskCluster of its own.",
    shortname = "djb",
    category = "dask",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.jobStatus"),
    printcolumn(
        name = "Number Of Workers",
        type_ = "integer",
        json_path = ".spec.cluster.spec.worker.replicas"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Runner", type_ = "string", json_path = ".status.jobRunnerPodName", priority = 1)
)]
pub struct DaskJobSpec {
    /// The pod that runs the job.
    pub job: RunnerSpec,
    /// The cluster it uses.
    pub cluster: JobClusterSpec,
}

/// The runner pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerSpec {
    /// Labels and annotations of the runner pod.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "ChildMetadata::is_empty")]
    pub metadata: ChildMetadata,
    /// Pod spec of the runner. A job without one is reported on the job, not refused.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub spec: Option<RawPodSpec>,
}

/// The DaskCluster that a job makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobClusterSpec {
    /// Labels and annotations of the DaskCluster; they win over those of the job itself.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "ChildMetadata::is_empty")]
    pub metadata: ChildMetadata,
    /// Spec of the DaskCluster.
    pub spec: DaskClusterSpec,
}

/// What is known of a job: the five keys of dask-kubernetes, and conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaskJobStatus {
    /// `JobCreated`, `ClusterCreated`, `Running`, `Successful` or `Failed`.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub job_status: Option<JobState>,
    /// Name of the DaskCluster.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// Name of the runner pod.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub job_runner_pod_name: Option<String>,
    /// When the runner was seen running.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub start_time: Option<Timestamp>,
    /// When the runner was seen to have ended.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub end_time: Option<Timestamp>,
    /// The `metadata.generation` this status was computed from.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, what is waited for, and why.
    #[serde(default, deserialize_with = "lenient_list", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// `status.jobStatus`, in the order in which a job passes through them; clients switch on these five strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobState {
    /// Seen.
    JobCreated,
    /// Cluster and runner exist.
    ClusterCreated,
    /// The runner runs.
    Running,
    /// The runner has succeeded.
    Successful,
    /// The runner has failed.
    Failed,
}

impl JobState {
    /// The string on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobCreated => "JobCreated",
            Self::ClusterCreated => "ClusterCreated",
            Self::Running => "Running",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
        }
    }

    /// The runner has ended; nothing moves a job from here.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Successful | Self::Failed)
    }
}
