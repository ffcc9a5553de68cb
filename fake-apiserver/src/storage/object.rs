//! One stored object: its bytes once, shared by map, log and watchers, and the part of its metadata that is looked up.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Where an object lives within its resource; ordered as lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace; empty for cluster scope.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// The metadata that selectors, indices and controllers ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Unique for all time.
    pub uid: String,
    /// Revision of the last write.
    pub resource_version: u64,
    /// Bumped by changes of the desired state.
    pub generation: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Owners.
    pub owners: Vec<OwnerRef>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Set once deletion has begun.
    pub deleting: bool,
}

/// A reference to an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerRef {
    /// `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// Owner's name.
    pub name: String,
    /// Owner's uid.
    pub uid: String,
    /// The managing controller.
    pub controller: bool,
    /// Foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

/// One version of an object, immutable.
#[derive(Debug)]
pub struct Stored {
    /// Where it lives.
    pub key: Key,
    /// What is looked up.
    pub meta: Meta,
    /// The whole object as JSON, with `apiVersion` and `kind`, in the storage version.
    pub bytes: Bytes,
}

impl Stored {
    /// The object parsed; the bytes were written by this crate, so they parse.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}
