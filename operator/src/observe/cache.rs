//! The cache: everything the operator knows of the world, indexed by owner and by group. Observing reads only this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::child::{Child, ChildId, Component};
use super::key::{Key, Kind};
use super::resource::Resource;

/// How long a creation or deletion that was sent is believed without a watch event.
///
/// Watches deliver within milliseconds; a lost response that never took effect is looked at again after this time.
const EXPECTATION_TTL: SignedDuration = SignedDuration::from_secs(30);

/// Observed state.
///
/// Created children that no watch has shown yet are *expected*: they count as existing until an event about them arrives or
/// the expectation runs out, so that a plan made on a cache that lags does not repeat what was just sent.
#[derive(Debug, Default)]
pub struct Cache {
    resources: BTreeMap<Key, Arc<Resource>>,
    children: BTreeMap<ChildId, Arc<Child>>,
    by_owner: BTreeMap<Box<str>, BTreeSet<ChildId>>,
    by_group: BTreeMap<(Arc<str>, Arc<str>), BTreeSet<ChildId>>,
    by_cluster: BTreeMap<(Arc<str>, Arc<str>), BTreeSet<ChildId>>,
    groups_of: BTreeMap<(String, String), BTreeSet<Key>>,
    expected: BTreeMap<ChildId, Expectation>,
    expected_resources: BTreeMap<Key, Timestamp>,
    /// Resources whose deletion was sent: the uid, and until when this is believed without a watch event.
    leaving: BTreeMap<Key, (String, Timestamp)>,
}

#[derive(Debug)]
struct Expectation {
    until: Timestamp,
    /// Uid whose deletion was sent; `None` where a creation was sent.
    deleted: Option<Box<str>>,
}

impl Cache {
    /// A resource.
    pub fn resource(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.resources.get(key)
    }

    /// All resources of a kind.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// All children.
    pub fn children(&self) -> impl Iterator<Item = &Arc<Child>> {
        self.children.values()
    }

    /// A child by id.
    pub fn child(&self, id: &ChildId) -> Option<&Arc<Child>> {
        self.children.get(id)
    }

    /// The children owned by a uid, in order of kind and name.
    pub fn owned(&self, uid: &str) -> impl Iterator<Item = &Arc<Child>> {
        self.by_owner.get(uid).into_iter().flatten().filter_map(|id| self.children.get(id))
    }

    /// The children labelled with a worker group.
    pub fn of_group(&self, namespace: &str, group: &str) -> impl Iterator<Item = &Arc<Child>> {
        self.by_group
            .get(&(namespace.into(), group.into()))
            .into_iter()
            .flatten()
            .filter_map(|id| self.children.get(id))
    }

    /// The children labelled with a cluster and no group: scheduler and job runner.
    pub fn of_cluster(&self, namespace: &str, cluster: &str) -> impl Iterator<Item = &Arc<Child>> {
        self.by_cluster
            .get(&(namespace.into(), cluster.into()))
            .into_iter()
            .flatten()
            .filter_map(|id| self.children.get(id))
    }

    /// The worker groups and autoscalers whose `spec.cluster` names a cluster.
    pub fn followers(&self, namespace: &str, cluster: &str) -> impl Iterator<Item = &Key> {
        self.groups_of.get(&(namespace.to_owned(), cluster.to_owned())).into_iter().flatten()
    }

    /// Takes in a resource of ours. An older version than the known one of the same object is ignored.
    pub fn apply_resource(&mut self, mut resource: Resource) {
        let key = resource.key.clone();
        if let Some((uid, _)) = self.leaving.get(&key) {
            // Its deletion is on the way: until a watch shows it, it counts as going.
            if resource.deleting || *uid != resource.uid {
                self.leaving.remove(&key);
            } else {
                resource.deleting = true;
            }
        }
        self.expected_resources.remove(&key);
        if let Some(known) = self.resources.get(&key) {
            if known.uid == resource.uid && known.revision() > resource.revision() {
                return;
            }
            self.unfollow(&known.clone());
        }
        if let Some(cluster) = resource.follows() {
            self.groups_of.entry((key.namespace.clone(), cluster.into())).or_default().insert(key.clone());
        }
        self.resources.insert(key, Arc::new(resource));
    }

    /// Takes in the answer to a write of ours, which is newer than what watches have shown; never resurrects an object.
    pub fn apply_written(&mut self, resource: Resource) {
        if self.resources.get(&resource.key).is_some_and(|known| known.uid == resource.uid) {
            self.apply_resource(resource);
        }
    }

    /// Forgets a resource.
    pub fn delete_resource(&mut self, key: &Key) {
        self.leaving.remove(key);
        self.expected_resources.remove(key);
        if let Some(known) = self.resources.remove(key) {
            self.unfollow(&known);
        }
    }

