//! DaskAutoscaler: lets the scheduler choose how many workers the default group has.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{Condition, lenient, lenient_list};

/// Bounds within which a cluster is scaled by its scheduler's wishes.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kubernetes.dask.org",
    version = "v1",
    kind = "DaskAutoscaler",
    plural = "daskautoscalers",
    namespaced,
    derive = "PartialEq",
    status = "DaskAutoscalerStatus",
    doc = "Scales the default worker group of a DaskCluster by its scheduler's wishes.",
    category = "dask",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Minimum", type_ = "integer", json_path = ".spec.minimum"),
    printcolumn(name = "Maximum", type_ = "integer", json_path = ".spec.maximum"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desired", priority = 1)
)]
pub struct DaskAutoscalerSpec {
    /// Name of the DaskCluster, in the same namespace, whose default group is scaled.
    pub cluster: String,
    /// Fewest workers.
    pub minimum: i64,
    /// Most workers.
    pub maximum: i64,
}

/// What is known of an autoscaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaskAutoscalerStatus {
    /// Workers last asked for, after the bounds.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub desired: Option<i64>,
    /// The `metadata.generation` this status was computed from.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, what is waited for, and why.
    #[serde(default, deserialize_with = "lenient_list", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
