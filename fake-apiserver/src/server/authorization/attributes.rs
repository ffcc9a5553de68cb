//! What is asked of the authorizer, and the words in which it says no.
//!
//! Verbs and names follow `k8s.io/apiserver/pkg/endpoints/request` (RequestInfo), the words
//! `pkg/endpoints/handlers/responsewriters` (forbiddenMessage).

use crate::request::{Request, User};
use crate::server::verb_name;
use crate::status::Status;

/// One question: may this user do this?
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// Who.
    pub user: &'a User,
    /// A verb as roles name it, for instance `list`; for a path the HTTP method in small letters.
    pub verb: String,
    /// What it would be done to.
    pub target: Target,
}

/// What something would be done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Objects.
    Resource {
        /// API group; empty for the core group.
        group: String,
        /// Plural name.
        resource: String,
        /// Subresource, or empty.
        subresource: String,
        /// Namespace, or empty for all of them and for cluster scope.
        namespace: String,
        /// Name, or empty.
        name: String,
    },
    /// A path that is no resource, for instance `/version`.
    Path(String),
}

impl<'a> Attributes<'a> {
    /// What a request asks.
    pub fn of(request: &'a Request) -> Self {
        // As in its URL: a namespace lies within itself.
        let own = request.group.is_empty() && request.resource == "namespaces";
        let namespace = match (&request.namespace, &request.name) {
            (None, Some(name)) if own => name.clone(),
            (namespace, _) => namespace.clone().unwrap_or_default(),
        };
        let name = request.name.clone().or_else(|| selected_name(request)).unwrap_or_default();
        Self {
            user: &request.user,
            verb: verb_name(request.verb).into(),
            target: Target::Resource {
                group: request.group.clone(),
                resource: request.resource.clone(),
                subresource: request.subresource.clone().unwrap_or_default(),
                namespace,
                name,
            },
        }
    }

    /// A question about a path that is no resource.
    pub fn path(user: &'a User, verb: &str, path: &str) -> Self {
        Self { user, verb: verb.into(), target: Target::Path(path.into()) }
    }

    /// 403, with what the authorizer has to add.
    pub(super) fn forbidden(&self, reason: &str) -> Status {
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let (user, verb) = (&safe(&self.user.name), &safe(&self.verb));
        let (group, resource, subresource, namespace, name) = match &self.target {
            Target::Path(path) => {
                let said = format!("forbidden: User {user:?} cannot {verb} path {:?}{why}", safe(path));
                return Status::new(403, "Forbidden", said);
            }
            Target::Resource { group, resource, subresource, namespace, name } => {
                (group, resource, subresource, namespace, name)
            }
        };
        let whole =
            if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {namespace:?}")
        };
        let said =
            format!("User {user:?} cannot {verb} resource {whole:?} in API group {group:?} {place}{why}");
        let mut status = Status::forbidden(group, resource, name, &said);
        if name.is_empty() {
            let qualified = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
            status.message = format!("{qualified} is forbidden: {said}");
        }
        status
    }
}

/// Refusals must not look like HTML.
fn safe(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A collection that is narrowed to one name counts as a request for this name.
fn selected_name(request: &Request) -> Option<String> {
    use crate::request::Verb;
    if !matches!(request.verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
        return None;
    }
    let selector = request.params.field_selector.as_deref()?;
    let mut requirements = selector.split(',');
    requirements.find_map(|part| {
        let (field, name) = part.split_once('=')?;
        let name = name.strip_prefix('=').unwrap_or(name);
        (field == "metadata.name" && !name.is_empty()).then(|| name.to_owned())
    })
}
