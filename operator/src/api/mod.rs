//! The custom resources of `kubernetes.dask.org/v1` as Rust types, and the CustomResourceDefinitions generated from them.
//!
//! Field names, types, defaults and printer columns are those of dask-kubernetes 2026.3.0, so that every manifest and client
//! written for it goes on working. What is added is optional. Three rules hold for all types here:
//!
//! - **Null means absent**, at every depth: clients send `env: null`, `replicas: null`, `creationTimestamp: null`.
//! - **Pod and Service specs are raw JSON** ([`RawPodSpec`], [`RawServiceSpec`]): a field that this build has never heard of
//!   arrives at the child unchanged.
//! - **A status parses whatever is in it**: strings that are not known read as absent, because status is recomputed from state.
//!
//! | module | what it is |
//! |---|---|
//! | [`cluster`], [`worker_group`], [`job`], [`autoscaler`] | one kind each |
//! | [`update`] | how what was made from an earlier template is replaced |
//! | [`shared`] | what several kinds hold: raw specs, metadata for children, conditions, times |
//! | [`schema`] | Kubernetes' pod and Service schemas as they stand in our CRDs |
//! | [`crds`](mod@crds) | the four CustomResourceDefinitions |

// Each `printcolumn(…)` of kube's derive has a type; clippy takes them for one attribute said twice.
#![allow(clippy::duplicated_attributes)]

pub mod autoscaler;
pub mod cluster;
pub mod crds;
pub mod job;
pub mod schema;
pub mod shared;
pub mod update;
pub mod worker_group;

pub use autoscaler::{
    DaskAutoscaler, DaskAutoscalerSpec, DaskAutoscalerStatus, ScaleDown, ScaleUp, ScaledGroup,
    ScalingBehavior,
};
pub use cluster::{ClusterPhase, DaskCluster, DaskClusterSpec, DaskClusterStatus, SchedulerSpec, WorkerSpec};
pub use crds::crds;
pub use job::{DaskJob, DaskJobSpec, DaskJobStatus, JobClusterSpec, JobState, RetryCluster, RunnerSpec};
pub use shared::{ChildMetadata, Condition, ConditionStatus, RawPodSpec, RawServiceSpec};
pub use update::{RollingUpdate, SchedulerUpdateStrategy, SchedulerUpdateType, UpdateStrategy, UpdateType};
pub use worker_group::{DaskWorkerGroup, DaskWorkerGroupSpec, DaskWorkerGroupStatus};

/// API group of the four kinds.
pub const GROUP: &str = "kubernetes.dask.org";
/// The one version of the four kinds.
pub const VERSION: &str = "v1";
/// `apiVersion` of the four kinds.
pub const API_VERSION: &str = "kubernetes.dask.org/v1";