    /// Takes in a child.
    pub fn apply_child(&mut self, mut child: Child) {
        if let Some(expectation) = self.expected.get(&child.id) {
            match &expectation.deleted {
                // Its deletion is on the way: until a watch shows it, it counts as going.
                Some(uid) if *uid == child.uid && !child.deleting => child.deleting = true,
                _ => {
                    self.expected.remove(&child.id);
                }
            }
        }
        self.unindex(&child.id.clone());
        if let Some(sibling) = child.controller().and_then(|owner| self.owned(&owner.uid).next()).cloned() {
            child.share(&sibling);
        }
        self.index(&child);
        self.children.insert(child.id.clone(), Arc::new(child));
    }

    /// Forgets a child.
    pub fn delete_child(&mut self, id: &ChildId) {
        self.unindex(id);
        self.children.remove(id);
        self.expected.remove(id);
    }

    /// Records that the creation of a child is being sent. Called before sending, so that its events come after.
    pub fn expect_created(&mut self, child: Child, now: Timestamp) {
        if self.children.contains_key(&child.id) {
            return;
        }
        self.expected.insert(child.id.clone(), Expectation { until: now + EXPECTATION_TTL, deleted: None });
        self.index(&child);
        self.children.insert(child.id.clone(), Arc::new(child));
    }

    /// Records that the creation of a resource is being sent.
    pub fn expect_resource(&mut self, key: &Key, now: Timestamp) {
        if !self.resources.contains_key(key) {
            self.expected_resources.insert(key.clone(), now + EXPECTATION_TTL);
        }
    }

    /// Records that the deletion of a resource is being sent.
    pub fn expect_resource_gone(&mut self, key: &Key, uid: &str, now: Timestamp) {
        let Some(resource) = self.resources.get_mut(key) else { return };
        if resource.uid == uid && !resource.deleting {
            Arc::make_mut(resource).deleting = true;
            self.leaving.insert(key.clone(), (uid.to_owned(), now + EXPECTATION_TTL));
        }
    }

    /// Whether the creation of a resource was sent and no watch has shown it yet.
    pub fn resource_expected(&self, key: &Key) -> bool {
        self.expected_resources.contains_key(key)
    }

    /// Takes back the expectation of a resource whose creation or deletion failed.
    pub fn unexpect_resource(&mut self, key: &Key) {
        self.expected_resources.remove(key);
        if self.leaving.remove(key).is_some()
            && let Some(resource) = self.resources.get_mut(key)
        {
            Arc::make_mut(resource).deleting = false;
        }
    }

    /// Records that the deletion of a child is being sent.
    pub fn expect_deleted(&mut self, id: &ChildId, uid: &str, now: Timestamp) {
        let Some(child) = self.children.get_mut(id) else { return };
        if &*child.uid != uid {
            return;
        }
        Arc::make_mut(child).deleting = true;
        self.expected
            .insert(id.clone(), Expectation { until: now + EXPECTATION_TTL, deleted: Some(uid.into()) });
    }

    /// Records that a child is being marked as one that is retired; its next event tells the rest.
    pub fn expect_retiring(&mut self, id: &ChildId, now: Timestamp) {
        if let Some(child) = self.children.get_mut(id).filter(|child| child.retiring.is_none()) {
            let child = Arc::make_mut(child);
            child.retiring = Some(now);
            child.marking = true;
        }
    }

    /// Takes back a mark that could not be written, unless an event has shown it.
    pub fn unexpect_retiring(&mut self, id: &ChildId) {
        if let Some(child) = self.children.get_mut(id).filter(|child| child.marking) {
            let child = Arc::make_mut(child);
            child.retiring = None;
            child.marking = false;
        }
    }

    /// Takes back an expectation whose request failed.
    pub fn unexpect(&mut self, id: &ChildId) {
        let Some(expectation) = self.expected.remove(id) else { return };
        if expectation.deleted.is_none() {
            self.unindex(id);
            self.children.remove(id);
        } else if let Some(child) = self.children.get_mut(id) {
            Arc::make_mut(child).deleting = false;
        }
    }

