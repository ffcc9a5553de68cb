//! What a client asks of the API server, after the face has parsed it.

use serde_json::Value;

/// One request to the API.
///
/// Faces build it from HTTP; tests and in-process stores build it directly.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What is to be done.
    pub verb: Verb,
    /// API group; empty for the core group.
    pub group: String,
    /// API version, for instance `v1`.
    pub version: String,
    /// Plural resource name, for instance `pods`.
    pub resource: String,
    /// Subresource, for instance `status`.
    pub subresource: Option<String>,
    /// Namespace, or `None` for cluster scope and for requests across all namespaces.
    pub namespace: Option<String>,
    /// Object name, where the verb names one object.
    pub name: Option<String>,
    /// Query parameters.
    pub params: Params,
    /// The decoded body; for a JSON patch the array of operations.
    pub body: Option<Value>,
    /// Who asks.
    pub user: User,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Read one object.
    #[default]
    Get,
    /// Read a collection.
    List,
    /// Follow a collection.
    Watch,
    /// Create an object (POST).
    Create,
    /// Replace an object (PUT).
    Update,
    /// Change an object (PATCH).
    Patch(PatchType),
    /// Delete one object.
    Delete,
    /// Delete the objects of a collection.
    DeleteCollection,
}

/// The media type of a PATCH body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PatchType {
    /// RFC 6902, `application/json-patch+json`.
    Json,
    /// RFC 7386, `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// Server-side apply, `application/apply-patch+yaml`.
    Apply,
}

/// Query parameters, parsed; absent ones are `None`, `false` or empty.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// `labelSelector`.
    pub label_selector: Option<String>,
    /// `fieldSelector`.
    pub field_selector: Option<String>,
    /// `resourceVersion` as given.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch` as given.
    pub resource_version_match: Option<String>,
    /// `limit`; 0 means none.
    pub limit: usize,
    /// `continue`.
    pub continue_token: Option<String>,
    /// `allowWatchBookmarks`.
    pub allow_watch_bookmarks: bool,
    /// `sendInitialEvents`.
    pub send_initial_events: Option<bool>,
    /// `timeoutSeconds`.
    pub timeout_seconds: Option<u64>,
    /// `fieldManager`.
    pub field_manager: Option<String>,
    /// `force`.
    pub force: bool,
    /// `dryRun=All`.
    pub dry_run: bool,
    /// `fieldValidation`.
    pub field_validation: FieldValidation,
    /// `gracePeriodSeconds` of the query; the body of a DELETE wins.
    pub grace_period_seconds: Option<i64>,
    /// `propagationPolicy` of the query; the body of a DELETE wins.
    pub propagation_policy: Option<String>,
}

/// What happens to fields that the schema does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Dropped in silence.
    Ignore,
    /// Dropped with a `Warning` header.
    #[default]
    Warn,
    /// Refused.
    Strict,
}

/// The identity behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User name, for instance `system:serviceaccount:ns:default`.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
    /// First part of `User-Agent`: the field manager of requests that name none.
    pub agent: String,
}

impl Default for User {
    fn default() -> Self {
        Self { name: "admin".into(), groups: vec!["system:masters".into()], agent: "unknown".into() }
    }
}
