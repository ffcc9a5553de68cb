//! Strategic merge patch, with all its directives.
//!
//! As `k8s.io/apimachinery/pkg/util/strategicpatch`. Merge keys and strategies come from the schema.

use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::schema::node::{PatchStrategy, View};
use crate::server::go_text::printed;
use crate::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Strategic merge patch.
///
/// # Errors
/// 400 for a patch that is not an object or a directive that makes no sense; 500, as the real server, for a list item
/// without its merge key.
pub fn strategic(schema: &Schema, target: &Value, patch: &Value) -> Result<Value, Status> {
    let (Value::Object(target), Value::Object(patch)) = (target.clone(), patch.clone()) else {
        return Err(Status::bad_request("error decoding patch: a strategic merge patch is a JSON object"));
    };
    merge_map(target, patch, schema.root()).map(Value::Object)
}

type Object = Map<String, Value>;

fn merge_map(mut target: Object, mut patch: Object, schema: Option<View<'_>>) -> Result<Object, Status> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            Some("merge") => merge_map(target, patch, schema),
            _ => Err(unknown_directive(&directive, &patch)),
        };
    }
    retain_keys(&mut target, &mut patch)?;
    ordered_lists(&mut target, &mut patch, schema)?;
    let (deletions, fields): (Vec<_>, Vec<_>) =
        patch.into_iter().partition(|(key, _)| key.starts_with(DELETE_PRIMITIVES));
    for (key, value) in fields {
        let field = schema.and_then(|s| s.owned_field(&key));
        match (target.remove(&key), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(old)), Value::Object(new)) if !replaces(field) => {
                target.insert(key, Value::Object(merge_map(old, new, field)?));
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let merged = merge_list(old, new, field, None)?;
                target.insert(key, Value::Array(merged));
            }
            (_, value) => {
                if let Some(value) = plain(value) {
                    target.insert(key, value);
                }
            }
        }
    }
    for (key, doomed) in deletions {
        let list = target.get_mut(&key[DELETE_PRIMITIVES.len()..]);
        if let (Some(Value::Array(list)), Value::Array(doomed)) = (list, &doomed) {
            list.retain(|item| !doomed.contains(item));
        }
    }
    Ok(target)
}

fn strategy(field: Option<View<'_>>) -> Option<&PatchStrategy> {
    field.and_then(|f| f.node.patch.as_deref())
}

/// A map whose strategy is `replace` and nothing else.
fn replaces(field: Option<View<'_>>) -> bool {
    strategy(field).is_some_and(|s| !s.merge && !s.retain_keys && s.merge_key.is_none())
}

/// `$retainKeys`: keys of the target that are not listed go; every key of the patch must be listed.
fn retain_keys(target: &mut Object, patch: &mut Object) -> Result<(), Status> {
    let Some(kept) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(kept) = kept else {
        return Err(Status::bad_request("invalid patch format of retainKeys"));
    };
    let listed = |key: &str| kept.iter().any(|name| name == key);
    if patch.keys().any(|key| !key.starts_with('$') && !listed(key)) {
        return Err(Status::bad_request("invalid patch format of retainKeys"));
    }
    target.retain(|key, _| listed(key));
    Ok(())
}

