//! Everything of interest that exists now, kept up to date by watches.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Resource;
use kube::core::{ApiResource, DynamicObject};

use super::row::{Row, row};
use crate::api::{DaskAutoscaler, DaskCluster, DaskJob, DaskWorkerGroup};
use crate::store::{Event, ObjectKey, Scope, Store, StoreError};

/// The label that everything of a cluster carries.
pub(super) const CLUSTER_NAME: &str = "dask.org/cluster-name";

/// The kinds that are watched, in the order in which they are shown.
pub(super) fn kinds() -> [ApiResource; 8] {
    [
        ApiResource::erase::<DaskJob>(&()),
        ApiResource::erase::<DaskCluster>(&()),
        ApiResource::erase::<DaskWorkerGroup>(&()),
        ApiResource::erase::<DaskAutoscaler>(&()),
        ApiResource::erase::<Pod>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<ReplicaSet>(&()),
    ]
}

/// The changes of all kinds, each with the kind's index.
pub(super) type Changes = BoxStream<'static, (usize, Result<Event, StoreError>)>;

/// Follows all kinds.
pub(super) fn changes(store: &dyn Store) -> Changes {
    let follow =
        |(index, kind)| store.watch(&kind, &Scope::everywhere()).map(move |event| (index, event)).boxed();
    stream::select_all(kinds().into_iter().enumerate().map(follow)).boxed()
}

/// The objects of the watched kinds.
#[derive(Debug, Default)]
pub(super) struct World {
    objects: BTreeMap<(usize, ObjectKey), DynamicObject>,
    /// What a series of `InitApply` has not named yet.
    doubtful: BTreeSet<(usize, ObjectKey)>,
}

impl World {
    /// Takes note of a change.
    pub(super) fn observe(&mut self, kind: usize, event: Event) {
        match event {
            Event::Init => {
                self.doubtful.extend(self.objects.keys().filter(|(of, _)| *of == kind).cloned());
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let key = (kind, ObjectKey::of(&object));
                self.doubtful.remove(&key);
                self.objects.insert(key, object);
            }
            Event::InitDone => {
                let gone: Vec<_> = self.doubtful.iter().filter(|(of, _)| *of == kind).cloned().collect();
                for key in gone {
                    self.doubtful.remove(&key);
                    self.objects.remove(&key);
                }
            }
            Event::Delete(object) => {
                self.objects.remove(&(kind, ObjectKey::of(&object)));
            }
        }
    }

    /// The object of a kind with this key.
    pub(super) fn get<K: Resource<DynamicType = ()>>(&self, key: &ObjectKey) -> Option<&DynamicObject> {
        let plural = K::plural(&());
        let kind = kinds().iter().position(|kind| kind.plural == plural)?;
        self.objects.get(&(kind, key.clone()))
    }

    /// All objects of a kind.
    pub(super) fn all<K: Resource<DynamicType = ()>>(&self) -> impl Iterator<Item = &DynamicObject> {
        let plural = K::plural(&());
        let kind = kinds().iter().position(|kind| kind.plural == plural);
        self.objects.iter().filter(move |((of, _), _)| Some(*of) == kind).map(|(_, object)| object)
    }

    /// Everything that belongs to a cluster by its label, as `kind/name`.
    pub(super) fn labelled(&self, namespace: &str, cluster: &str) -> Vec<String> {
        let belongs = |object: &&DynamicObject| {
            object.metadata.namespace.as_deref() == Some(namespace)
                && object
                    .metadata
                    .labels
                    .as_ref()
                    .and_then(|labels| labels.get(CLUSTER_NAME))
                    .is_some_and(|name| name == cluster)
        };
        self.objects.values().filter(belongs).map(title).collect()
    }

    /// The table of what is shown.
    pub(super) fn rows(&self) -> Vec<Row> {
        self.objects.values().filter_map(row).collect()
    }
}

/// `pod/demo-runner`.
pub(super) fn title(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map(|types| types.kind.to_ascii_lowercase()).unwrap_or_default();
    format!("{kind}/{}", object.metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The index of pods among the kinds.
    const PODS: usize = 4;

    fn mk_pod(name: &str) -> DynamicObject {
        let metadata = json!({"name": name, "namespace": "ns", "labels": {CLUSTER_NAME: "ex"}});
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})).unwrap()
    }

    fn check(events: Vec<Event>, expected: &[&str]) {
        let mut world = World::default();
        for event in events {
            world.observe(PODS, event);
        }
        assert_eq!(world.labelled("ns", "ex"), expected);
        assert_eq!(world.all::<Pod>().count(), expected.len());
    }

    #[test]
    fn objects_come_and_go() {
        let (a, b) = (mk_pod("a"), mk_pod("b"));
        check(vec![Event::Apply(a.clone()), Event::Apply(b), Event::Delete(a)], &["pod/b"]);
    }

    #[test]
    fn what_a_second_series_does_not_name_is_gone() {
        let (a, b) = (mk_pod("a"), mk_pod("b"));
        check(
            vec![Event::Apply(a), Event::Apply(b.clone()), Event::Init, Event::InitApply(b), Event::InitDone],
            &["pod/b"],
        );
    }

    #[test]
    fn an_object_is_found_by_its_kind_and_key() {
        let mut world = World::default();
        world.observe(PODS, Event::Apply(mk_pod("a")));
        assert!(world.get::<Pod>(&ObjectKey::namespaced("ns", "a")).is_some());
        assert!(world.get::<Service>(&ObjectKey::namespaced("ns", "a")).is_none());
    }
}
