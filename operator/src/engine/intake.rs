//! What is seen: events of watches go into the cache, and whom they concern is looked at.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;

use super::{Engine, Source, What};
use crate::observe::{Child, ChildId, Key, Kind, Resource};
use crate::store::Event;
use crate::traces::report::Cause;

/// Children of a group for each millisecond that its events are gathered: a plan costs time in proportion to them.
const CHILDREN_PER_MILLISECOND: usize = 100;

/// How far a source has been listed.
#[derive(Debug, Default)]
pub(super) struct Sync {
    pub(super) done: bool,
    listed: Option<(BTreeSet<Key>, BTreeSet<ChildId>)>,
}

impl Engine {
    /// Takes in an event of a watch.
    pub fn observe(&mut self, source: &Source, event: Event, now: Timestamp) {
        if source.what.is_for_plugins() {
            return self.observe_for_plugins(source, event, now);
        }
        match event {
            Event::Init => self.sync(source).listed = Some(Default::default()),
            Event::InitApply(object) => self.apply(source, object, now, true),
            Event::InitDone => self.listed(source, now),
            Event::Apply(object) => self.apply(source, object, now, false),
            Event::Delete(object) => self.delete(source, &object, now),
        }
    }

    fn apply(&mut self, source: &Source, object: DynamicObject, now: Timestamp, listing: bool) {
        match source.what {
            What::Added(_) | What::Related(_) => {}
            What::Resource(kind) => {
                let Some(resource) = Resource::project(kind, object) else { return };
                let key = resource.key.clone();
                if listing && let Some((keys, _)) = &mut self.sync(source).listed {
                    keys.insert(key.clone());
                }
                let before = self.world.cache.makers(&key);
                self.world.plugins.noted(&resource, source, now);
                self.world.cache.apply_resource(resource);
                let after = self.world.cache.makers(&key);
                self.touch(before.into_iter().chain(after), &Cause::Seen(source.what.clone()), now);
            }
            What::Child(kind) => {
                let Some(child) = Child::project(kind, &object, &self.world.settings.domain) else { return };
                if listing && let Some((_, ids)) = &mut self.sync(source).listed {
                    ids.insert(child.id.clone());
                }
                let before = self.world.cache.child(&child.id).map(|known| self.world.cache.concerned(known));
                let keys = self.world.cache.concerned(&child);
                self.world.cache.apply_child(child);
                let keys = keys.into_iter().chain(before.into_iter().flatten());
                self.touch(keys, &Cause::Seen(source.what.clone()), now);
            }
        }
    }

    fn delete(&mut self, source: &Source, object: &DynamicObject, now: Timestamp) {
        let meta = &object.metadata;
        let (Some(namespace), Some(name)) = (meta.namespace.as_deref(), meta.name.as_deref()) else { return };
        match source.what {
            What::Added(_) | What::Related(_) => {}
            What::Resource(kind) => self.delete_resource(&Key::new(kind, namespace, name), now),
            What::Child(kind) => {
                let id = ChildId::new(kind, namespace, name);
                self.delete_child(&id, now);
            }
        }
    }

    fn delete_resource(&mut self, key: &Key, now: Timestamp) {
        let keys = self.world.cache.makers(key);
        if let Some(known) = self.world.cache.resource(key) {
            self.tally.gone(&known.uid);
        }
        let cause = Cause::Gone(What::Resource(key.kind));
        self.world.cache.delete_resource(key);
        self.world.plugins.forget(key);
        if key.kind == Kind::Cluster {
            self.world.schedulers.remove(&(key.namespace.clone(), key.name.clone()));
        }
        self.touch(keys, &cause, now);
    }

    fn delete_child(&mut self, id: &ChildId, now: Timestamp) {
        self.note_vanished(id, now);
        let keys =
            self.world.cache.child(id).map(|child| self.world.cache.concerned(child)).unwrap_or_default();
        self.world.cache.delete_child(id);
        self.touch(keys, &Cause::Gone(What::Child(id.kind)), now);
    }

    /// A worker that ran to the last and was not being retired may still be known to its scheduler.
    fn note_vanished(&mut self, id: &ChildId, now: Timestamp) {
        let Some(child) = self.world.cache.child(id) else { return };
        let ran = child.pod().is_some_and(|facts| facts.started && !facts.ended());
        let Some(group) = child.group.as_deref().filter(|_| ran && child.retiring.is_none()) else { return };
        let group = Key::new(Kind::WorkerGroup, &id.namespace, group);
        let Some(cluster) = self.world.cache.resource(&group).and_then(|group| group.follows()) else {
            return;
        };
        let place = (id.namespace.to_string(), cluster.to_owned());
        let cluster = self.world.cache.resource(&Key::new(Kind::Cluster, &place.0, &place.1));
        if cluster.is_none_or(|cluster| cluster.deleting) {
            return;
        }
        self.world.schedulers.entry(place).or_default().vanish(id.clone(), now);
    }

    fn listed(&mut self, source: &Source, now: Timestamp) {
        let sync = self.sync(source);
        sync.done = true;
        let Some((keys, ids)) = sync.listed.take() else { return };
        let inside = |namespace: &str| source.namespace.as_deref().is_none_or(|only| only == namespace);
        match source.what {
            What::Added(_) | What::Related(_) => {}
            What::Resource(kind) => {
                let gone: Vec<Key> = self
                    .world
                    .cache
                    .resources()
                    .map(|resource| resource.key.clone())
                    .filter(|key| key.kind == kind && inside(&key.namespace) && !keys.contains(key))
                    .collect();
                for key in gone {
                    self.delete_resource(&key, now);
                }
            }
            What::Child(kind) => {
                for id in self
                    .world
                    .cache
                    .unlisted(|id| id.kind != kind || !inside(&id.namespace) || ids.contains(id))
                {
                    self.delete_child(&id, now);
                }
            }
        }
    }

    /// Queues keys; those of large groups a little later, so that many events cost one plan.
    pub(super) fn touch(&mut self, keys: impl IntoIterator<Item = Key>, cause: &Cause, now: Timestamp) {
        for key in keys {
            self.reports.note(&key, cause);
            let size = match key.kind {
                Kind::WorkerGroup => self.world.cache.group_size(&key.namespace, &key.name),
                _ => 0,
            };
            let gather = SignedDuration::from_millis((size / CHILDREN_PER_MILLISECOND) as i64);
            self.queue.add(key, now + gather);
        }
    }

    fn sync(&mut self, source: &Source) -> &mut Sync {
        self.sources.entry(source.clone()).or_default()
    }
}
