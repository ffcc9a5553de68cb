//! Objects, their indices, the revision counter and the bounded change log.

mod collection;
mod fields;
mod label_parser;
mod log;
mod object;
mod selection;
mod selector;
mod watch;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use collection::Collection;
pub use fields::{Fields, SelectableField};
pub use log::Change;
pub(crate) use object::labels;
pub use object::{GroupResource, Key, Meta, OwnerRef, Stored};
pub use selection::Selection;
pub use selector::{FieldSelector, LabelSelector};
pub use watch::{Watch, WatchEvent, WatchEventType};

/// All objects of all resources.
#[derive(Debug)]
pub struct Storage {
    revision: u64,
    history: usize,
    ids: BTreeMap<GroupResource, usize>,
    collections: Vec<(GroupResource, Collection)>,
    uids: BTreeSet<ByUid>,
    owned: BTreeMap<String, BTreeSet<(usize, Key)>>,
    touched: BTreeSet<usize>,
}

impl Storage {
    /// An empty storage that keeps `history` changes for each resource.
    pub fn new(history: usize) -> Self {
        Self {
            revision: 1,
            history,
            ids: BTreeMap::new(),
            collections: Vec::new(),
            uids: BTreeSet::new(),
            owned: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The revision the next write will have.
    pub fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    /// The objects of a resource; `None` while none was ever written.
    pub fn collection(&self, resource: &GroupResource) -> Option<&Collection> {
        self.ids.get(resource).map(|id| &self.collections[*id].1)
    }

    /// One object.
    pub fn get(&self, resource: &GroupResource, key: &Key) -> Option<&Arc<Stored>> {
        self.collection(resource)?.get(key)
    }

    /// The object with this uid, if it exists.
    pub fn by_uid(&self, uid: &str) -> Option<(&GroupResource, &Arc<Stored>)> {
        let found = self.uids.get(uid)?;
        Some((&self.collections[found.collection].0, &found.object))
    }

    /// The objects that name `uid` as an owner, in order of resource creation and key.
    pub fn owned_by(&self, uid: &str) -> impl Iterator<Item = (&GroupResource, &Arc<Stored>)> {
        self.owned.get(uid).into_iter().flatten().filter_map(|(id, key)| {
            let (resource, collection) = &self.collections[*id];
            Some((resource, collection.get(key)?))
        })
    }

    /// Every resource that has ever been written, with its objects.
    pub fn collections(&self) -> impl Iterator<Item = (&GroupResource, &Collection)> {
        self.ids.iter().map(|(resource, id)| (resource, &self.collections[*id].1))
    }

    /// Writes an object whose `resourceVersion` is [`Storage::next_revision`].
    pub fn put(&mut self, resource: &GroupResource, object: Stored) -> Arc<Stored> {
        self.revision += 1;
        let id = self.id(resource);
        let object = Arc::new(object);
        let before = self.collections[id].1.insert(Arc::clone(&object), self.revision);
        self.uids.replace(ByUid { collection: id, object: Arc::clone(&object) });
        match &before {
            None => self.index_owners(id, &[], &object),
            Some(before) if before.meta.owners != object.meta.owners => {
                self.index_owners(id, &before.meta.owners, &object);
            }
            Some(_) => {}
        }
        self.touched.insert(id);
        object
    }

    /// Removes an object; `last` is its last state, carrying [`Storage::next_revision`].
    pub fn remove(&mut self, resource: &GroupResource, last: Stored) -> Arc<Stored> {
        self.revision += 1;
        let id = self.id(resource);
        let last = Arc::new(last);
        if let Some(before) = self.collections[id].1.remove(&last, self.revision) {
            self.uids.remove(before.meta.uid.as_str());
            for owner in &before.meta.owners {
                self.forget_owner(id, &owner.uid, &before.key);
            }
        }
        self.touched.insert(id);
        last
    }

    /// Drops history up to `revision` for all resources, as etcd's compaction does.
    pub fn compact(&mut self, revision: u64) {
        for (_, collection) in &mut self.collections {
            collection.compact(revision);
        }
    }

    /// The resources written since the last call.
    pub fn take_touched(&mut self) -> Vec<GroupResource> {
        std::mem::take(&mut self.touched).into_iter().map(|id| self.collections[id].0.clone()).collect()
    }

    fn id(&mut self, resource: &GroupResource) -> usize {
        if let Some(id) = self.ids.get(resource) {
            return *id;
        }
        let id = self.collections.len();
        self.collections.push((resource.clone(), Collection::new(self.history)));
        self.ids.insert(resource.clone(), id);
        id
    }

    fn index_owners(&mut self, id: usize, before: &[OwnerRef], object: &Arc<Stored>) {
        for owner in before {
            self.forget_owner(id, &owner.uid, &object.key);
        }
        for owner in &object.meta.owners {
            self.owned.entry(owner.uid.clone()).or_default().insert((id, object.key.clone()));
        }
    }

    fn forget_owner(&mut self, id: usize, uid: &str, key: &Key) {
        if let Some(keys) = self.owned.get_mut(uid) {
            keys.remove(&(id, key.clone()));
            if keys.is_empty() {
                self.owned.remove(uid);
            }
        }
    }
}

/// An object as the index of uids holds it: itself, since a hundred thousand copies of keys and uids would be felt.
#[derive(Debug)]
struct ByUid {
    collection: usize,
    object: Arc<Stored>,
}

impl Borrow<str> for ByUid {
    fn borrow(&self) -> &str {
        &self.object.meta.uid
    }
}

impl Ord for ByUid {
    fn cmp(&self, other: &Self) -> Ordering {
        self.object.meta.uid.cmp(&other.object.meta.uid)
    }
}

impl PartialOrd for ByUid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByUid {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByUid {}
