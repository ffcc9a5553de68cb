//! The objects of one resource with their index by label, and their change log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::log::Log;
use super::{Change, Key, Selection, Stored};

/// The objects of one resource, in key order.
#[derive(Debug)]
pub struct Collection {
    objects: BTreeMap<Key, Arc<Stored>>,
    labels: BTreeMap<String, BTreeMap<String, BTreeSet<Key>>>,
    log: Log,
}

impl Collection {
    pub(crate) fn new(history: usize) -> Self {
        Self { objects: BTreeMap::new(), labels: BTreeMap::new(), log: Log::new(history) }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.objects.get(key)
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects.values()
    }

    /// The objects of a namespace.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Stored>> {
        self.objects
            .range(Key::new(namespace, "")..)
            .map(|(_, object)| object)
            .take_while(move |object| object.key.namespace == namespace)
    }

    /// The objects that carry this label value, of one namespace or of all.
    pub fn with_label<'a>(
        &'a self,
        namespace: Option<&'a str>,
        label: &str,
        value: &str,
    ) -> impl Iterator<Item = &'a Arc<Stored>> {
        let from = Key::new(namespace.unwrap_or_default(), "");
        let keys = self.labels.get(label).and_then(|values| values.get(value));
        keys.into_iter()
            .flat_map(move |keys| keys.range(from.clone()..))
            .take_while(move |key| namespace.is_none_or(|namespace| key.namespace == namespace))
            .filter_map(|key| self.objects.get(key))
    }

    /// The selected objects after `after` in key order, by the narrowest index.
    pub fn select<'a>(
        &'a self,
        selection: &'a Selection,
        after: Option<&Key>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Stored>> + 'a> {
        if let (Some(namespace), Some(name)) = (&selection.namespace, &selection.name) {
            let one =
                self.objects.get(&Key::new(namespace, name)).filter(|o| after.is_none_or(|k| o.key > *k));
            return Box::new(one.into_iter().filter(|object| selection.matches(object)));
        }
        let start = Key::new(selection.namespace.as_deref().unwrap_or_default(), "");
        let from = match after {
            Some(key) if *key >= start => Bound::Excluded(key.clone()),
            _ => Bound::Included(start),
        };
        let inside = |key: &Key| selection.namespace.as_ref().is_none_or(|n| *n == key.namespace);
        if let Some((label, value)) = selection.labels.exact() {
            let keys = self.labels.get(label).and_then(|values| values.get(value));
            return Box::new(
                keys.into_iter()
                    .flat_map(move |keys| keys.range((from.clone(), Bound::Unbounded)))
                    .take_while(move |key| inside(key))
                    .filter_map(|key| self.objects.get(key))
                    .filter(|object| selection.matches(object)),
            );
        }
        Box::new(
            self.objects
                .range((from, Bound::Unbounded))
                .take_while(move |(key, _)| inside(key))
                .map(|(_, object)| object)
                .filter(|object| selection.matches(object)),
        )
    }

    /// The selected objects after `after` as they were at `revision`; `None` when history does not reach back.
    pub fn select_at(
        &self,
        revision: u64,
        selection: &Selection,
        after: Option<&Key>,
    ) -> Option<Vec<Arc<Stored>>> {
        let undo = self.log.undo(revision)?;
        let mut found: BTreeMap<&Key, &Arc<Stored>> = self
            .select(selection, after)
            .filter(|object| !undo.contains_key(&object.key))
            .map(|object| (&object.key, object))
            .collect();
        let then = undo.values().flatten().filter(|o| after.is_none_or(|k| o.key > *k));
        found.extend(then.filter(|o| selection.matches(o)).map(|object| (&object.key, *object)));
        Some(found.into_values().cloned().collect())
    }

    /// Changes after `revision`, oldest first; `None` when history does not reach back.
    pub fn changes(&self, revision: u64) -> Option<impl Iterator<Item = &Change>> {
        self.log.after(revision)
    }

    /// Revision of the last change.
    pub fn last_change(&self) -> u64 {
        self.log.last()
    }

    /// The oldest revision history reaches back to.
    pub fn floor(&self) -> u64 {
        self.log.floor()
    }

    pub(crate) fn compact(&mut self, revision: u64) {
        self.log.compact(revision);
    }

    pub(crate) fn insert(&mut self, object: Arc<Stored>, revision: u64) -> Option<Arc<Stored>> {
        let before = self.objects.insert(object.key.clone(), Arc::clone(&object));
        if before.as_ref().is_none_or(|before| before.meta.labels != object.meta.labels) {
            if let Some(before) = &before {
                self.forget_labels(before);
            }
            for (label, value) in &object.meta.labels {
                let values = self.labels.entry(label.clone()).or_default();
                values.entry(value.clone()).or_default().insert(object.key.clone());
            }
        }
        self.log.push(Change { revision, before: before.clone(), after: Some(object), deleted: None });
        before
    }

    pub(crate) fn remove(&mut self, last: &Arc<Stored>, revision: u64) -> Option<Arc<Stored>> {
        let before = self.objects.remove(&last.key)?;
        self.forget_labels(&before);
        self.log.push(Change {
            revision,
            before: Some(Arc::clone(&before)),
            after: None,
            deleted: Some(Arc::clone(last)),
        });
        Some(before)
    }

    fn forget_labels(&mut self, object: &Stored) {
        for (label, value) in &object.meta.labels {
            let Some(values) = self.labels.get_mut(label) else { continue };
            if let Some(keys) = values.get_mut(value) {
                keys.remove(&object.key);
                if keys.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.labels.remove(label);
            }
        }
    }
}
