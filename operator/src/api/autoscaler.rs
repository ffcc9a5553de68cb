//! DaskAutoscaler: lets the scheduler choose how many workers a cluster's groups have.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{Condition, lenient, lenient_list};

/// Bounds within which a cluster is scaled by its scheduler's wishes.
///
/// The autoscaler writes the number of workers of the groups, as `kubectl scale` does; whoever writes last wins until the
/// autoscaler looks again. Deleting it leaves the numbers as they are.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kubernetes.dask.org",
    version = "v1",
    kind = "DaskAutoscaler",
    plural = "daskautoscalers",
    namespaced,
    derive = "PartialEq",
    status = "DaskAutoscalerStatus",
    doc = "Scales the worker groups of a DaskCluster by its scheduler's wishes.",
    category = "dask",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Minimum", type_ = "integer", json_path = ".spec.minimum"),
    printcolumn(name = "Maximum", type_ = "integer", json_path = ".spec.maximum"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desired", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct DaskAutoscalerSpec {
    /// Name of the DaskCluster, in the same namespace, whose scheduler is asked.
    pub cluster: String,
    /// Fewest workers, over all groups that are scaled.
    pub minimum: i64,
    /// Most workers, over all groups that are scaled.
    pub maximum: i64,
    /// Name of the DaskWorkerGroup that is scaled; the cluster's default group (`{cluster}-default`) if unset. Ready workers of
    /// the cluster's other groups then count towards what the scheduler wishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_group: Option<String>,
    /// DaskWorkerGroups that are scaled together, instead of one `workerGroup`: each gets its minimum, then the first ones are
    /// filled first. Ready workers of the cluster's other groups count towards what the scheduler wishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<ScaledGroup>>,
    /// Seconds between two questions to the scheduler; 5 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polling_interval_seconds: Option<i64>,
    /// How fast the numbers may move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<ScalingBehavior>,
}

/// One of several groups that an autoscaler scales.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScaledGroup {
    /// Name of the DaskWorkerGroup.
    pub name: String,
    /// Fewest workers of this group; 0 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// Most workers of this group; bounded only by the autoscaler's own maximum if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
}

/// How fast the numbers may move in each direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingBehavior {
    /// Upwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScaleUp>,
    /// Downwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScaleDown>,
}

/// How fast the numbers may rise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleUp {
    /// Seconds for which the scheduler must have wished for as many; 0 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<i64>,
    /// Seconds after any change in which the numbers do not rise; 15 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_seconds: Option<i64>,
}

/// How fast the numbers may fall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// Seconds for which the scheduler must not have wished for more; 0 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stabilization_window_seconds: Option<i64>,
    /// Seconds after any change in which the numbers do not fall; 15 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_seconds: Option<i64>,
    /// Percent of a group's ready workers that may go at once, though at least one; 25 if unset. Workers that are not ready
    /// hold nothing and do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i64>,
}

/// What is known of an autoscaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaskAutoscalerStatus {
    /// Workers last asked for, after the bounds, over all groups that are scaled.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub desired: Option<i64>,
    /// The `metadata.generation` this status was computed from.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, what is waited for, and why.
    #[serde(default, deserialize_with = "lenient_list", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
