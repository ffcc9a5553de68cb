//! The contract between the operator and a plugin: `sync(View) -> Change`, the same bytes for every implementor.
//!
//! Its JSON schema is `schemas/plugin-v1.json`, which `cargo xtask codegen plugin` writes. Fields may be added to what a plugin is
//! shown; what it answers has no other fields than these, so that a misspelt one is told and not ignored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::guard::is_name;
use crate::observe::Kind;

/// Version of the contract. Another one has another name, and both are served for a while.
pub const PROTOCOL: &str = "v1";

/// The JSON schema of everything a plugin's author and an administrator write or read.
pub fn schema() -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<View>();
    generator.subschema_for::<Change>();
    generator.subschema_for::<super::config::Config>();
    let mut definitions = serde_json::Map::new();
    for (name, schema) in generator.take_definitions(true) {
        definitions.insert(name, schema);
    }
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Plugins of the Dask operator, {PROTOCOL}"),
        "description": "A webhook is sent a View and answers a Change; a configuration is a Config.",
        "$defs": definitions,
    })
}

/// What a plugin is shown: one parent and everything that is to be known for its children. Nothing in it changes while it is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Version of the contract: `v1`.
    pub protocol: String,
    /// The plugin's name, as the operator knows it.
    pub plugin: String,
    /// The DaskCluster, DaskWorkerGroup or DaskJob, without its status and without what only tools and the operator note on it.
    pub parent: Value,
    /// The children as the operator would make them.
    pub children: Vec<Built>,
    /// What is there of the children, the operator's and the plugin's own.
    pub observed: Vec<Observed>,
    /// The objects in the parent's namespace that the plugin asked to be shown.
    pub related: Vec<Value>,
}

/// A child as the operator would make it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// What it is for; edits name it by this.
    pub role: Role,
    /// The whole object. The `worker` of a group stands for all of them: its name ends with `xxxxxxxxxx`, which each worker's own
    /// name takes the place of.
    pub object: Value,
}

/// What a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Of a DaskCluster: the Deployment of its scheduler.
    Scheduler,
    /// Of a DaskCluster: the Service of its scheduler.
    Service,
    /// Of a DaskCluster: its default DaskWorkerGroup.
    WorkerGroup,
    /// Of a DaskWorkerGroup: each of its workers, a Pod or a Deployment.
    Worker,
    /// Of a DaskJob: its DaskCluster.
    Cluster,
    /// Of a DaskJob: the Pod that runs it.
    Runner,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Scheduler => "scheduler",
            Self::Service => "service",
            Self::WorkerGroup => "workerGroup",
            Self::Worker => "worker",
            Self::Cluster => "cluster",
            Self::Runner => "runner",
        })
    }
}

/// A child that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is for; there is none where a plugin added it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether it says of itself that it is ready; nothing where its kind does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// It is being deleted.
    #[serde(default)]
    pub deleting: bool,
    /// The status of a child that the plugin added, where that has at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

/// What a plugin answers: all that it wants for this parent. A child that it added before and does not add any more is deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Change {
    /// In this order.
    #[serde(deserialize_with = "none_if_null")]
    pub edits: Vec<Edit>,
    /// What the parent's status is to say beside the operator's own conditions.
    #[serde(deserialize_with = "none_if_null")]
    pub conditions: Vec<Said>,
}

/// A list; `null`, which is what Go makes of a slice that nobody has put anything into, is an empty one.
fn none_if_null<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// One edit of the children as they should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "camelCase", deny_unknown_fields)]
pub enum Edit {
    /// A JSON merge patch (RFC 7386) of a child that the operator makes.
    Merge {
        /// Which.
        child: Role,
        /// The patch.
        patch: Value,
    },
    /// A JSON patch (RFC 6902) of a child that the operator makes.
    Json {
        /// Which.
        child: Role,
        /// Its operations.
        patch: Vec<Value>,
    },
    /// A child beside those that the operator makes, of a kind that the plugin has declared. The operator makes it, changes it when
    /// it changes here, and deletes it with its parent.
    Add {
        /// The whole object; namespace, owner and the label of the cluster are filled in.
        object: Value,
    },
    /// Nothing is to be made or changed for this parent. What is there stays.
    Veto {
        /// CamelCase.
        reason: String,
        /// For people.
        message: String,
    },
}

