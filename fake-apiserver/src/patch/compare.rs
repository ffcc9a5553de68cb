//! What changed between two versions of an object, and which fields an object sets.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff/typed`: atomic lists and maps are leaves; so is a value that
//! is empty on both sides; without schema, maps are granular and lists atomic.
//! Built-in kinds are Go structs in the real server: a plain struct or a required list is there even where JSON has
//! nothing, and so it is never "added" (a new Deployment owns `f:spec` without `.`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::field_set::{self, FieldSet};
use crate::schema::node::{ListType, View};

/// What one write did.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Fields that are new or have another value.
    pub(crate) changed: FieldSet,
    /// Fields that are gone.
    pub(crate) removed: FieldSet,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares two objects; `None` is the object before its creation.
pub(crate) fn compare(old: Option<&Value>, new: &Value, schema: Option<View<'_>>) -> Changes {
    let old = old.map_or(Side::Zero, Side::Value);
    let mut changes = walk(old, Side::Value(new), schema, Depth::Root);
    changes.changed.member = false;
    changes.removed.member = false;
    changes
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
enum Side<'a> {
    Absent,
    /// Not in the JSON, but there in Go: an empty struct, a null list.
    Zero,
    Value(&'a Value),
}

/// Whether fields that nobody owns have to be left out here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Root,
    Metadata,
    Deeper,
}

impl Depth {
    /// Fields that no manager ever owns (`stripmeta.go`).
    pub(crate) fn skips(self, name: &str) -> bool {
        match self {
            Depth::Root => matches!(name, "apiVersion" | "kind"),
            Depth::Metadata => matches!(
                name,
                "name"
                    | "namespace"
                    | "creationTimestamp"
                    | "selfLink"
                    | "uid"
                    | "clusterName"
                    | "generation"
                    | "managedFields"
                    | "resourceVersion"
            ),
            Depth::Deeper => false,
        }
    }

    pub(crate) fn below(self, name: &str) -> Self {
        if self == Depth::Root && name == "metadata" { Depth::Metadata } else { Depth::Deeper }
    }
}

impl<'a> Side<'a> {
    fn map(self) -> Option<&'a Map<String, Value>> {
        match self {
            Side::Value(Value::Object(map)) => Some(map),
            _ => None,
        }
    }

    fn list(self) -> Option<&'a [Value]> {
        match self {
            Side::Value(Value::Array(list)) => Some(list),
            _ => None,
        }
    }

    /// Can stand for an empty map or list.
    fn is_blank(self) -> bool {
        matches!(self, Side::Absent | Side::Zero | Side::Value(Value::Null))
    }

    fn child(self, name: &str, schema: Option<View<'_>>) -> Self {
        if let Some(value) = self.map().and_then(|map| map.get(name)) {
            return Side::Value(value);
        }
        let there = !matches!(self, Side::Absent | Side::Value(Value::Null));
        if there && schema.is_some_and(|s| s.graph.built_in && s.node.zero) {
            Side::Zero
        } else {
            Side::Absent
        }
    }
}

fn walk(old: Side<'_>, new: Side<'_>, schema: Option<View<'_>>, depth: Depth) -> Changes {
    let maps = (old.map().is_some() || old.is_blank()) && (new.map().is_some() || new.is_blank());
    let some_map = |side: Side<'_>| side.map().is_some_and(|map| !map.is_empty());
    if maps && (some_map(old) || some_map(new)) {
        if schema.is_some_and(|s| s.node.atomic_map) {
            return leaf(old, new);
        }
        return marked(old, new, depth, walk_maps(old, new, schema, depth));
    }
    let lists = (old.list().is_some() || old.is_blank()) && (new.list().is_some() || new.is_blank());
    let some_list = |side: Side<'_>| side.list().is_some_and(|list| !list.is_empty());
    if let Some(view) = schema
        && lists
        && (some_list(old) || some_list(new))
        && view.node.list != ListType::Atomic
    {
        return marked(old, new, depth, walk_lists(old, new, view));
    }
    if other_kind(old, new) {
        let mut changes = walk(old, Side::Value(&Value::Null), schema, depth);
        let come = walk(Side::Value(&Value::Null), new, schema, depth);
        changes.changed.union(come.changed);
        changes.changed.member = true;
        return changes;
    }
    leaf(old, new)
}

/// A map became something else, or the reverse: both what went and what came count.
fn other_kind(old: Side<'_>, new: Side<'_>) -> bool {
    let (Side::Value(old), Side::Value(new)) = (old, new) else { return false };
    !old.is_null() && !new.is_null() && old.is_object() != new.is_object()
}

fn leaf(old: Side<'_>, new: Side<'_>) -> Changes {
    let mut changes = Changes::default();
    match (old, new) {
        (Side::Absent, Side::Absent) => {}
        (Side::Absent, _) => changes.changed.member = true,
        (_, Side::Absent) => changes.removed.member = true,
        (old, new) => changes.changed.member = !same(old, new),
    }
    changes
}

fn same(old: Side<'_>, new: Side<'_>) -> bool {
    match (old, new) {
        (Side::Value(old), Side::Value(new)) => old == new,
        (Side::Value(value), _) | (_, Side::Value(value)) => match value {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => false,
        },
        _ => true,
    }
}

