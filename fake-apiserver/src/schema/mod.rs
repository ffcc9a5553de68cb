//! Structural schemas: what the fields of a kind are, and what follows from that.
//!
//! One type, [`Schema`], serves the built-in kinds (OpenAPI v3 documents with `$ref`) and CustomResourceDefinitions
//! (`openAPIV3Schema`). All functions are pure; a schema is built once and shared.

mod components;

use std::sync::Arc;

use serde_json::Value;

pub use components::Components;

use crate::status::Cause;

/// What the fields of one kind are.
#[derive(Debug)]
pub struct Schema {}

impl Schema {
    /// The schema of one version of a CustomResourceDefinition, checked by the rules of structural schemas.
    ///
    /// `path` is where the schema stands, for instance `spec.validation.openAPIV3Schema`; causes begin with it.
    ///
    /// # Errors
    /// One cause for each rule that is broken, worded as `k8s.io/apiextensions-apiserver` does.
    pub fn from_crd(_openapi: &Value, _path: &str) -> Result<Self, Vec<Cause>> {
        Ok(Self {})
    }

    /// The schema of a built-in kind, for instance `io.k8s.api.core.v1.Pod`; it is built at its first use.
    pub fn from_openapi(_components: &Arc<Components>, _name: &str) -> Self {
        Self {}
    }

    /// Removes fields the schema does not know and returns their paths (`spec.foo[0].bar`).
    pub fn prune(&self, _value: &mut Value) -> Vec<String> {
        Vec::new()
    }

    /// Fills in the schema's defaults.
    pub fn default(&self, _value: &mut Value) {}

    /// Types, formats, bounds, list keys and CEL rules; with `old`, unchanged values are excused (ratcheting).
    pub fn validate(&self, _value: &Value, _old: Option<&Value>) -> Vec<Cause> {
        Vec::new()
    }
}
