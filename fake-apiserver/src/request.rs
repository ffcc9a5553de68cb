//! What a client asks of the API server, after the face has parsed it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::face::LogOptions;

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
    /// What a strict decoder has against the text of the body, for instance `duplicate field "data.a"`.
    pub body_faults: Vec<String>,
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
    /// `container` of `pods/log`, `pods/exec` and `pods/attach`; may be left out where the pod has only one.
    pub container: Option<String>,
    /// What else `pods/log` is asked for.
    pub log: LogOptions,
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
    /// What tells users of the same name apart; often empty.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else is known, for instance the pod a token belongs to.
    pub extra: BTreeMap<String, Vec<String>>,
    /// First part of `User-Agent`: the field manager of requests that name none.
    pub agent: String,
}

impl Default for User {
    fn default() -> Self {
        Self {
            name: "admin".into(),
            uid: String::new(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            extra: BTreeMap::new(),
            agent: "unknown".into(),
        }
    }
}

impl User {
    /// The name of users that have shown no credentials.
    pub const ANONYMOUS: &'static str = "system:anonymous";

    /// A user in some groups, and in that of all who have shown credentials.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// A request without credentials.
    pub fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: Self::ANONYMOUS.into(), groups, agent: String::new(), ..Self::default() }
    }
}

/// Building requests: `Request::get("apps/v1", "deployments").namespace("a").name("b")`.
impl Request {
    /// A request for a resource; `api_version` is `v1` or `group/version`.
    pub fn new(verb: Verb, api_version: &str, resource: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            verb,
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            ..Self::default()
        }
    }

    /// Read one object.
    pub fn get(api_version: &str, resource: &str) -> Self {
        Self::new(Verb::Get, api_version, resource)
    }

    /// Read a collection.
    pub fn list(api_version: &str, resource: &str) -> Self {
        Self::new(Verb::List, api_version, resource)
    }

    /// Follow a collection.
    pub fn watch(api_version: &str, resource: &str) -> Self {
        Self::new(Verb::Watch, api_version, resource)
    }

    /// Create an object; its namespace is taken from the body if the body has one.
    pub fn create(api_version: &str, resource: &str, body: Value) -> Self {
        Self::new(Verb::Create, api_version, resource).with_body_place(body, false)
    }

    /// Replace an object; namespace and name are taken from the body if it has them.
    pub fn update(api_version: &str, resource: &str, body: Value) -> Self {
        Self::new(Verb::Update, api_version, resource).with_body_place(body, true)
    }

    /// Change an object.
    pub fn patch(patch_type: PatchType, api_version: &str, resource: &str, body: Value) -> Self {
        Self::new(Verb::Patch(patch_type), api_version, resource).body(body)
    }

    /// Server-side apply; namespace and name are taken from the body.
    pub fn apply(manager: &str, api_version: &str, resource: &str, body: Value) -> Self {
        Self::new(Verb::Patch(PatchType::Apply), api_version, resource)
            .with_body_place(body, true)
            .manager(manager)
    }

    /// Delete one object.
    pub fn delete(api_version: &str, resource: &str) -> Self {
        Self::new(Verb::Delete, api_version, resource)
    }

    /// Delete a collection.
    pub fn delete_collection(api_version: &str, resource: &str) -> Self {
        Self::new(Verb::DeleteCollection, api_version, resource)
    }

    /// Sets the namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the object's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the subresource.
    #[must_use]
    pub fn subresource(mut self, subresource: &str) -> Self {
        self.subresource = Some(subresource.into());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Sets `labelSelector`.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        self.params.label_selector = Some(selector.into());
        self
    }

    /// Sets `fieldSelector`.
    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        self.params.field_selector = Some(selector.into());
        self
    }

    /// Sets `limit`.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.params.limit = limit;
        self
    }

    /// Sets `continue`.
    #[must_use]
    pub fn continue_from(mut self, token: &str) -> Self {
        self.params.continue_token = Some(token.into());
        self
    }

    /// Sets `resourceVersion`.
    #[must_use]
    pub fn resource_version(mut self, version: impl Into<RequestedVersion>) -> Self {
        self.params.resource_version = Some(version.into().0);
        self
    }

    /// Sets `resourceVersionMatch`.
    #[must_use]
    pub fn resource_version_match(mut self, how: &str) -> Self {
        self.params.resource_version_match = Some(how.into());
        self
    }

    /// Sets `fieldManager`.
    #[must_use]
    pub fn manager(mut self, manager: &str) -> Self {
        self.params.field_manager = Some(manager.into());
        self
    }

    /// Sets `force`.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.params.force = true;
        self
    }

    /// Sets `dryRun=All`.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.params.dry_run = true;
        self
    }

    /// Sets `fieldValidation`.
    #[must_use]
    pub fn field_validation(mut self, validation: FieldValidation) -> Self {
        self.params.field_validation = validation;
        self
    }

    /// Sets `propagationPolicy`: `Foreground`, `Background` or `Orphan`.
    #[must_use]
    pub fn propagation(mut self, policy: &str) -> Self {
        self.params.propagation_policy = Some(policy.into());
        self
    }

    /// Sets `gracePeriodSeconds`.
    #[must_use]
    pub fn grace(mut self, seconds: i64) -> Self {
        self.params.grace_period_seconds = Some(seconds);
        self
    }

    /// Makes a delete conditional on the object's uid.
    #[must_use]
    pub fn only_uid(mut self, uid: &str) -> Self {
        let body = self.body.get_or_insert_with(|| json!({}));
        body["preconditions"]["uid"] = json!(uid);
        self
    }

    /// Sets who asks.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.user = user;
        self
    }

    /// The API version as it is written in objects: `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    fn with_body_place(mut self, body: Value, named: bool) -> Self {
        self.namespace = body["metadata"]["namespace"].as_str().map(str::to_owned);
        if named {
            self.name = body["metadata"]["name"].as_str().map(str::to_owned);
        }
        self.body = Some(body);
        self
    }
}

/// A resource version as a request writes it, from a number or from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedVersion(pub String);

impl From<u64> for RequestedVersion {
    fn from(version: u64) -> Self {
        Self(version.to_string())
    }
}

impl From<&str> for RequestedVersion {
    fn from(version: &str) -> Self {
        Self(version.into())
    }
}

impl From<String> for RequestedVersion {
    fn from(version: String) -> Self {
        Self(version)
    }
}
