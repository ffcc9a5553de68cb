//! Merging an applied configuration into an object, and taking fields out of one, by schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::field_set::{self, FieldSet};
use crate::schema::cause::quote;
use crate::schema::node::{Additional, ListType, Types, View};
use crate::server::go_text::printed;

/// Merges what is applied into the live object (`typed.Merge`): leaves are replaced, the rest is descended into; an
/// empty map or list does not empty one that has something.
pub(crate) fn merge_into(target: &mut Value, applied: &Value, schema: Option<View<'_>>) {
    match (target, applied) {
        (Value::Object(map), Value::Object(applied)) if !schema.is_some_and(|s| s.node.atomic_map) => {
            for (name, value) in applied {
                if let Some(child) = map.get_mut(name) {
                    merge_into(child, value, schema.and_then(|s| s.owned_field(name)));
                } else {
                    map.insert(name.clone(), value.clone());
                }
            }
        }
        (Value::Array(list), Value::Array(applied))
            if schema.is_some_and(|s| s.node.list != ListType::Atomic) && !list.is_empty() =>
        {
            if let Some(schema) = schema {
                merge_lists(list, applied, schema);
            }
        }
        (Value::Object(map), Value::Null)
            if !map.is_empty() && !schema.is_some_and(|s| s.node.atomic_map) => {}
        (Value::Array(list), Value::Null)
            if !list.is_empty() && schema.is_some_and(|s| s.node.list != ListType::Atomic) => {}
        (target, applied) => {
            if *target != *applied {
                *target = applied.clone();
            }
        }
    }
}

/// Merges associative lists: the order of applied items is kept, live items stay where they were among them.
fn merge_lists(live: &mut Vec<Value>, applied: &[Value], schema: View<'_>) {
    let element = |value: &Value| field_set::item(&schema.node.list, value).unwrap_or_default();
    let right: Vec<String> = applied.iter().map(element).collect();
    let wanted: BTreeMap<&str, usize> = right.iter().enumerate().map(|(i, e)| (e.as_str(), i)).collect();
    let left: Vec<(String, Value)> = std::mem::take(live).into_iter().map(|v| (element(&v), v)).collect();
    // Shared items come in the order of the applied list; `pools` hands out the live half of each.
    let mut pools: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    for (index, (key, _)) in left.iter().enumerate() {
        pools.entry(key).and_modify(|only| *only = None).or_insert(Some(index));
    }
    let shared: Vec<&str> = right.iter().map(String::as_str).filter(|e| pools.contains_key(e)).collect();
    let mut shared = shared.into_iter().peekable();
    let mut merged = BTreeSet::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let both = |index: usize, out: &mut Vec<Value>| {
        let value = match pools.get(right[index].as_str()).copied().flatten() {
            Some(at) => {
                let mut value = left[at].1.clone();
                merge_into(&mut value, &applied[index], schema.items());
                value
            }
            None => applied[index].clone(),
        };
        out.push(value);
    };
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() {
            let key = left[l].0.as_str();
            if key == right[r] {
                merged.insert(key);
                both(r, &mut out);
                l += 1;
                r += 1;
                shared.next();
                continue;
            }
            if wanted.contains_key(key) && shared.peek().is_some_and(|next| *next != key) {
                l += 1;
                continue;
            }
        }
        if l < left.len() {
            let key = left[l].0.as_str();
            if !wanted.contains_key(key) {
                out.push(left[l].1.clone());
                l += 1;
                continue;
            }
            if merged.contains(key) {
                l += 1;
            }
        }
        if r < right.len() {
            merged.insert(right[r].as_str());
            both(r, &mut out);
            if shared.peek().is_some_and(|next| *next == right[r]) {
                shared.next();
            }
            r += 1;
        }
    }
    *live = out;
}

/// Takes members of the set out of a value (`typed.RemoveItems`); a field that became empty by that is null, until
/// [`drop_hollow`].
pub(crate) fn remove(value: &mut Value, set: &FieldSet, schema: Option<View<'_>>) {
    match value {
        Value::Object(map) => {
            for (element, below) in &set.children {
                let Some(name) = element.strip_prefix("f:") else { continue };
                let Some(child) = map.get_mut(name) else { continue };
                let child_schema = schema.and_then(|s| s.owned_field(name));
                if below.member {
                    map.remove(name);
                    continue;
                }
                remove(child, below, child_schema);
                if is_hollow(child) {
                    *child = Value::Null;
                }
            }
        }
        Value::Array(list) => {
            let Some(schema) = schema.filter(|s| s.node.list != ListType::Atomic) else { return };
            list.retain_mut(|item| {
                let element = field_set::item(&schema.node.list, item).unwrap_or_default();
                match set.children.get(&element) {
                    Some(below) if below.member => false,
                    Some(below) => {
                        remove(item, below, schema.items());
                        true
                    }
                    None => true,
                }
            });
        }
        _ => {}
    }
}