/// A condition of the parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Said {
    /// With the plugin's own prefix, such as `mesh.example.org/Routed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "status")]
    pub status: Status,
    /// CamelCase.
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// The status of a condition is a text in Kubernetes, which many take for a truth value at first.
fn status<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Status, D::Error> {
    let value = Value::deserialize(from)?;
    Status::deserialize(&value).map_err(|_| {
        serde::de::Error::custom(format!(
            "the status of a condition is \"True\", \"False\" or \"Unknown\", and not {value}"
        ))
    })
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// What a plugin says of itself before it is asked anything. The rights that the operator needs for it follow from this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declaration {
    /// Its name, a DNS label: conditions, metrics and the label of what it adds carry it.
    pub name: String,
    /// Whose children it is about.
    #[serde(default = "clusters")]
    pub parents: Vec<Parent>,
    /// What becomes of a parent while the plugin cannot be asked or what it answers cannot be used.
    #[serde(default)]
    pub on_error: OnError,
    /// The kinds of the children that it adds.
    #[serde(default)]
    pub kinds: Vec<ChildType>,
    /// Objects that it wants to be shown.
    #[serde(default)]
    pub related: Vec<Related>,
}

impl Declaration {
    /// A plugin for DaskClusters that adds nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            parents: clusters(),
            on_error: OnError::Fail,
            kinds: Vec::new(),
            related: Vec::new(),
        }
    }

    /// Instead of DaskClusters.
    #[must_use]
    pub fn of(mut self, parents: impl Into<Vec<Parent>>) -> Self {
        self.parents = parents.into();
        self
    }

    /// Also adds children of this kind.
    #[must_use]
    pub fn adds(mut self, api_version: &str, kind: &str, plural: &str) -> Self {
        self.kinds.push(ChildType::new(api_version, kind, plural));
        self
    }

    /// Whether it is about children of this kind of parent.
    pub fn concerns(&self, kind: Kind) -> bool {
        self.parents.iter().any(|parent| parent.kind() == kind)
    }
}

fn clusters() -> Vec<Parent> {
    vec![Parent::DaskCluster]
}

/// A kind that has children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Parent {
    /// Roles `scheduler`, `service` and `workerGroup`.
    DaskCluster,
    /// Role `worker`.
    DaskWorkerGroup,
    /// Roles `cluster` and `runner`.
    DaskJob,
}

impl Parent {
    /// The operator's word for it.
    pub fn kind(self) -> Kind {
        match self {
            Self::DaskCluster => Kind::Cluster,
            Self::DaskWorkerGroup => Kind::WorkerGroup,
            Self::DaskJob => Kind::Job,
        }
    }
}

/// What becomes of a parent whose plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnError {
    /// Nothing is made or changed until the plugin answers. What is there stays, and goes on being scaled down and watched.
    #[default]
    Fail,
    /// The operator goes on with the plugin's last answer, or without it, and says so.
    Skip,
}

/// A kind of object, as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a kind: an object of apiVersion, kind and plural"
)]
pub struct ChildType {
    /// Such as `policy/v1`, or `v1`.
    pub api_version: String,
    /// Such as `PodDisruptionBudget`.
    pub kind: String,
    /// Such as `poddisruptionbudgets`.
    pub plural: String,
}

impl ChildType {
    /// From its parts.
    pub fn new(api_version: &str, kind: &str, plural: &str) -> Self {
        Self { api_version: api_version.into(), kind: kind.into(), plural: plural.into() }
    }

    /// Whether there can be such a kind: its names become part of requests.
    pub fn can_be(&self) -> bool {
        let version = self.api_version.rsplit('/').next().unwrap_or_default();
        let plain = |text: &str| text.split('/').all(is_name);
        self.api_version.matches('/').count() <= 1
            && !version.is_empty()
            && plain(&self.api_version)
            && !self.kind.is_empty()
            && is_name(&self.plural)
    }

    /// The API group; empty for the core.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// As the store wants it.
    pub fn resource(&self) -> kube::core::ApiResource {
        let version = self.api_version.rsplit_once('/').map_or(&*self.api_version, |(_, version)| version);
        kube::core::ApiResource {
            group: self.group().into(),
            version: version.into(),
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// Objects that a plugin is shown: those in the parent's namespace. At most 64 for one parent, each of at most 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "what is to be shown: an object of apiVersion, kind, plural and, if it likes, name and labels"
)]
pub struct Related {
    /// Such as `v1`.
    pub api_version: String,
    /// Such as `ConfigMap`.
    pub kind: String,
    /// Such as `configmaps`.
    pub plural: String,
    /// Only the one of this name.
    #[serde(default)]
    pub name: Option<String>,
    /// Only those that this label selector, in its string form, selects.
    #[serde(default)]
    pub labels: Option<String>,
}

impl Related {
    /// Its kind.
    pub fn type_(&self) -> ChildType {
        ChildType::new(&self.api_version, &self.kind, &self.plural)
    }
}
