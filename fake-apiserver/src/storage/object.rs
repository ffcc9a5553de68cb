//! One stored object: its bytes once, shared by map, log and watchers, and the part of it that is looked up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Fields, SelectableField};

/// A collection of objects: API group and plural name, whatever the version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Plural name.
    pub resource: Cow<'static, str>,
}

impl GroupResource {
    /// For constants: `const PODS: GroupResource = GroupResource::new("", "pods")`.
    pub const fn new(group: &'static str, resource: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), resource: Cow::Borrowed(resource) }
    }

    /// From parts known at run time.
    pub fn from_parts(group: &str, resource: &str) -> Self {
        Self { group: Cow::Owned(group.into()), resource: Cow::Owned(resource.into()) }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            write!(f, "{}", self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

/// Where an object lives within its resource; ordered as lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace; empty for cluster scope.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key from its parts; an empty namespace means cluster scope.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// The metadata that selectors, indices and controllers ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Unique for all time.
    pub uid: String,
    /// Revision of the last write.
    pub resource_version: u64,
    /// Bumped by changes of the desired state; 0 for kinds that have none.
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
    /// Values of the kind's own selectable fields.
    pub fields: Fields,
    /// Which edition of a custom resource's schema it was written under; 0 for built-in kinds.
    pub edition: u64,
    /// The whole object as JSON, with `apiVersion` and `kind`.
    pub bytes: Bytes,
}

impl Stored {
    /// The object parsed; the bytes were written by this crate, so they parse.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The owner that manages the object.
    pub fn controller(&self) -> Option<&OwnerRef> {
        self.meta.owners.iter().find(|owner| owner.controller)
    }

    /// An object as it is kept: serialised once, its metadata read once.
    pub fn from_value(value: &Value, selectable: &Arc<[SelectableField]>, edition: u64) -> Self {
        let metadata = &value["metadata"];
        Self {
            key: Key::new(text(&metadata["namespace"]), text(&metadata["name"])),
            meta: Meta::read(metadata),
            fields: Fields::read(value, selectable),
            edition,
            // Without the room to grow that it was written into, which would stay for as long as the object.
            bytes: serde_json::to_vec(value).unwrap_or_default().into_boxed_slice().into(),
        }
    }
}

impl Meta {
    /// Reads `metadata`; what is missing or of another type counts as absent.
    pub fn read(metadata: &Value) -> Self {
        Self {
            uid: text(&metadata["uid"]).into(),
            resource_version: text(&metadata["resourceVersion"]).parse().unwrap_or_default(),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            labels: metadata["labels"].as_object().map(string_map).unwrap_or_default(),
            owners: array(&metadata["ownerReferences"]).iter().map(OwnerRef::read).collect(),
            finalizers: array(&metadata["finalizers"])
                .iter()
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
            deleting: metadata["deletionTimestamp"].is_string(),
        }
    }
}

impl OwnerRef {
    fn read(value: &Value) -> Self {
        Self {
            api_version: text(&value["apiVersion"]).into(),
            kind: text(&value["kind"]).into(),
            name: text(&value["name"]).into(),
            uid: text(&value["uid"]).into(),
            controller: value["controller"].as_bool().unwrap_or_default(),
            block_owner_deletion: value["blockOwnerDeletion"].as_bool().unwrap_or_default(),
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The labels of an object, or of the template of one.
pub(crate) fn labels(object: &Value) -> BTreeMap<String, String> {
    object["metadata"]["labels"].as_object().map(string_map).unwrap_or_default()
}

fn string_map(map: &Map<String, Value>) -> BTreeMap<String, String> {
    map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}
