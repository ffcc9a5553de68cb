//! The objects that plugins asked to be shown, as far as they are not too many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::Value;

use super::contract::{Declaration, Related};

/// An object that has more bytes is not shown.
const OBJECT_BYTES_MAX: usize = 64 << 10;
/// Bytes of all objects that one selection may have: it is kept in memory, whole.
const SELECTION_BYTES_MAX: usize = 16 << 20;

/// Namespace and name.
pub type Place = (Box<str>, Box<str>);

/// All of them, by what selects them.
#[derive(Debug, Default)]
pub struct Shown(BTreeMap<Related, Selection>);

/// What one selection selects.
#[derive(Debug, Default)]
struct Selection {
    objects: BTreeMap<Place, (Arc<Value>, usize)>,
    bytes: usize,
    /// It selects more than can be kept: nothing of it is, until it is listed again.
    too_large: bool,
}

impl Selection {
    fn take(&mut self, place: &Place) -> Option<Arc<Value>> {
        let (object, bytes) = self.objects.remove(place)?;
        self.bytes -= bytes;
        Some(object)
    }
}

impl Shown {
    /// What there is for a plugin in a namespace, at most so many.
    pub fn to(&self, plugin: &Declaration, namespace: &str, most: usize) -> Vec<Arc<Value>> {
        let selections = plugin.related.iter().filter_map(|related| self.0.get(related));
        let here = |place: &Place| &*place.0 == namespace;
        let objects =
            selections.flat_map(|selection| selection.objects.iter().filter(|(place, _)| here(place)));
        objects.map(|(_, (object, _))| object.clone()).take(most).collect()
    }

    /// The selection of a plugin that selects too much.
    pub fn too_large<'a>(&self, plugin: &'a Declaration) -> Option<&'a Related> {
        plugin
            .related
            .iter()
            .find(|related| self.0.get(*related).is_some_and(|selection| selection.too_large))
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|selection| selection.bytes).sum()
    }

    /// A selection begins to be listed anew.
    pub fn listing(&mut self, related: &Related) {
        self.0.entry(related.clone()).or_default().too_large = false;
    }

    /// A selection has been listed, in a namespace or in all: what is not in the list is gone.
    pub fn listed(&mut self, related: &Related, namespace: Option<&str>, listed: &BTreeSet<Place>) {
        let selection = self.0.entry(related.clone()).or_default();
        let inside = |place: &Place| namespace.is_none_or(|only| only == &*place.0);
        let gone = selection.objects.keys().filter(|place| inside(place) && !listed.contains(*place));
        for place in gone.cloned().collect::<Vec<_>>() {
            selection.take(&place);
        }
    }

    /// Takes one in; gives whether plugins are shown something else than before.
    pub fn apply(&mut self, related: &Related, place: Place, object: DynamicObject) -> bool {
        let selection = self.0.entry(related.clone()).or_default();
        if selection.too_large {
            return false;
        }
        let value = shown(related, object);
        let bytes = value.to_string().len();
        let before = selection.take(&place);
        if bytes > OBJECT_BYTES_MAX {
            tracing::warn!(kind = related.kind, name = %place.1, bytes, "too large to be shown to plugins");
            return before.is_some();
        }
        let same = before.is_some_and(|before| *before == value);
        selection.bytes += bytes;
        selection.objects.insert(place, (Arc::new(value), bytes));
        if selection.bytes > SELECTION_BYTES_MAX {
            *selection = Selection { too_large: true, ..Selection::default() };
            tracing::warn!(kind = related.kind, "{}", too_large(related));
            return true;
        }
        !same
    }

    /// Forgets one.
    pub fn delete(&mut self, related: &Related, namespace: &str, name: &str) {
        if let Some(selection) = self.0.get_mut(related) {
            selection.take(&(namespace.into(), name.into()));
        }
    }
}

/// What is wrong with a selection that selects too much.
pub fn too_large(related: &Related) -> String {
    format!(
        "it asks to be shown {} ({}) of more than {} MiB together; select fewer by `name` or `labels`",
        related.kind,
        related.api_version,
        SELECTION_BYTES_MAX >> 20
    )
}

/// An object as plugins are shown it: without what changes at each write.
fn shown(related: &Related, object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = related.api_version.as_str().into();
    value["kind"] = related.kind.as_str().into();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "generation", "selfLink"] {
            metadata.remove(field);
        }
    }
    value
}