    /// Takes back expectations that ran out; returns the keys concerned.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Key> {
        let resources: Vec<Key> = self
            .expected_resources
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(key, _)| key.clone())
            .collect();
        self.expected_resources.retain(|_, until| *until > now);
        let staying: Vec<Key> =
            self.leaving.iter().filter(|(_, (_, until))| *until <= now).map(|(key, _)| key.clone()).collect();
        for key in &staying {
            self.unexpect_resource(key);
        }
        let expired: Vec<_> =
            self.expected.iter().filter(|(_, e)| e.until <= now).map(|(id, _)| id.clone()).collect();
        let mut keys: BTreeSet<Key> =
            resources.iter().chain(&staying).flat_map(|key| self.makers(key)).collect();
        for id in &expired {
            let child = self.children.get(id).cloned();
            self.unexpect(id);
            keys.extend(child.iter().flat_map(|child| self.concerned(child)));
        }
        keys.into_iter().collect()
    }

    /// The keys a resource concerns besides itself: its owners, the cluster it follows, and those that follow it.
    pub fn makers(&self, key: &Key) -> Vec<Key> {
        let mut keys = vec![key.clone()];
        let sibling = |kind| Key::new(kind, &key.namespace, &key.name);
        match key.kind {
            Kind::Job => keys.push(sibling(Kind::Cluster)),
            Kind::Cluster => {
                keys.push(sibling(Kind::Job));
                keys.extend(self.followers(&key.namespace, &key.name).cloned());
            }
            Kind::WorkerGroup | Kind::Autoscaler => {
                let named = self.resources.get(key).and_then(|known| known.follows().map(str::to_owned));
                let cluster = named.or_else(|| key.name.strip_suffix("-default").map(str::to_owned));
                if let Some(cluster) = &cluster {
                    keys.push(Key::new(Kind::Cluster, &key.namespace, cluster));
                    keys.extend(
                        self.followers(&key.namespace, cluster)
                            .filter(|f| f.kind == Kind::Autoscaler)
                            .cloned(),
                    );
                }
            }
        }
        keys
    }

    /// When the next expectation runs out.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expected
            .values()
            .map(|e| e.until)
            .chain(self.expected_resources.values().copied())
            .chain(self.leaving.values().map(|(_, until)| *until))
            .min()
    }

    /// Children that a relist did not contain. Expected ones are left out: the list may be older than they are.
    pub fn unlisted(&self, listed: impl Fn(&ChildId) -> bool) -> Vec<ChildId> {
        self.children
            .iter()
            .filter(|(id, child)| !listed(id) && !matches!(child.facts, super::child::Facts::Expected))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// How many children carry a group's label.
    pub fn group_size(&self, namespace: &str, group: &str) -> usize {
        self.by_group.get(&(namespace.into(), group.into())).map_or(0, BTreeSet::len)
    }

    /// How many children are known.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty() && self.resources.is_empty()
    }

    /// The keys a child concerns: its owners, and whom its labels name.
    pub fn concerned(&self, child: &Child) -> Vec<Key> {
        let namespace = &*child.id.namespace;
        let mut keys = BTreeSet::new();
        if let Some(group) = &child.group {
            keys.insert(Key::new(Kind::WorkerGroup, namespace, group));
        }
        if let Some(cluster) = &child.cluster {
            // A job's runner waits for the scheduler, and its workers for the runner.
            if let Some(Component::Scheduler | Component::JobRunner) = child.component {
                keys.insert(Key::new(Kind::Job, namespace, cluster));
                keys.insert(Key::new(Kind::Cluster, namespace, cluster));
                keys.extend(self.followers(namespace, cluster).cloned());
            }
        }
        for owner in child.owners.iter() {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == &*owner.kind);
            if let Some(kind) = kind {
                keys.insert(Key::new(kind, namespace, &owner.name));
            }
        }
        keys.into_iter().collect()
    }

    fn unfollow(&mut self, known: &Resource) {
        if let Some(cluster) = known.follows() {
            let entry = (known.key.namespace.clone(), cluster.to_owned());
            if let Some(keys) = self.groups_of.get_mut(&entry) {
                keys.remove(&known.key);
                if keys.is_empty() {
                    self.groups_of.remove(&entry);
                }
            }
        }
    }

    fn index(&mut self, child: &Child) {
        for owner in child.owners.iter() {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(child.id.clone());
        }
        if let Some(group) = &child.group {
            let entry = (child.id.namespace.clone(), group.clone());
            self.by_group.entry(entry).or_default().insert(child.id.clone());
        } else if let Some(cluster) = &child.cluster {
            let entry = (child.id.namespace.clone(), cluster.clone());
            self.by_cluster.entry(entry).or_default().insert(child.id.clone());
        }
    }

    fn unindex(&mut self, id: &ChildId) {
        let Some(child) = self.children.get(id).cloned() else { return };
        for owner in child.owners.iter() {
            remove(&mut self.by_owner, &owner.uid, id);
        }
        if let Some(group) = &child.group {
            remove(&mut self.by_group, &(id.namespace.clone(), group.clone()), id);
        } else if let Some(cluster) = &child.cluster {
            remove(&mut self.by_cluster, &(id.namespace.clone(), cluster.clone()), id);
        }
    }
}

fn remove<K: Ord>(index: &mut BTreeMap<K, BTreeSet<ChildId>>, entry: &K, id: &ChildId) {
    if let Some(ids) = index.get_mut(entry) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(entry);
        }
    }
}
