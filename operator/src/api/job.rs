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
    printcolumn(name = "Runner", type_ = "string", json_path = ".status.jobRunnerPodName", priority = 1),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.failed", priority = 1),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct DaskJobSpec {
    /// The pod that runs the job.
    pub job: RunnerSpec,
    /// The cluster it uses.
    pub cluster: JobClusterSpec,
    /// How often a runner that failed is run again before the job is `Failed`. Unset, the first runner that fails ends the job,
    /// and one that restarts in place (`restartPolicy: OnFailure`) does so without end. Set, each restart in place counts too.
    /// Between two runs there is a pause of 10 s, 20 s, 40 s … up to 6 min. Pods of runs that failed stay until the job goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_limit: Option<i64>,
    /// Seconds after which a job that has not ended is `Failed`, counted from its creation or, if it was suspended, from its
    /// last resumption, over all runs. Its cluster and its runner are then deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Seconds after its end at which the job is deleted, with all that belongs to it. Unset, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
    /// While true, the job has no pods: none are made, and its cluster and a runner that has not ended are deleted. Set back to
    /// false, they are made anew from the spec as it then is. A run that was ended so does not count as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Which cluster the next run gets after one that failed: `Fresh` (a new one, the default) or `Same`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_cluster: Option<RetryCluster>,
}

/// Which cluster a job's next run gets after one that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetryCluster {
    /// A new one: nothing of the failed run is left in it.
    #[default]
    Fresh,
    /// The one that is there: nothing has to start again.
    Same,
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

/// What is known of a job: the five keys of dask-kubernetes, conditions, and a count of runs that failed.
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
    /// When the job was seen to have ended.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub end_time: Option<Timestamp>,
    /// How many runs have failed.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,
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
