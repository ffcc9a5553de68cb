//! What objects may look like, and random ones of that form.

use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};

use super::Part;

/// A value that varies.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// One of these.
    One(Vec<Value>),
    /// An object that has these fields, and any of the others; in a part of an object the fixed ones may be away.
    Object { fixed: Value, fields: Vec<(&'static str, Shape)> },
    /// Some of these, each an object that is told apart by its fixed fields; or values.
    List(Vec<Shape>),
}

/// An object of which everything may be away.
pub(crate) fn object<const N: usize>(fields: [(&'static str, Shape); N]) -> Shape {
    with(json!({}), fields)
}

/// An object that has these.
pub(crate) fn with<const N: usize>(fixed: Value, fields: [(&'static str, Shape); N]) -> Shape {
    Shape::Object { fixed, fields: fields.into() }
}

/// One of these values.
pub(crate) fn one<const N: usize>(values: [Value; N]) -> Shape {
    Shape::One(values.into())
}

/// Some of these.
pub(crate) fn list<const N: usize>(items: [Shape; N]) -> Shape {
    Shape::List(items.into())
}

/// A map of texts.
pub(crate) fn texts<const N: usize>(keys: [&'static str; N]) -> Shape {
    let fields = keys.map(|key| (key, one([json!("1"), json!("2")])));
    Shape::Object { fixed: json!({}), fields: fields.into() }
}

/// Random values of the form.
pub(crate) fn strategy(shape: &Shape, part: Part) -> BoxedStrategy<Value> {
    value(shape, part, false)
}

fn value(shape: &Shape, part: Part, is_item: bool) -> BoxedStrategy<Value> {
    match shape {
        Shape::One(values) => proptest::sample::select(values.clone()).boxed(),
        Shape::List(items) => {
            let items: Vec<_> =
                items.iter().map(|item| proptest::option::of(value(item, part, true))).collect();
            let list = items.prop_map(|items| Value::Array(items.into_iter().flatten().collect()));
            if part == Part::Directing {
                let replacing = list.clone().prop_map(|list| {
                    let mut items = list.as_array().cloned().unwrap_or_default();
                    items.push(json!({"$patch": "replace"}));
                    Value::Array(items)
                });
                return if items_are_objects(shape) {
                    prop_oneof![9 => list, 1 => replacing].boxed()
                } else {
                    list.boxed()
                };
            }
            list.boxed()
        }
        Shape::Object { fixed, fields } => {
            let keeps_fixed = is_item || part == Part::Whole;
            let removes = matches!(part, Part::Removing | Part::Directing);
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, shape)| {
                    let here = value(shape, part, false).prop_map(Some).boxed();
                    let mut all = vec![(6, Just(None).boxed()), (6, here)];
                    if removes {
                        all.push((2, Just(Some(Value::Null)).boxed()));
                    }
                    (Just(*name), Union::new_weighted(all))
                })
                .collect();
            let fixed = if keeps_fixed { fixed.clone() } else { json!({}) };
            let directive = if is_item && part == Part::Directing {
                prop_oneof![9 => Just(None), 1 => Just(Some("delete"))].boxed()
            } else {
                Just(None).boxed()
            };
            (fields, directive)
                .prop_map(move |(fields, directive)| {
                    let mut map = Map::new();
                    if directive.is_none() {
                        let here =
                            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
                        map.extend(here);
                    }
                    if let Some(directive) = directive {
                        map.insert("$patch".into(), directive.into());
                    }
                    merged(&Value::Object(map), &fixed)
                })
                .boxed()
        }
    }
}

fn items_are_objects(shape: &Shape) -> bool {
    matches!(shape, Shape::List(items) if items.iter().all(|item| matches!(item, Shape::Object { .. })))
}

/// Both; where both say something, objects are merged and what is more wins.
pub(crate) fn merged(base: &Value, more: &Value) -> Value {
    let (Value::Object(base), Value::Object(more)) = (base, more) else { return more.clone() };
    let mut all = base.clone();
    for (key, value) in more {
        let value = all.get(key).map_or_else(|| value.clone(), |base| merged(base, value));
        all.insert(key.clone(), value);
    }
    Value::Object(all)
}
