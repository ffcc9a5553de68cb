//! Defaults must be values the schema accepts, without unknown fields.
//!
//! `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go`.

use super::cause;
use super::node::{Graph, NodeId, View};
use super::{cel, list_type, prune, validate};
use crate::status::Cause;

/// Checks every default of a custom resource's schema; `path` is where the schema stands.
pub(super) fn check(graph: &Graph, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(root) = graph.root() {
        walk(root, path, &mut causes);
    }
    causes
}

fn walk(schema: View<'_>, path: &str, causes: &mut Vec<Cause>) {
    one(schema, path, causes);
    let below = |id: NodeId| schema.graph.view(id);
    if let Some(items) = schema.node.items {
        walk(below(items), &format!("{path}.items"), causes);
    }
    for (name, id) in &*schema.node.properties {
        walk(below(*id), &format!("{path}.properties[{name}]"), causes);
    }
}

fn one(schema: View<'_>, path: &str, causes: &mut Vec<Cause>) {
    let Some(default) = schema.node.default.as_deref() else { return };
    let at = format!("{path}.default");
    let mut pruned = default.clone();
    if !prune::prune(&mut pruned, schema).is_empty() {
        causes.push(cause::invalid(&at, default, "must not have unknown fields"));
    }
    let mut found = validate::validate(default, None, schema);
    found.extend(list_type::validate(default, schema));
    if found.is_empty() {
        found = cel::validate(default, None, schema);
    }
    for mut cause in found {
        // Messages begin with the path inside the default, which here is the default's own.
        let inner = std::mem::take(&mut cause.field);
        let (inner, dot) = if inner == "<nil>" { (String::new(), "") } else { (inner, ".") };
        let dot = if inner.is_empty() || inner.starts_with('[') { "" } else { dot };
        cause.field = format!("{at}{dot}{inner}");
        causes.push(cause);
    }
}
