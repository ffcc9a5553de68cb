//! One served resource.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::{Components, Schema};
use crate::storage::{GroupResource, SelectableField};

/// One served (group, version, plural), and everything the server knows about it.
#[derive(Debug, Default)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version, for instance `v1`.
    pub version: String,
    /// Plural name.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Kind of the collection.
    pub list_kind: String,
    /// Short names, for instance `po`.
    pub short_names: Vec<String>,
    /// Categories, for instance `all`.
    pub categories: Vec<String>,
    /// Objects live in namespaces.
    pub namespaced: bool,
    /// Verbs as discovery names them.
    pub verbs: Vec<String>,
    /// Subresources, by name.
    pub subresources: Vec<Subresource>,
    /// Where the objects are kept; kinds served under two groups share it.
    pub storage: GroupResource,
    /// The `apiVersion` objects are kept in.
    pub storage_api_version: String,
    /// The fields of the kind.
    pub schema: SchemaSource,
    /// Columns of `kubectl get`.
    pub columns: Vec<Column>,
    /// What field selectors may name besides `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Arc<[SelectableField]>,
    /// Paths of the scale subresource.
    pub scale: Option<ScalePaths>,
    /// Changes of the desired state are counted in `metadata.generation`.
    pub counts_generation: bool,
    /// Warning sent to clients of a deprecated version.
    pub deprecation: Option<String>,
    /// What is known only of custom resources.
    pub custom: Option<Custom>,
}

/// What is known only of custom resources.
#[derive(Debug)]
pub struct Custom {
    /// Name of the CustomResourceDefinition.
    pub definition: String,
    /// Which edition of the definition this is: objects written under another are defaulted and pruned when read.
    pub edition: u64,
    /// `openAPIV3Schema` as it was written.
    pub openapi: Arc<Value>,
    /// `spec.conversion.webhook`, where a webhook converts objects from version to version.
    pub conversion: Option<Arc<Value>>,
}

/// One subresource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subresource {
    /// For instance `status`.
    pub name: String,
    /// Group of its kind: `autoscaling` for `scale`.
    pub group: String,
    /// Version of its kind.
    pub version: String,
    /// Kind of its body.
    pub kind: String,
    /// Verbs as discovery names them.
    pub verbs: Vec<String>,
}

/// A column of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For instance `name`.
    pub format: String,
    /// For people.
    pub description: String,
    /// 0 is always shown, more only with `-o wide`.
    pub priority: i32,
    /// Where the cell comes from; empty for the columns of built-in kinds.
    pub json_path: String,
}

/// Paths of the scale subresource, without the leading dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScalePaths {
    /// `spec.replicas`.
    pub spec_replicas: String,
    /// `status.replicas`.
    pub status_replicas: String,
    /// Path of the selector: text for custom resources, an object for built-in kinds.
    pub selector: Option<String>,
}

/// Where the schema of a resource comes from.
#[derive(Debug, Default)]
pub enum SchemaSource {
    /// Nothing is known: every field is kept.
    #[default]
    None,
    /// From a CustomResourceDefinition.
    Custom(Arc<Schema>),
    /// From the OpenAPI definitions of the built-in kinds, built at the first use.
    BuiltIn {
        /// The definitions.
        components: Arc<Components>,
        /// For instance `io.k8s.api.core.v1.Pod`.
        definition: String,
        /// The schema, once used.
        built: OnceLock<Arc<Schema>>,
    },
}

impl Resource {
    /// `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The schema, if there is one.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        match &self.schema {
            SchemaSource::None => None,
            SchemaSource::Custom(schema) => Some(schema),
            SchemaSource::BuiltIn { components, definition, built } => {
                Some(built.get_or_init(|| Arc::new(Schema::from_openapi(components, definition))))
            }
        }
    }

    /// Whether a subresource of this name is served.
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|sub| sub.name == name)
    }

    /// Whether a verb is served, as discovery names it.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// Whether the status is written through its own endpoint only.
    pub fn has_status(&self) -> bool {
        self.has_subresource("status")
    }

    /// The edition of the schema objects are written under; 0 for built-in kinds.
    pub fn edition(&self) -> u64 {
        self.custom.as_ref().map_or(0, |custom| custom.edition)
    }

    /// Whether a field selector may name `field`.
    pub fn selects_by(&self, field: &str) -> bool {
        field == "metadata.name"
            || (field == "metadata.namespace" && (self.namespaced || self.custom.is_none()))
            || self.selectable_fields.iter().any(|f| f.name() == field)
    }
}
