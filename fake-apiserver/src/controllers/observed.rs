//! What most controllers ask for, kept once for all of them: the reader of the change log, pods by owner and by node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pod::PodFacts;
use crate::storage::{GroupResource, Key, Storage, Stored};

/// One change as controllers see it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// What it is.
    pub resource: GroupResource,
    /// The state before; `None` for a creation and for the first look.
    pub before: Option<Arc<Stored>>,
    /// The state after; `None` for a deletion.
    pub after: Option<Arc<Stored>>,
}

impl Seen {
    /// The object after the change, or its last state.
    pub(crate) fn object(&self) -> &Stored {
        match (&self.after, &self.before) {
            (Some(object), _) | (None, Some(object)) => object,
            (None, None) => unreachable!("a change has a state before or after it"),
        }
    }
}

/// What reading the change log gave.
pub(crate) enum Read {
    /// Nothing has happened.
    UpToDate,
    /// The log does not reach back; the next read begins with all objects.
    LostHistory,
    /// What has happened, oldest first.
    Changes(Vec<Seen>),
}

/// What was and is known of the pod of a change; both `None` when it is about something else.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    /// Before.
    pub before: Option<Arc<PodFacts>>,
    /// After.
    pub after: Option<Arc<PodFacts>>,
}

/// Pods and what leads to them.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Revision up to which the log was read; `None` before the first look.
    revision: Option<u64>,
    pods: BTreeMap<Key, Arc<PodFacts>>,
    by_controller: BTreeMap<String, BTreeSet<Key>>,
    orphans: BTreeSet<Key>,
    by_node: BTreeMap<String, BTreeSet<Key>>,
}

impl Observed {
    /// Reads the log.
    pub(crate) fn read(&mut self, storage: &Storage) -> Read {
        let newest = storage.revision();
        let Some(revision) = self.revision.replace(newest) else {
            let all = storage.collections().flat_map(|(resource, collection)| {
                collection.iter().map(|object| Seen {
                    resource: resource.clone(),
                    before: None,
                    after: Some(Arc::clone(object)),
                })
            });
            return Read::Changes(all.collect());
        };
        if revision == newest {
            return Read::UpToDate;
        }
        let mut found: Vec<(u64, Seen)> = Vec::new();
        for (resource, collection) in storage.collections() {
            if collection.last_change() <= revision {
                continue;
            }
            let Some(changes) = collection.changes(revision) else {
                *self = Self::default();
                return Read::LostHistory;
            };
            found.extend(changes.map(|change| {
                let seen = Seen {
                    resource: resource.clone(),
                    before: change.before.clone(),
                    after: change.after.clone(),
                };
                (change.revision, seen)
            }));
        }
        found.sort_by_key(|(revision, _)| *revision);
        Read::Changes(found.into_iter().map(|(_, seen)| seen).collect())
    }

    /// Takes a change in; returns what was and is known of its pod.
    pub(crate) fn apply(&mut self, change: &Seen) -> Pods {
        if change.resource.resource != "pods" || !change.resource.group.is_empty() {
            return Pods::default();
        }
        let before = self.pods.get(&change.object().key).cloned();
        if let Some(before) = &before {
            self.forget(before);
        }
        let after = change.after.as_ref().map(|stored| Arc::new(PodFacts::read(stored)));
        if let Some(after) = &after {
            self.remember(after);
        }
        Pods { before, after }
    }

    /// One pod.
    pub(crate) fn pod(&self, key: &Key) -> Option<&Arc<PodFacts>> {
        self.pods.get(key)
    }

    /// The pods whose managing owner has this uid.
    pub(crate) fn controlled_by(&self, uid: &str) -> impl Iterator<Item = &Arc<PodFacts>> {
        self.by_controller.get(uid).into_iter().flatten().filter_map(|key| self.pods.get(key))
    }

    /// The pods of a namespace that nothing manages.
    pub(crate) fn orphans<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<PodFacts>> {
        let from = Key::new(namespace, "");
        let keys = self.orphans.range(from..).take_while(move |key| key.namespace == namespace);
        keys.filter_map(|key| self.pods.get(key))
    }

    /// The pods bound to a node.
    pub(crate) fn on_node(&self, node: &str) -> impl Iterator<Item = &Arc<PodFacts>> {
        self.by_node.get(node).into_iter().flatten().filter_map(|key| self.pods.get(key))
    }

    fn remember(&mut self, pod: &Arc<PodFacts>) {
        let key = &pod.stored.key;
        self.pods.insert(key.clone(), Arc::clone(pod));
        match pod.stored.controller() {
            Some(owner) => {
                self.by_controller.entry(owner.uid.clone()).or_default().insert(key.clone());
            }
            None => {
                self.orphans.insert(key.clone());
            }
        }
        if !pod.node.is_empty() {
            self.by_node.entry(pod.node.clone()).or_default().insert(key.clone());
        }
    }

    fn forget(&mut self, pod: &PodFacts) {
        let key = &pod.stored.key;
        self.pods.remove(key);
        self.orphans.remove(key);
        if let Some(owner) = pod.stored.controller() {
            forget(&mut self.by_controller, &owner.uid, key);
        }
        forget(&mut self.by_node, &pod.node, key);
    }
}

fn forget(index: &mut BTreeMap<String, BTreeSet<Key>>, at: &str, key: &Key) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}
