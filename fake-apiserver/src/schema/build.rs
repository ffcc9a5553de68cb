//! From the text of a schema to its [`Graph`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::cel::Rules;
use super::components::Components;
use super::format::Format;
use super::messages::MESSAGES;
use super::node::{
    Additional, Bound, Checks, Graph, ListType, MapKey, Node, NodeId, PatchStrategy, Pattern, Types, View,
};
use super::object_meta;

/// Lists that are required, and yet left out when they are empty.
const OMITTED: [&str; 1] = ["validationActions"];

/// Builds the graph of a CustomResourceDefinition's `openAPIV3Schema`.
pub(super) fn custom(openapi: &Value) -> Graph {
    let mut builder = Builder::default();
    let meta = builder.node(&object_meta::schema());
    let root = builder.node(openapi);
    builder.graph.nodes[root.0 as usize].resource = true;
    builder.graph.root = Some(root);
    builder.graph.has_rules = builder.graph.nodes.iter().any(|node| node.rules.is_some());
    builder.graph.object_meta = Some(meta);
    builder.graph
}

/// Builds the graph of a built-in kind; `None` if the components do not define it.
pub(super) fn built_in(components: &Components, name: &str) -> Graph {
    let mut builder = Builder { components: Some(components), ..Builder::default() };
    builder.graph.built_in = true;
    builder.graph.root = builder.reference(name);
    if let Some(root) = builder.graph.root {
        builder.graph.nodes[root.0 as usize].resource = true;
    }
    builder.graph
}

#[derive(Default)]
struct Builder<'a> {
    components: Option<&'a Components>,
    known: BTreeMap<String, NodeId>,
    /// Definitions that refer to themselves cannot be copied before they are complete.
    unfinished: Vec<NodeId>,
    graph: Graph,
}

