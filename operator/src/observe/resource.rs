//! One of our custom resources as observed: metadata typed, the rest raw and shared.

use std::sync::Arc;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

use super::child::Owner;
use super::key::{Key, Kind};
use crate::metadata::Map;

/// A custom resource of ours.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Which.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// `metadata.resourceVersion`, opaque but for [`Resource::revision`].
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Labels.
    pub labels: Map,
    /// Annotations.
    pub annotations: Map,
    /// Owners.
    pub owners: Vec<Owner>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// Creation time.
    pub created: Timestamp,
    /// `spec`, raw; `Null` if absent.
    pub spec: Arc<Value>,
    /// `status`, raw; `Null` if absent.
    pub status: Arc<Value>,
}

impl Resource {
    /// Projects an object. `None` if it lacks what the API server always sets.
    pub fn project(kind: Kind, mut object: DynamicObject) -> Option<Self> {
        let meta = object.metadata;
        let owners = Owner::all(meta.owner_references.as_ref());
        Some(Self {
            key: Key { kind, namespace: meta.namespace?, name: meta.name? },
            uid: meta.uid?,
            resource_version: meta.resource_version.unwrap_or_default(),
            generation: meta.generation.unwrap_or(0),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            owners,
            finalizers: meta.finalizers.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            created: meta.creation_timestamp.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            spec: Arc::new(object.data.get_mut("spec").map(Value::take).unwrap_or_default()),
            status: Arc::new(object.data.get_mut("status").map(Value::take).unwrap_or_default()),
        })
    }

    /// The resource version as a number, where it is one. Kubernetes guarantees comparable integers from 1.35 on, and every
    /// earlier server behaves so.
    pub fn revision(&self) -> u64 {
        self.resource_version.parse().unwrap_or(0)
    }

    /// Whether the resource with `uid` owns it.
    pub fn owned_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| &*owner.uid == uid)
    }

    /// The managing controller among its owners.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// The cluster a worker group or autoscaler names.
    pub fn follows(&self) -> Option<&str> {
        match self.key.kind {
            Kind::WorkerGroup | Kind::Autoscaler => self.spec["cluster"].as_str(),
            Kind::Job | Kind::Cluster => None,
        }
    }

    /// Name part of its key.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Namespace part of its key.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// The owner reference that children of this resource carry.
    pub fn owner_reference(&self) -> Value {
        serde_json::json!({
            "apiVersion": self.key.kind.api_version(), "kind": self.key.kind.name(),
            "name": self.key.name, "uid": self.uid, "controller": true, "blockOwnerDeletion": true,
        })
    }
}
