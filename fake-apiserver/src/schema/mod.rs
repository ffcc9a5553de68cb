//! Structural schemas: what the fields of a kind are, and what follows from that.
//!
//! One type, [`Schema`], serves the built-in kinds (OpenAPI v3 documents with `$ref`) and CustomResourceDefinitions
//! (`openAPIV3Schema`). All functions are pure; a schema is built once and shared.

mod build;
pub(crate) mod cause;
mod cel;
mod cel_depth;
mod cel_value;
mod check_defaults;
mod components;
mod default;
mod expression;
mod forbidden;
mod format;
mod go_struct;
mod go_type;
mod list_type;
pub(crate) mod messages;
pub(crate) mod node;
mod object_meta;
mod path;
mod prune;
mod quantities;
mod structural;
#[cfg(test)]
pub(crate) mod tests;
mod validate;

use std::sync::{Arc, OnceLock};

use serde_json::Value;

pub use components::Components;
pub(crate) use expression::{CelValue, Expression, Variables};
pub(crate) use path::Path;

pub(crate) use go_type::{Misfit, name as go_name};

use crate::status::Cause;
use node::{Graph, View};

/// What the fields of one kind are.
#[derive(Debug)]
pub struct Schema {
    graph: OnceLock<Graph>,
    source: Option<(Arc<Components>, String)>,
}

impl Schema {
    /// The schema of one version of a CustomResourceDefinition, checked by the rules of structural schemas.
    ///
    /// `path` is where the schema stands, for instance `spec.validation.openAPIV3Schema`; causes begin with it.
    ///
    /// # Errors
    /// One cause for each rule that is broken, worded as `k8s.io/apiextensions-apiserver` does.
    pub fn from_crd(openapi: &Value, path: &str) -> Result<Self, Vec<Cause>> {
        let causes = structural::check(openapi, path);
        if !causes.is_empty() {
            return Err(causes);
        }
        let graph = build::custom(openapi);
        let causes = check_defaults::check(&graph, path);
        if causes.is_empty() { Ok(Self { graph: OnceLock::from(graph), source: None }) } else { Err(causes) }
    }

    /// The schema of a built-in kind, for instance `io.k8s.api.core.v1.Pod`; it is built at its first use.
    ///
    /// A name that the components do not define gives a schema that accepts everything.
    pub fn from_openapi(components: &Arc<Components>, name: &str) -> Self {
        Self { graph: OnceLock::new(), source: Some((Arc::clone(components), name.into())) }
    }

    /// Removes fields the schema does not know and returns their paths (`spec.foo[0].bar`), sorted.
    ///
    /// The real server warns or refuses with `unknown field "spec.foo"`.
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        self.root().map(|root| prune::prune(value, root)).unwrap_or_default()
    }

    /// Fills in the schema's defaults, and drops nulls where the schema does not allow them.
    pub fn default(&self, value: &mut Value) {
        if let Some(root) = self.root() {
            default::default(value, root);
        }
    }

    /// Drops the optional lists and maps of a built-in kind that are empty: Go does not write them. Says whether any was.
    pub(crate) fn drop_empty(&self, value: &mut Value) -> bool {
        match self.root().filter(|root| root.graph.built_in && default::has_empty(value, *root, true)) {
            Some(root) => {
                default::drop_empty(value, root, true);
                true
            }
            None => false,
        }
    }

    /// Whether there is any.
    pub(crate) fn has_empty(&self, value: &Value) -> bool {
        self.root().is_some_and(|root| root.graph.built_in && default::has_empty(value, root, true))
    }

    /// Types, formats, bounds, list keys and CEL rules; with `old`, unchanged values are excused (ratcheting).
    pub fn validate(&self, value: &Value, old: Option<&Value>) -> Vec<Cause> {
        self.validate_with(value, old, Vec::new())
    }

    /// The same, with causes that are found after those of types and before those of lists and rules.
    pub(crate) fn validate_with(&self, value: &Value, old: Option<&Value>, more: Vec<Cause>) -> Vec<Cause> {
        let Some(root) = self.root() else { return more };
        let mut causes = validate::validate(value, old, root);
        causes.extend(more);
        if old.is_none_or(|old| list_type::validate(old, root).is_empty()) {
            causes.extend(list_type::validate(value, root));
        }
        if self.graph().has_rules {
            if causes.iter().any(blocks_rules) {
                causes.push(cause::invalid("<nil>", &Value::Null, RULES_NOT_CHECKED));
            } else {
                causes.extend(cel::validate(value, old, root));
            }
        }
        causes
    }

    /// The first value that the Go types of a built-in kind could not hold.
    pub(crate) fn misfit(&self, value: &Value) -> Option<Misfit> {
        self.root().filter(|root| root.graph.built_in).and_then(|root| go_type::misfit(value, root))
    }

    /// Decodes the nulls of an object of a built-in kind: a field of a struct is away then, an item holds its type's zero.
    pub(crate) fn decode_nulls(&self, value: &mut Value) {
        if let Some(root) = self.root().filter(|root| root.graph.built_in) {
            go_type::decode_nulls(value, root);
        }
    }

    /// Brings an object of a built-in kind through its Go type: what this leaves out goes, what it always has comes.
    pub(crate) fn through_go(&self, value: &mut Value) {
        if let Some(root) = self.root().filter(|root| root.graph.built_in) {
            go_struct::pass(value, root);
        }
    }

    /// Writes the quantities of a built-in kind in their canonical unit.
    pub(crate) fn write_quantities(&self, value: &mut Value) {
        if let Some(root) = self.root() {
            quantities::write(value, root);
        }
    }

    /// The root of the graph, for walks of other modules.
    pub(crate) fn root(&self) -> Option<View<'_>> {
        self.graph().root()
    }

    fn graph(&self) -> &Graph {
        self.graph.get_or_init(|| match &self.source {
            Some((components, name)) => build::built_in(components, name),
            None => Graph::default(),
        })
    }
}

const RULES_NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; \
                                 correct the existing errors to complete validation";

/// Rules assume values of the right types and sizes.
fn blocks_rules(cause: &Cause) -> bool {
    matches!(
        cause.reason.as_str(),
        "FieldValueNotSupported"
            | "FieldValueRequired"
            | "FieldValueTooLong"
            | "FieldValueTooMany"
            | "FieldValueTypeInvalid"
    )
}
