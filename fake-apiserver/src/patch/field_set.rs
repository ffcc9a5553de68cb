//! Sets of field paths, in the form of `FieldsV1`.
//!
//! Path elements are kept as `FieldsV1` writes them: `f:name` for a field or map key, `k:{"name":"x"}` for an item of a
//! map list, `v:"x"` for an item of a set, `.` for an element that is itself a member beside its children.
//! The operations are those of `sigs.k8s.io/structured-merge-diff/fieldpath`: members and children are told apart, so
//! "parent minus child" is the parent and "child minus parent" the child.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::schema::cause::quote;
use crate::schema::node::{ListType, View};

/// A set of field paths below one element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    /// The element itself belongs to the set.
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// A set of just the element.
    pub(crate) fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// The set of an object's root from `fieldsV1`.
    pub(crate) fn from_value(fields: &Value) -> Self {
        Self { member: false, ..Self::parse(fields) }
    }

    fn parse(fields: &Value) -> Self {
        let Some(map) = fields.as_object().filter(|map| !map.is_empty()) else { return Self::leaf() };
        let mut set = Self::default();
        for (element, fields) in map {
            if element == "." {
                set.member = true;
            } else {
                set.children.insert(normal(element), Self::parse(fields));
            }
        }
        set
    }

    /// As `fieldsV1`.
    pub(crate) fn into_value(self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        map.extend(self.children.into_iter().map(|(element, set)| (element, set.into_value())));
        Value::Object(map)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Puts a child in, unless it is empty.
    pub(crate) fn insert(&mut self, element: String, set: Self) {
        if !set.is_empty() {
            self.children.insert(element, set);
        }
    }

    pub(crate) fn union(&mut self, other: Self) {
        self.member |= other.member;
        for (element, set) in other.children {
            self.children.entry(element).or_default().union(set);
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        if other.children.is_empty() {
            return;
        }
        self.children.retain(|element, set| {
            if let Some(other) = other.children.get(element) {
                set.subtract(other);
            }
            !set.is_empty()
        });
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut both = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, set) in &self.children {
            if let Some(other) = other.children.get(element) {
                both.insert(element.clone(), set.intersection(other));
            }
        }
        both
    }

    /// Takes out a field with everything below it.
    pub(crate) fn cut(&mut self, path: &[String]) {
        let Some((name, rest)) = path.split_first() else {
            *self = Self::default();
            return;
        };
        let element = field(name);
        if let Some(child) = self.children.get_mut(&element) {
            child.cut(rest);
            if child.is_empty() {
                self.children.remove(&element);
            }
        }
    }

    /// Also makes members of named fields that only have children: `EnsureNamedFieldsAreMembers`.
    pub(crate) fn with_named_fields(&self, schema: Option<View<'_>>) -> Self {
        let mut out = Self { member: self.member, children: BTreeMap::new() };
        for (element, set) in &self.children {
            let name = element.strip_prefix("f:");
            let below = match name {
                Some(name) => schema.and_then(|s| s.owned_field(name)),
                None => schema.and_then(View::items),
            };
            let mut set = set.with_named_fields(below);
            set.member |= name.is_some_and(|name| schema.is_some_and(|s| s.names_field(name)));
            out.children.insert(element.clone(), set);
        }
        out
    }

    /// All paths as messages write them, `.spec.list[name="x"].field`: members of an element before what is below them.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect_paths("", &mut out);
        out
    }

    fn collect_paths(&self, prefix: &str, out: &mut Vec<String>) {
        for (element, set) in &self.children {
            if set.member {
                out.push(format!("{prefix}{}", shown(element)));
            }
        }
        for (element, set) in self.children.iter().filter(|(_, set)| !set.children.is_empty()) {
            set.collect_paths(&format!("{prefix}{}", shown(element)), out);
        }
    }
}

/// The path element of a field or map key.
pub(crate) fn field(name: &str) -> String {
    let mut element = String::with_capacity(name.len() + 2);
    element.push_str("f:");
    element.push_str(name);
    element
}

/// The path element of a list item.
///
/// # Errors
/// Why the item cannot be addressed.
pub(crate) fn item(list: &ListType, item: &Value) -> Result<String, String> {
    match list {
        ListType::Atomic => Err("invalid indexing of non-associative list".into()),
        ListType::Set => match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            scalar => Ok(format!("v:{scalar}")),
        },
        ListType::Map(keys) => {
            let Value::Object(map) = item else {
                let what = if item.is_null() { "a null element" } else { "non-map elements" };
                return Err(format!("associative list with keys may not have {what}"));
            };
            let mut element = String::from("k:{");
            for key in &**keys {
                if let Some(value) = map.get(&*key.name).or(key.default.as_ref()) {
                    let comma = if element.len() > 3 { "," } else { "" };
                    let _ = write!(element, "{comma}\"{}\":{value}", key.name);
                }
            }
            if element.len() == 3 {
                let names: Vec<String> = keys.iter().map(|key| quote(&key.name)).collect();
                return Err(format!(
                    "associative list with keys has an element that omits all key fields [{}] (and doesn't have \
                     default values for any key fields)",
                    names.join(" ")
                ));
            }
            element.push('}');
            Ok(element)
        }
    }
}

/// Clients may write the JSON inside an element with spaces or in another order.
fn normal(element: &str) -> String {
    let Some((kind @ ("k" | "v"), text)) = element.split_once(':') else { return element.into() };
    match serde_json::from_str::<BTreeMap<String, Value>>(text) {
        Ok(keys) if kind == "k" => {
            format!("k:{}", serde_json::to_string(&keys).unwrap_or_else(|_| text.into()))
        }
        _ => match serde_json::from_str::<Value>(text) {
            Ok(value) => format!("{kind}:{value}"),
            Err(_) => element.into(),
        },
    }
}

/// An element as messages write it.
pub(crate) fn shown(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some((_, index)) => format!("[{index}]"),
        None => element.into(),
    }
}