/// A whole map or list that came or went is itself a member.
fn marked(old: Side<'_>, new: Side<'_>, depth: Depth, mut changes: Changes) -> Changes {
    if depth != Depth::Metadata {
        changes.changed.member |= matches!(old, Side::Absent);
        changes.removed.member |= matches!(new, Side::Absent);
    }
    changes
}

fn walk_maps(old: Side<'_>, new: Side<'_>, schema: Option<View<'_>>, depth: Depth) -> Changes {
    let mut changes = Changes::default();
    let mut visit = |name: &str| {
        if depth.skips(name) {
            return;
        }
        let below = schema.and_then(|s| s.owned_field(name));
        let (old, new) = (old.child(name, below), new.child(name, below));
        if let (Side::Value(old), Side::Value(new)) = (old, new)
            && !(old.is_object() || old.is_array())
            && old == new
        {
            return;
        }
        let found = walk(old, new, below, depth.below(name));
        put(&mut changes, || field_set::field(name), found);
    };
    let (before, after) = (old.map(), new.map());
    for name in after.into_iter().flat_map(Map::keys) {
        visit(name);
    }
    for name in before.into_iter().flat_map(Map::keys) {
        if after.is_none_or(|after| !after.contains_key(name)) {
            visit(name);
        }
    }
    changes
}

fn put(changes: &mut Changes, element: impl Fn() -> String, found: Changes) {
    if !found.changed.is_empty() {
        changes.changed.children.insert(element(), found.changed);
    }
    if !found.removed.is_empty() {
        changes.removed.children.insert(element(), found.removed);
    }
}

/// Items by path element; repeated ones share an entry.
fn index<'a>(list: Option<&'a [Value]>, kind: &ListType) -> BTreeMap<String, Vec<&'a Value>> {
    let mut out: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for value in list.unwrap_or_default() {
        if let Ok(element) = field_set::item(kind, value) {
            out.entry(element).or_default().push(value);
        }
    }
    out
}

fn walk_lists(old: Side<'_>, new: Side<'_>, schema: View<'_>) -> Changes {
    let mut changes = Changes::default();
    let mut before = index(old.list(), &schema.node.list);
    for (element, after) in index(new.list(), &schema.node.list) {
        let before = before.remove(&element).unwrap_or_default();
        put(&mut changes, || element.clone(), walk_items(&before, &after, schema));
    }
    for (element, before) in before {
        put(&mut changes, || element.clone(), walk_items(&before, &[], schema));
    }
    changes
}

/// Repeated items are compared as one leaf.
fn walk_items(before: &[&Value], after: &[&Value], schema: View<'_>) -> Changes {
    let mut changes = Changes::default();
    match (before, after) {
        ([], [new]) => changes = walk(Side::Absent, Side::Value(new), schema.items(), Depth::Deeper),
        ([old], []) => changes = walk(Side::Value(old), Side::Absent, schema.items(), Depth::Deeper),
        ([old], [new]) => changes = walk(Side::Value(old), Side::Value(new), schema.items(), Depth::Deeper),
        (old, []) => changes.removed.member = !old.is_empty(),
        ([], _) => changes.changed.member = true,
        ([old], _) => {
            changes = walk(Side::Value(old), Side::Absent, schema.items(), Depth::Deeper);
            changes.changed.member = true;
        }
        (_, [new]) => {
            changes = walk(Side::Absent, Side::Value(new), schema.items(), Depth::Deeper);
            changes.removed.member = true;
        }
        (old, new) => changes.changed.member = old != new,
    }
    changes
}

/// The fields an applied configuration sets (`typed.ToFieldSet`): unlike in a comparison, a named field that only has
/// children is no member.
pub(crate) fn fields_of(value: &Value, schema: Option<View<'_>>) -> FieldSet {
    let mut set = fields(value, schema, Depth::Root);
    set.member = false;
    set
}

fn fields(value: &Value, schema: Option<View<'_>>, depth: Depth) -> FieldSet {
    match value {
        Value::Object(map) => {
            if schema.is_some_and(|s| s.node.atomic_map) {
                return FieldSet::leaf();
            }
            let mut set = FieldSet::default();
            for (name, child) in map.iter().filter(|(name, _)| !depth.skips(name)) {
                let below = schema.and_then(|s| s.owned_field(name));
                let mut found = fields(child, below, depth.below(name));
                let named = schema.is_some_and(|s| s.names_field(name));
                found.member |= !named || child.is_null() || child.as_object().is_some_and(Map::is_empty);
                if depth == Depth::Root && name == "metadata" {
                    found.member = false;
                }
                set.insert(field_set::field(name), found);
            }
            set
        }
        Value::Array(list) => {
            let Some(view) = schema.filter(|s| s.node.list != ListType::Atomic) else {
                return FieldSet::leaf();
            };
            let mut set = FieldSet::default();
            for (element, items) in index(Some(list), &view.node.list) {
                let mut found = match items.as_slice() {
                    [only] => fields(only, view.items(), Depth::Deeper),
                    _ => FieldSet::default(),
                };
                found.member = true;
                set.insert(element, found);
            }
            set
        }
        Value::Null => FieldSet::default(),
        _ => FieldSet::leaf(),
    }
}