impl Builder<'_> {
    fn push(&mut self, node: Node) -> NodeId {
        self.graph.nodes.push(node);
        NodeId(self.graph.nodes.len() as u32 - 1)
    }

    /// The node of a named definition; recursive definitions find themselves.
    fn reference(&mut self, name: &str) -> Option<NodeId> {
        if let Some(known) = self.known.get(name) {
            return Some(*known);
        }
        let schema: Value = serde_json::from_str(self.components?.get(name)?).ok()?;
        let id = self.push(Node::default());
        self.known.insert(name.into(), id);
        self.unfinished.push(id);
        let mut node = Node { go: go_type(name), omitted: MESSAGES.omitted(name), ..self.parse(&schema) };
        if node.go.as_deref() == Some("runtime.RawExtension") {
            // Raw JSON, which belongs to its owner as a whole.
            node.types = Types::default();
            node.atomic_map = true;
        }
        self.unfinished.pop();
        self.graph.nodes[id.0 as usize] = node;
        Some(id)
    }

    fn node(&mut self, schema: &Value) -> NodeId {
        if let Some(name) = reference_of(schema)
            && let Some(target) = self.reference(name)
        {
            return self.overridden(target, schema);
        }
        let node = self.parse(schema);
        self.push(node)
    }

    /// A reference whose user adds a default or a patch strategy is a copy that shares the target's children.
    fn overridden(&mut self, target: NodeId, schema: &Value) -> NodeId {
        let default = default_of(schema);
        let patch = patch_of(schema);
        let atomic = schema.get("x-kubernetes-map-type").map(|t| t == "atomic");
        let zero = schema.get("default").is_some_and(is_empty_object);
        if default.is_none() && patch.is_none() && atomic.is_none() && !zero
            || self.unfinished.contains(&target)
        {
            return target;
        }
        let mut node = self.graph.nodes[target.0 as usize].clone();
        node.zero = zero && node.types.has(Types::OBJECT);
        node.default = default.or(node.default);
        node.fills = self.fills(node.default.as_ref(), node.types);
        node.patch = patch.or(node.patch);
        node.atomic_map = atomic.unwrap_or(node.atomic_map);
        self.push(node)
    }

    /// Whether a default is filled in. The Go types of built-in kinds have their zero values anyway; of those only `{}`
    /// is seen in JSON.
    fn fills(&self, default: Option<&Arc<Value>>, types: Types) -> bool {
        let Some(default) = default else { return false };
        let shown = match &**default {
            Value::String(text) => !text.is_empty(),
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::Bool(on) => *on,
            Value::Object(map) => !map.is_empty() || types.has(Types::OBJECT),
            _ => true,
        };
        shown || !self.graph.built_in
    }

    fn parse(&mut self, schema: &Value) -> Node {
        let Some(map) = schema.as_object() else { return Node::default() };
        let mut node = Node { types: types_of(map), ..Node::default() };
        node.properties = self.properties(map);
        node.additional = match map.get("additionalProperties") {
            None => Additional::Unsaid,
            Some(Value::Bool(true)) => Additional::Any,
            Some(Value::Bool(false)) => Additional::Forbidden,
            Some(schema) => Additional::Schema(self.node(schema)),
        };
        node.items = map.get("items").map(|items| self.node(items));
        node.patch = patch_of(schema);
        node.list = self.list_type(map, &node);
        node.atomic_map = map.get("x-kubernetes-map-type").is_some_and(|t| t == "atomic");
        node.nullable = flag(map, "nullable");
        node.resource = flag(map, "x-kubernetes-embedded-resource");
        node.preserve_unknown = flag(map, "x-kubernetes-preserve-unknown-fields")
            || (self.graph.built_in
                && node.properties.is_empty()
                && node.additional == Additional::Unsaid
                && (node.types.is_any() || node.types.has(Types::OBJECT)));
        node.zero = map.get("default").is_some_and(is_empty_object) && node.types.has(Types::OBJECT);
        node.default = default_of(schema);
        node.fills = self.fills(node.default.as_ref(), node.types);
        node.checks = self.checks(map).map(Arc::new);
        node.rules = Rules::compile(schema).map(Arc::new);
        if let Some(checks) = &node.checks
            && self.graph.built_in
        {
            self.mark_required(&mut node.properties, &checks.required.clone());
        }
        node
    }

    fn properties(&mut self, map: &Map<String, Value>) -> Arc<[(Box<str>, NodeId)]> {
        let Some(Value::Object(named)) = map.get("properties") else { return Arc::default() };
        let mut properties: Vec<(Box<str>, NodeId)> =
            named.iter().map(|(name, schema)| (name.as_str().into(), self.node(schema))).collect();
        properties.sort_by(|a, b| a.0.cmp(&b.0));
        properties.into()
    }

    /// A required list or map of a built-in kind is `null` in the Go zero value: it is there.
    fn mark_required(&mut self, properties: &mut Arc<[(Box<str>, NodeId)]>, required: &[Box<str>]) {
        let mut marked = properties.to_vec();
        for (name, id) in &mut marked {
            let node = &self.graph.nodes[id.0 as usize];
            if !node.zero
                && !OMITTED.contains(&&**name)
                && required.contains(name)
                && (node.types.has(Types::ARRAY) || node.types.has(Types::OBJECT))
            {
                let copy = Node { zero: true, ..node.clone() };
                *id = self.push(copy);
            }
        }
        *properties = marked.into();
    }

    fn list_type(&self, map: &Map<String, Value>, node: &Node) -> ListType {
        let said = map.get("x-kubernetes-list-type").and_then(Value::as_str);
        let keys: Vec<&str> = match (said, &node.patch) {
            (Some("set"), _) => return ListType::Set,
            (Some("map"), _) => strings(map.get("x-kubernetes-list-map-keys")),
            (None, Some(strategy)) if strategy.merge && node.types.has(Types::ARRAY) => {
                match &strategy.merge_key {
                    Some(key) => vec![key],
                    None => return ListType::Set,
                }
            }
            _ => return ListType::Atomic,
        };
        let items = node.items.map(|id| self.graph.view(id));
        let mut keys: Vec<MapKey> = keys.into_iter().map(|name| map_key(name, items)).collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        ListType::Map(keys.into())
    }

    fn checks(&mut self, map: &Map<String, Value>) -> Option<Checks> {
        let number = |key: &str| map.get(key).and_then(Value::as_f64);
        let count = |key: &str| map.get(key).and_then(Value::as_u64);
        let bound = |key: &str, exclusive: &str| {
            number(key).map(|value| Bound { value, exclusive: flag(map, exclusive) })
        };
        let one_of = if self.graph.built_in { Vec::new() } else { self.nodes(map.get("oneOf")) };
        let checks = Checks {
            required: strings(map.get("required")).into_iter().map(Into::into).collect(),
            enumeration: map.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            format: map.get("format").and_then(Value::as_str).and_then(|f| Format::of(f, types_of(map))),
            pattern: map.get("pattern").and_then(Value::as_str).map(|p| Pattern::new(p.into())),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: if self.graph.built_in { Vec::new() } else { self.nodes(map.get("allOf")) },
            any_of: self.nodes(map.get("anyOf")),
            one_of,
            not: map.get("not").map(|schema| self.node(schema)),
        };
        checks.says_something().then_some(checks)
    }

    fn nodes(&mut self, schemas: Option<&Value>) -> Vec<NodeId> {
        let schemas = schemas.and_then(Value::as_array);
        schemas.map(|all| all.iter().map(|schema| self.node(schema)).collect()).unwrap_or_default()
    }
}

