//! The way of a request to its verb, as far as it is about who asks: authentication, impersonation, authorization.
//!
//! All of it comes before the body is read, as in the handler chain of `k8s.io/apiserver`.

use http::request::Parts;
use http::{HeaderMap, Method, header};

use super::auth::{bearer, impersonation};
use super::http::{HttpService, header_text};
use super::path::{Query, ResourcePath, Route};
use crate::request::{PatchType, Request, User, Verb};
use crate::server::Attributes;
use crate::status::Status;

/// Who a request is made by.
///
/// # Errors
/// 401 for credentials nobody knows, 403 when the user may not do this or not be whom they want to be.
pub(super) fn user(service: &HttpService, parts: &Parts, route: &Route) -> Result<User, Status> {
    let agent = header_text(&parts.headers, &header::USER_AGENT);
    let agent = agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
    let open = service.rbac() || matches!(route, Route::Version | Route::Health(_));
    let user = User { agent, ..authenticated(service, &parts.headers, open)? };
    let wanted = impersonation(&parts.headers)?;
    if !service.rbac() && wanted.is_none() {
        return Ok(user);
    }
    service.server().with(|api| {
        let ask = |user: &User| match route {
            Route::Resource(path) => Question::Request(Box::new(request(parts, path, user))),
            _ => Question::Path(user.clone()),
        };
        let user = match wanted {
            None => user,
            Some(wanted) => api.impersonate(&ask(&user).attributes(parts), &wanted)?,
        };
        match ask(&user) {
            Question::Request(request) => api.authorize(&request)?,
            Question::Path(user) => api.authorize_path(&user, parts.method.as_str(), parts.uri.path())?,
        }
        Ok(user)
    })
}

/// What is asked: about a resource or about a path.
enum Question {
    Request(Box<Request>),
    Path(User),
}

impl Question {
    fn attributes(&self, parts: &Parts) -> Attributes<'_> {
        match self {
            Self::Request(request) => Attributes::of(request),
            Self::Path(user) => {
                Attributes::path(user, &parts.method.as_str().to_ascii_lowercase(), parts.uri.path())
            }
        }
    }
}

/// By token, by certificate, or the administrator where no authentication was set up.
fn authenticated(service: &HttpService, headers: &HeaderMap, open: bool) -> Result<User, Status> {
    let header = header_text(headers, &header::AUTHORIZATION);
    let known = service.authentication();
    let account = || {
        let token = bearer(&header)?;
        let now = service.server().now();
        let found = service.server().with(|api| api.authenticate(now, token, &[]));
        found.ok().flatten().map(|found| found.user)
    };
    let by_header = known.and_then(|known| known.by_header(&header)).or_else(account);
    match (known, service.peer(), by_header) {
        (_, _, Some(user)) => Ok(user),
        (Some(_), Some(peer), None) => Ok(peer.clone()),
        (None, _, None) => Ok(User::default()),
        (Some(_), None, None) if open && header.is_empty() => Ok(User::anonymous()),
        (Some(_), None, None) => Err(Status::new(401, "Unauthorized", "Unauthorized")),
    }
}

/// What a URL and method ask for, without the body.
fn request(parts: &Parts, path: &ResourcePath, user: &User) -> Request {
    let query = Query::parse(parts.uri.query());
    let named = path.name.is_some();
    let verb = match parts.method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch(PatchType::Merge),
        Method::DELETE if named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ if named => Verb::Get,
        _ if query.flag("watch") => Verb::Watch,
        _ => Verb::List,
    };
    let mut request = Request {
        verb,
        group: path.group.clone(),
        version: path.version.clone(),
        resource: path.resource.clone(),
        subresource: path.subresource.clone(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        user: user.clone(),
        ..Request::default()
    };
    request.params.field_selector = query.text("fieldSelector");
    request
}