/// Lists with `$setElementOrder/x`: merged as usual, then brought into that order.
fn ordered_lists(target: &mut Object, patch: &mut Object, schema: Option<View<'_>>) -> Result<(), Status> {
    let orders: Vec<String> = patch.keys().filter(|key| key.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in orders {
        let Some(Value::Array(order)) = patch.remove(&directive) else {
            return Err(Status::bad_request("invalid patch format of setElementOrder list"));
        };
        let name = &directive[ELEMENT_ORDER.len()..];
        let field = schema.and_then(|s| s.owned_field(name));
        if let Some(Value::Array(items)) = patch.get(name) {
            follows_order(items, &order, strategy(field).and_then(|s| s.merge_key.as_deref()))?;
        }
        let old = match target.get_mut(name) {
            Some(Value::Array(list)) => std::mem::take(list),
            Some(_) => continue,
            None => Vec::new(),
        };
        let new = match patch.remove(name) {
            Some(Value::Array(list)) if list.is_empty() && old.is_empty() => {
                return Err(unprocessed("no elements in any of the given slices"));
            }
            Some(Value::Array(list)) => list,
            Some(other) => {
                patch.insert(name.into(), other);
                continue;
            }
            None => Vec::new(),
        };
        if old.is_empty() && new.is_empty() {
            continue;
        }
        let merged = merge_list(old, new, field, Some(&order))?;
        target.insert(name.into(), Value::Array(merged));
    }
    Ok(())
}

/// The items of the patch must come in the order the directive gives, those with directives apart.
fn follows_order(items: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Status> {
    let same = |item: &Value, wanted: &Value| match key {
        Some(key) => item.get(key).is_some() && item.get(key) == wanted.get(key),
        None => item == wanted,
    };
    let mut order_left = order.iter();
    let mut kept = items.iter().filter(|item| item.get(DIRECTIVE).is_none());
    if kept.all(|item| order_left.any(|wanted| same(item, wanted))) {
        return Ok(());
    }
    let shown = |list: &[Value]| printed(&Value::Array(list.to_vec()));
    Err(unprocessed(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        shown(items),
        shown(order)
    )))
}

fn merge_list(
    old: Vec<Value>,
    new: Vec<Value>,
    field: Option<View<'_>>,
    order: Option<&[Value]>,
) -> Result<Vec<Value>, Status> {
    let merges = strategy(field).is_some_and(|s| s.merge);
    if !merges && order.is_none() {
        return Ok(new);
    }
    if old.is_empty() && new.is_empty() {
        return Ok(old);
    }
    let key = strategy(field).and_then(|s| s.merge_key.as_deref());
    let of_maps = old.iter().chain(&new).next().is_some_and(Value::is_object);
    let order_of = |old: &[Value], new: &[Value], merged: Vec<Value>, key: Option<&str>| {
        in_order(merged, order.unwrap_or(new), old, key)
    };
    if !of_maps {
        let mut merged: Vec<Value> = Vec::new();
        for item in old.iter().chain(&new) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(order_of(&old, &new, merged, None));
    }
    let Some(key) = key else {
        return Err(unprocessed("cannot merge lists without merge key"));
    };
    let (mut merged, new) = special_items(old, new, key)?;
    let before = merged.clone();
    for item in &new {
        let Value::Object(patch) = item.clone() else {
            return Err(Status::bad_request("expected a map in a list of maps"));
        };
        let value = patch.get(key).ok_or_else(|| no_merge_key(&patch, key))?;
        match merged.iter_mut().find(|known| known.get(key) == Some(value)) {
            Some(Value::Object(known)) => {
                *known = merge_map(std::mem::take(known), patch, field.and_then(View::items))?;
            }
            _ => merged.push(raw(Value::Object(patch))),
        }
    }
    Ok(order_of(&before, &new, merged, Some(key)))
}

/// `$patch: delete` and `$patch: replace` as items of a list.
fn special_items(
    mut old: Vec<Value>,
    new: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Status> {
    let mut ordinary = Vec::new();
    let mut replace = false;
    for item in new {
        let Some(directive) = item.get(DIRECTIVE) else {
            ordinary.push(item);
            continue;
        };
        let map = item.as_object().cloned().unwrap_or_default();
        match directive.as_str() {
            Some("delete") => {
                let value = item.get(key).ok_or_else(|| no_merge_key(&map, key))?;
                old.retain(|known| known.get(key) != Some(value));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(unprocessed("merging lists cannot yet be specified in the patch"));
            }
            _ => return Err(unknown_directive(directive, &map)),
        }
    }
    Ok(if replace { (ordinary, Vec::new()) } else { (old, ordinary) })
}

/// Items the patch names come in the patch's order; the others are put among them where the old list had them
/// (`normalizeElementOrder`).
fn in_order(merged: Vec<Value>, wanted: &[Value], old: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key) == b.get(key),
        None => a == b,
    };
    let rank = |list: &[Value], item: &Value| list.iter().position(|known| same(known, item));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| rank(wanted, item).is_some());
    named.sort_by_key(|item| rank(wanted, item));
    others.sort_by_key(|item| rank(old, item));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(other), Some(next)) = (others.peek(), named.peek()) {
        let before = rank(old, other).zip(rank(old, next)).is_some_and(|(o, n)| o < n);
        out.extend(if before { others.next() } else { named.next() });
    }
    out.extend(named);
    out.extend(others);
    out
}

/// A patch value where the target has nothing: without nulls and directives (`removeDirectives`); `None` if all of it
/// is a directive.
fn plain(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let wanted = map.into_iter().filter(|(key, value)| !value.is_null() && !key.starts_with('$'));
            Some(Value::Object(wanted.filter_map(|(key, value)| Some((key, plain(value)?))).collect()))
        }
        Value::Array(list) => Some(Value::Array(list.into_iter().filter_map(plain).collect())),
        scalar => Some(scalar),
    }
}

/// A new item of a list is taken as it is; in it directives are unknown fields, which the Go type drops.
fn raw(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let wanted = map.into_iter().filter(|(key, value)| !value.is_null() && !key.starts_with('$'));
            Value::Object(wanted.map(|(key, value)| (key, raw(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(raw).collect()),
        scalar => scalar,
    }
}

fn unknown_directive(directive: &Value, map: &Object) -> Status {
    let mut whole = map.clone();
    whole.insert(DIRECTIVE.into(), directive.clone());
    let name = directive.as_str().map_or_else(|| directive.to_string(), Into::into);
    unprocessed(format!("unknown patch type: {name} in map: {}", printed(&Value::Object(whole))))
}

fn no_merge_key(map: &Object, key: &str) -> Status {
    let map = printed(&Value::Object(map.clone()));
    unprocessed(format!("map: {map} does not contain declared merge key: {key}"))
}

/// What the real server has no better answer for: 500 without a reason.
fn unprocessed(message: impl Into<String>) -> Status {
    Status::new(500, "", message)
}