impl Checks {
    fn says_something(&self) -> bool {
        let lengths = [self.min_length, self.max_length, self.min_items, self.max_items];
        let sizes = [self.min_properties, self.max_properties];
        let combined = [&self.all_of, &self.any_of, &self.one_of];
        !self.required.is_empty()
            || !self.enumeration.is_empty()
            || self.format.is_some()
            || self.pattern.is_some()
            || self.minimum.is_some()
            || self.maximum.is_some()
            || self.multiple_of.is_some()
            || self.not.is_some()
            || lengths.iter().chain(&sizes).any(Option::is_some)
            || combined.iter().any(|all| !all.is_empty())
    }
}

/// `io.k8s.api.core.v1.PodSpec` is `v1.PodSpec` in Go.
fn go_type(name: &str) -> Option<Arc<str>> {
    let (rest, kind) = name.rsplit_once('.')?;
    let package = rest.rsplit('.').next()?;
    Some(format!("{package}.{kind}").into())
}

fn default_of(schema: &Value) -> Option<Arc<Value>> {
    schema.get("default").filter(|d| !d.is_null()).map(|d| Arc::new(d.clone()))
}

fn map_key(name: &str, items: Option<View<'_>>) -> MapKey {
    let default = items.and_then(|i| i.property(name)).and_then(|p| p.node.default.as_deref().cloned());
    MapKey { name: name.into(), default }
}

/// `$ref`, also inside a single `allOf` as OpenAPI v3 documents of Kubernetes write it.
fn reference_of(schema: &Value) -> Option<&str> {
    let direct = schema.get("$ref").or_else(|| match schema.get("allOf")?.as_array()?.as_slice() {
        [only] => only.get("$ref"),
        _ => None,
    });
    direct?.as_str().map(|reference| reference.rsplit('/').next().unwrap_or(reference))
}

/// `type`; the unions of built-in kinds (IntOrString, Quantity) are written as `oneOf` of types.
fn types_of(map: &Map<String, Value>) -> Types {
    if flag(map, "x-kubernetes-int-or-string") {
        return Types::INT_OR_STRING;
    }
    if let Some(name) = map.get("type").and_then(Value::as_str) {
        return Types::named(name);
    }
    let one_of = map.get("oneOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let only_types = |s: &Value| s.as_object().is_some_and(|m| m.len() == 1 && m.contains_key("type"));
    if one_of.is_empty() || !map.contains_key("format") && one_of.len() != 2 || !one_of.iter().all(only_types)
    {
        return Types::default();
    }
    one_of.iter().filter_map(|s| s["type"].as_str()).fold(Types::default(), |all, t| all.or(Types::named(t)))
}

fn patch_of(schema: &Value) -> Option<Arc<PatchStrategy>> {
    let strategy = schema.get("x-kubernetes-patch-strategy").and_then(Value::as_str);
    let merge_key = schema.get("x-kubernetes-patch-merge-key").and_then(Value::as_str);
    if strategy.is_none() && merge_key.is_none() {
        return None;
    }
    let has = |word: &str| strategy.is_some_and(|s| s.split(',').any(|part| part == word));
    Some(Arc::new(PatchStrategy {
        merge: has("merge"),
        retain_keys: has("retainKeys"),
        merge_key: merge_key.map(Into::into),
    }))
}

fn flag(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key) == Some(&Value::Bool(true))
}

fn strings(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array)
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}
