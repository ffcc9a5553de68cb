//! The graph of schema nodes that every function of this module walks.

use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::Value;

use super::cel::Rules;
use super::format::Format;

/// Index of a node in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

/// All nodes of one kind's schema; `$ref` cycles are cycles of ids.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Option<NodeId>,
    /// What `metadata` is in the root and in embedded resources of a custom resource.
    pub(crate) object_meta: Option<NodeId>,
    /// A built-in kind: the Go type decides which fields exist, and its zero value has every plain struct.
    pub(crate) built_in: bool,
    /// Some node has CEL rules.
    pub(crate) has_rules: bool,
}

/// One schema node; what is rarely there is behind a box.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) types: Types,
    /// Sorted by name.
    pub(crate) properties: Arc<[(Box<str>, NodeId)]>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<NodeId>,
    pub(crate) list: ListType,
    pub(crate) atomic_map: bool,
    pub(crate) preserve_unknown: bool,
    /// An object with its own `apiVersion`, `kind` and `metadata`: the root, or `x-kubernetes-embedded-resource`.
    pub(crate) resource: bool,
    pub(crate) nullable: bool,
    /// The Go field is a plain struct or a required list or map: it is there in a zero value.
    pub(crate) zero: bool,
    /// The Go type of a definition of a built-in kind: `v1.PodSpec`.
    pub(crate) go: Option<Arc<str>>,
    /// The fields of that type that are not written when they hold a zero.
    pub(crate) omitted: &'static [String],
    pub(crate) default: Option<Arc<Value>>,
    /// The default is filled in; those of Go zero values only serve as keys of map lists.
    pub(crate) fills: bool,
    pub(crate) patch: Option<Arc<PatchStrategy>>,
    pub(crate) checks: Option<Arc<Checks>>,
    pub(crate) rules: Option<Arc<Rules>>,
}

/// The JSON types a node accepts; none means all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Types(u8);

const TYPE_NAMES: [&str; 6] = ["object", "array", "integer", "number", "boolean", "string"];

impl Types {
    pub(crate) const OBJECT: Self = Self(1);
    pub(crate) const ARRAY: Self = Self(2);
    pub(crate) const INTEGER: Self = Self(4);
    pub(crate) const NUMBER: Self = Self(8);
    pub(crate) const BOOLEAN: Self = Self(16);
    pub(crate) const STRING: Self = Self(32);
    pub(crate) const INT_OR_STRING: Self = Self(4 | 32);

    pub(crate) fn named(name: &str) -> Self {
        TYPE_NAMES.iter().position(|known| *known == name).map_or(Self(0), |bit| Self(1 << bit))
    }

    pub(crate) fn is_any(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As messages show them: `integer,string`.
    pub(crate) fn names(self) -> String {
        let names: Vec<&str> = TYPE_NAMES
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, n)| *n)
            .collect();
        names.join(",")
    }
}

/// What the schema says of keys it does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Additional {
    /// Nothing.
    #[default]
    Unsaid,
    /// `additionalProperties: true`.
    Any,
    /// `additionalProperties: false`.
    Forbidden,
    /// A schema for their values.
    Schema(NodeId),
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    #[default]
    Atomic,
    Set,
    /// With `x-kubernetes-list-map-keys`, sorted by name, and the keys' defaults.
    Map(Arc<[MapKey]>),
}

/// One key of a map list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapKey {
    pub(crate) name: Box<str>,
    pub(crate) default: Option<Value>,
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatchStrategy {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) merge_key: Option<Box<str>>,
}

/// Value validations.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) required: Vec<Box<str>>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) format: Option<Format>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) all_of: Vec<NodeId>,
    pub(crate) any_of: Vec<NodeId>,
    pub(crate) one_of: Vec<NodeId>,
    pub(crate) not: Option<NodeId>,
}

/// A minimum or maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) value: f64,
    pub(crate) exclusive: bool,
}

/// A regular expression, compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// Whether the text matches; an expression this engine cannot read matches nothing.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref().is_some_and(|r| r.is_match(text))
    }
}

/// A node with the graph it lives in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
}

impl Graph {
    pub(crate) fn view(&self, id: NodeId) -> View<'_> {
        View { graph: self, node: &self.nodes[id.0 as usize] }
    }

    pub(crate) fn root(&self) -> Option<View<'_>> {
        self.root.map(|id| self.view(id))
    }
}

impl<'a> View<'a> {
    /// The default that is filled in.
    pub(crate) fn filling(self) -> Option<&'a Arc<Value>> {
        self.node.default.as_ref().filter(|_| self.node.fills)
    }

    /// The property the schema names, if it does.
    pub(crate) fn property(self, name: &str) -> Option<View<'a>> {
        let properties = &self.node.properties;
        let at = properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(self.graph.view(properties[at].1))
    }

    pub(crate) fn additional(self) -> Option<View<'a>> {
        match self.node.additional {
            Additional::Schema(id) => Some(self.graph.view(id)),
            _ => None,
        }
    }

    pub(crate) fn items(self) -> Option<View<'a>> {
        self.node.items.map(|id| self.graph.view(id))
    }

    /// Whether the schema, or being a resource, names this field: it is then a struct field and not a map key.
    pub(crate) fn names_field(self, name: &str) -> bool {
        (self.node.resource && matches!(name, "apiVersion" | "kind" | "metadata"))
            || self.property(name).is_some()
    }

    /// The schema of a field as field ownership sees it: `metadata` of a resource is ObjectMeta.
    pub(crate) fn owned_field(self, name: &str) -> Option<View<'a>> {
        if self.node.resource
            && name == "metadata"
            && let Some(meta) = self.graph.object_meta
        {
            return Some(self.graph.view(meta));
        }
        self.property(name).or_else(|| self.additional())
    }

    /// Whether a field without schema is legal here.
    pub(crate) fn admits_unknown(self) -> bool {
        self.node.preserve_unknown
            || self.node.additional == Additional::Any
            || (self.node.properties.is_empty() && self.node.additional == Additional::Unsaid)
    }
}