/// Drops the nulls that [`remove`] left, where the schema has no place for them.
pub(crate) fn drop_hollow(value: &mut Value, set: &FieldSet, schema: Option<View<'_>>) {
    match value {
        Value::Object(map) => {
            for (element, below) in &set.children {
                let Some(name) = element.strip_prefix("f:") else { continue };
                let child_schema = schema.and_then(|s| s.owned_field(name));
                match map.get_mut(name) {
                    Some(Value::Null) if child_schema.is_some_and(|s| !s.node.nullable) => {
                        map.remove(name);
                    }
                    Some(child) => drop_hollow(child, below, child_schema),
                    None => {}
                }
            }
        }
        Value::Array(list) => {
            let Some(schema) = schema.filter(|s| s.node.list != ListType::Atomic) else { return };
            for item in list {
                let element = field_set::item(&schema.node.list, item).unwrap_or_default();
                if let Some(below) = set.children.get(&element) {
                    drop_hollow(item, below, schema.items());
                }
            }
        }
        _ => {}
    }
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// Why an applied configuration does not fit its schema: unknown fields, items without keys, repeated items, values of
/// another type.
pub(crate) fn misfits(applied: &Value, schema: Option<View<'_>>) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(schema) = schema {
        check(applied, schema, "", &mut out);
    }
    out
}

fn check(value: &Value, schema: View<'_>, path: &str, out: &mut Vec<String>) {
    if let Some(why) = wrong_type(value, schema.node.types) {
        out.push(format!("{path}: {why}"));
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                match schema.owned_field(name) {
                    Some(below) => check(child, below, &format!("{path}.{name}"), out),
                    None if schema.names_field(name) || schema.admits_unknown() => {}
                    None if schema.node.additional == Additional::Any => {}
                    None => out.push(format!("{path}.{name}: field not declared in schema")),
                }
            }
        }
        Value::Array(list) if schema.node.list != ListType::Atomic => {
            let mut seen = BTreeSet::new();
            for (index, item) in list.iter().enumerate() {
                match field_set::item(&schema.node.list, item) {
                    Err(why) => out.push(format!("{path}: element {index}: {why}")),
                    Ok(element) => {
                        let shown = field_set::shown(&element);
                        if let Some(below) = schema.items() {
                            check(item, below, &format!("{path}{shown}"), out);
                        }
                        if !seen.insert(element) {
                            out.push(format!("{path}: duplicate entries for key {shown}"));
                        }
                    }
                }
            }
        }
        Value::Array(list) => {
            let Some(below) = schema.items() else { return };
            for (index, item) in list.iter().enumerate() {
                check(item, below, &format!("{path}[{index}]"), out);
            }
        }
        _ => {}
    }
}

/// Why a value is not of the types of its schema (`typed/validate.go`).
fn wrong_type(value: &Value, types: Types) -> Option<String> {
    let scalar = !value.is_object() && !value.is_array();
    // As the library sees it: a type by itself, or any scalar.
    let right = match types {
        _ if types.is_any() || value.is_null() => true,
        Types::OBJECT => value.is_object(),
        Types::ARRAY => value.is_array(),
        Types::STRING => value.is_string(),
        Types::BOOLEAN => value.is_boolean(),
        Types::INTEGER | Types::NUMBER => value.is_number(),
        _ => scalar,
    };
    if right {
        return None;
    }
    let inner = go_syntax(value);
    Some(match types {
        Types::OBJECT => format!("expected map, got &{{{}}}", printed(value)),
        Types::ARRAY => format!("expected list, got &{{{}}}", printed(value)),
        Types::STRING => format!("expected string, got &value.valueUnstructured{{Value:{inner}}}"),
        Types::BOOLEAN => format!("expected boolean, got &value.valueUnstructured{{Value:{inner}}}"),
        Types::INTEGER | Types::NUMBER => {
            format!("expected numeric (int or float), got {}", go_type(value))
        }
        _ => format!("expected any scalar, got &{{{}}}", printed(value)),
    })
}

/// A value as Go's `%#v` shows it.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(key, value)| format!("{}:{}", quote(key), go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::String(text) => quote(text),
        Value::Null => "interface {}(nil)".into(),
        other => other.to_string(),
    }
}

/// A value's type as Go's `%T` shows it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
