//! The children that plugins added, as observed. They are found by the label [`names::PLUGIN`], whatever their kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use serde_json::Value;

use super::contract::ChildType;
use crate::names;
use crate::observe::{Key, Kind, Owner};

/// How long a write that was sent is believed without a watch event, as in [`crate::observe::Cache`].
const EXPECTATION_TTL: SignedDuration = SignedDuration::from_secs(30);
/// A status that has more bytes is not kept.
const STATUS_BYTES_MAX: usize = 4 << 10;
/// Conditions by which objects of many kinds say that they are ready.
const READY: [&str; 4] = ["Ready", "Available", "Programmed", "Accepted"];

/// Which child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtraId {
    /// Its kind.
    pub type_: Arc<ChildType>,
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

impl ExtraId {
    /// From its parts.
    pub fn new(type_: &ChildType, namespace: &str, name: &str) -> Self {
        Self { type_: Arc::new(type_.clone()), namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ExtraId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.type_.kind, self.namespace, self.name)
    }
}

/// A child that a plugin added: what planning and the plugin ask about it, never the whole object.
#[derive(Clone, Debug)]
pub struct Extra {
    /// Which.
    pub id: ExtraId,
    /// Its uid: precondition of its deletion.
    pub uid: Box<str>,
    /// Its resource version: precondition of changes.
    pub resource_version: Box<str>,
    /// All owners.
    pub owners: Box<[Owner]>,
    /// The plugin that added it.
    pub plugin: Box<str>,
    /// Hash of what was wanted when it was written.
    pub hash: Option<Box<str>>,
    /// The fields that were written, without their values.
    pub fields: Box<str>,
    /// It has a deletion timestamp, or its deletion was sent.
    pub deleting: bool,
    /// Whether it says that it is ready.
    pub ready: Option<bool>,
    /// Its status, if that is small.
    pub status: Arc<Value>,
}

impl Extra {
    /// Projects an object. `None` if it lacks what the API server always sets, or the label.
    pub fn project(type_: &ChildType, object: &DynamicObject) -> Option<Self> {
        let meta = &object.metadata;
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key));
        let status = &object.data["status"];
        let small = status.to_string().len() <= STATUS_BYTES_MAX;
        Some(Self {
            id: ExtraId::new(type_, meta.namespace.as_deref()?, meta.name.as_deref()?),
            uid: meta.uid.as_deref()?.into(),
            resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            owners: Owner::all(meta.owner_references.as_ref()).into(),
            plugin: meta.labels.as_ref()?.get(names::PLUGIN)?.as_str().into(),
            hash: annotation(names::HASH).map(|hash| hash.as_str().into()),
            fields: annotation(names::FIELDS).map(String::as_str).unwrap_or_default().into(),
            deleting: meta.deletion_timestamp.is_some(),
            ready: ready(status),
            status: Arc::new(if small { status.clone() } else { Value::Null }),
        })
    }

    /// Whether the resource with `uid` owns it.
    pub fn owned_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| &*owner.uid == uid)
    }

    /// The resources of ours that own it.
    pub fn concerns(&self) -> impl Iterator<Item = Key> + '_ {
        self.owners.iter().filter_map(|owner| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == &*owner.kind)?;
            Some(Key::new(kind, &self.id.namespace, &owner.name))
        })
    }
}

fn ready(status: &Value) -> Option<bool> {
    let conditions = status["conditions"].as_array()?;
    let found = READY.iter().find_map(|kind| conditions.iter().find(|known| known["type"] == *kind))?;
    Some(found["status"] == "True")
}

/// All of them, by who they are and by who owns them.
#[derive(Debug, Default)]
pub struct Extras {
    known: BTreeMap<ExtraId, Arc<Extra>>,
    by_owner: BTreeMap<Box<str>, BTreeSet<ExtraId>>,
    sent: BTreeMap<ExtraId, Sent>,
}

