//! How what was made from an earlier template is replaced, in the words of Kubernetes' own kinds.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::shared::or_default;

/// How workers made from an earlier template are replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// `OnDelete` (the default): they stay until somebody deletes them. `RollingUpdate`: they are retired a few at a time, each
    /// only after the scheduler has moved what it holds. `Recreate`: they are deleted all at once, with what they hold, before
    /// the first new one is made.
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub type_: UpdateType,
    /// Bounds of a `RollingUpdate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

/// Kinds of an [`UpdateStrategy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdateType {
    /// Whoever wants a new worker deletes the old one.
    #[default]
    OnDelete,
    /// A few at a time, without losing what they hold.
    RollingUpdate,
    /// All at once.
    Recreate,
}

/// How many workers may be missing or too many meanwhile, as numbers or in percent of `replicas`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollingUpdate {
    /// Workers that may be missing; percent are rounded down; 25% if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub max_unavailable: Option<IntOrString>,
    /// Workers that may be too many; percent are rounded up; 25% if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    pub max_surge: Option<IntOrString>,
}

/// How a scheduler made from an earlier template is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulerUpdateStrategy {
    /// `OnDelete` (the default): it stays until somebody deletes its Deployment or Service, because the graph of tasks goes
    /// with it. `Recreate`: they are deleted and made anew as soon as their part of the spec changes.
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub type_: SchedulerUpdateType,
}

/// Kinds of a [`SchedulerUpdateStrategy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchedulerUpdateType {
    /// Whoever wants a new scheduler deletes the old one.
    #[default]
    OnDelete,
    /// At once, with the loss of all that the scheduler knows.
    Recreate,
}

fn int_or_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true})
}
