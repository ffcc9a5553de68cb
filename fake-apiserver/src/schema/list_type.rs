//! `x-kubernetes-list-type`: uniqueness of sets and map lists, and finding an item's counterpart.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::cause;
use super::node::{ListType, MapKey, View};
use super::path::Path;
use crate::status::Cause;

/// Duplicates in sets and map lists, at any depth.
pub(super) fn validate(value: &Value, root: View<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(value, root, &Path::Root, &mut causes);
    causes
}

fn walk(value: &Value, schema: View<'_>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                if !child.is_object() && !child.is_array() {
                    continue;
                }
                if let Some(property) = schema.property(key) {
                    walk(child, property, &Path::Field(path, key), causes);
                } else if let Some(additional) = schema.additional() {
                    walk(child, additional, &Path::Key(path, key), causes);
                }
            }
        }
        Value::Array(items) => {
            match &schema.node.list {
                ListType::Atomic => {}
                ListType::Set => {
                    repeated(items.iter().cloned(), path, causes);
                }
                ListType::Map(keys) => map_list(items, keys, path, causes),
            }
            let Some(schema) = schema.items() else { return };
            for (index, item) in items.iter().enumerate() {
                walk(item, schema, &Path::Index(path, index), causes);
            }
        }
        _ => {}
    }
}

fn map_list(items: &[Value], keys: &[MapKey], path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some((index, odd)) = items.iter().enumerate().find(|(_, i)| !i.is_object() && !i.is_null()) {
        let at = Path::Index(path, index).bracketed();
        causes.push(cause::invalid(at, odd, "must be an object for an array of list-type map"));
        return;
    }
    repeated(items.iter().map(|item| Value::Object(present_keys(item, keys))), path, causes);
}

/// Reports the second appearance of each repeated value.
fn repeated(values: impl ExactSizeIterator<Item = Value>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if values.len() < 2 {
        return;
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, value) in values.enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            causes.push(cause::duplicate(Path::Index(path, index).bracketed(), &value));
        }
    }
}

fn present_keys(item: &Value, keys: &[MapKey]) -> Map<String, Value> {
    let has = |key: &MapKey| Some((key.name.to_string(), item.get(&*key.name)?.clone()));
    keys.iter().filter_map(has).collect()
}

/// The item of `old` with the keys of `item`, in a map list; in other lists items have no counterparts.
pub(super) fn counterpart<'a>(list: &ListType, old: &'a [Value], item: &Value) -> Option<&'a Value> {
    let ListType::Map(keys) = list else { return None };
    old.iter().find(|candidate| keys.iter().all(|key| candidate.get(&*key.name) == item.get(&*key.name)))
}