/// A write that no watch has shown yet.
#[derive(Clone, Debug)]
struct Sent {
    until: Timestamp,
    /// Whose it was, to look at once more when the time is over.
    by: Key,
    /// What was written; `None` for a deletion.
    hash: Option<String>,
}

impl Extras {
    /// One of them.
    pub fn get(&self, id: &ExtraId) -> Option<&Arc<Extra>> {
        self.known.get(id)
    }

    /// Those that a uid owns, in order.
    pub fn owned(&self, uid: &str) -> impl Iterator<Item = &Arc<Extra>> {
        self.by_owner.get(uid).into_iter().flatten().filter_map(|id| self.known.get(id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether a write of this content was sent and has not been seen yet.
    pub fn on_its_way(&self, id: &ExtraId, hash: &str) -> bool {
        self.sent.get(id).is_some_and(|sent| sent.hash.as_deref() == Some(hash))
    }

    /// Whether its deletion was sent and has not been seen yet.
    pub fn leaving(&self, id: &ExtraId) -> bool {
        self.sent.get(id).is_some_and(|sent| sent.hash.is_none())
    }

    /// Takes one in; gives whom it concerns, before and now.
    pub fn apply(&mut self, extra: Extra) -> Vec<Key> {
        let mut keys: Vec<Key> =
            self.known.get(&extra.id).iter().flat_map(|known| known.concerns()).collect();
        keys.extend(extra.concerns());
        let same_object = self.known.get(&extra.id).is_none_or(|known| known.uid == extra.uid);
        // An event from before what was sent says nothing about it.
        let shown = self.sent.get(&extra.id).is_some_and(|sent| match &sent.hash {
            Some(hash) => extra.hash.as_deref() == Some(hash),
            None => extra.deleting || !same_object,
        });
        if shown {
            self.sent.remove(&extra.id);
        }
        self.unindex(&extra.id);
        for owner in &extra.owners {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(extra.id.clone());
        }
        self.known.insert(extra.id.clone(), Arc::new(extra));
        keys
    }

    /// Forgets one; gives whom it concerned.
    pub fn delete(&mut self, id: &ExtraId) -> Vec<Key> {
        self.unindex(id);
        self.sent.remove(id);
        self.known.remove(id).iter().flat_map(|known| known.concerns()).collect()
    }

    /// Those of a kind, in a namespace or in all, that a list did not contain.
    pub fn unlisted(
        &self,
        type_: &ChildType,
        namespace: Option<&str>,
        listed: &BTreeSet<ExtraId>,
    ) -> Vec<ExtraId> {
        let of_the_list = |id: &&ExtraId| {
            *id.type_ == *type_ && namespace.is_none_or(|only| only == &*id.namespace) && !listed.contains(id)
        };
        self.known.keys().filter(of_the_list).cloned().collect()
    }

    /// Records that a write is being sent: of this content, or a deletion.
    pub fn expect(&mut self, id: &ExtraId, by: &Key, hash: Option<String>, now: Timestamp) {
        self.sent.insert(id.clone(), Sent { until: now + EXPECTATION_TTL, by: by.clone(), hash });
    }

    /// Takes back what was expected of a write that failed.
    pub fn unexpect(&mut self, id: &ExtraId) {
        self.sent.remove(id);
    }

    /// Takes back expectations that ran out; returns the keys concerned.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Key> {
        let over: Vec<ExtraId> =
            self.sent.iter().filter(|(_, sent)| sent.until <= now).map(|(id, _)| id.clone()).collect();
        over.iter().filter_map(|id| self.sent.remove(id)).map(|sent| sent.by).collect()
    }

    /// When the next expectation runs out.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.sent.values().map(|sent| sent.until).min()
    }

    fn unindex(&mut self, id: &ExtraId) {
        let Some(known) = self.known.get(id) else { return };
        for owner in &known.owners {
            if let Some(ids) = self.by_owner.get_mut(&owner.uid) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
        }
    }
}
