//! Requests for resources: HTTP to [`Request`], and the state machine's answer back.

use http::{Method, Response, header};

use super::body::ResponseBody;
use super::decode::{self, Wanted};
use super::http::{HttpService, Incoming};
use super::negotiate::{self, Shape};
use super::path::ResourcePath;
use super::render::{self, Form};
use super::table::{Include, Printer};
use super::{logs, watch};
use crate::request::{PatchType, Request, User, Verb};
use crate::response::Reply;
use crate::server::{ISSUER, no_such_resource, user_info};
use crate::status::{Cause, Status};

pub(super) async fn answer(
    service: &HttpService,
    path: ResourcePath,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Status> {
    let server = service.server();
    let mut request = request(service, path, &incoming)?;
    let log = request.resource == "pods" && request.subresource.as_deref() == Some("log");
    if log && request.group.is_empty() && request.verb == Verb::Get {
        // Whether the user may do this was asked before; what else it takes is asked by the server itself.
        request.user = User { agent: request.user.agent, ..User::default() };
        incoming.query.check_log_options(request.name.as_deref().unwrap_or_default())?;
        return logs::answer(server, &request).await;
    }
    let form = form(service, &request, &incoming)?;
    let mut response = match server.ask(&request).await {
        Ok(response) => response,
        Err(refusal) => return refused(service, &request, refusal, form.accept.encoding),
    };
    if request.group == "authentication.k8s.io" {
        review(service, &request, &mut response.reply);
    }
    check_shape(service, &request, &response.reply, form.accept.shape)?;
    let code = response.code;
    let mut answer = match response.reply {
        Reply::Object(stored) if form.is_whole_json() => render::bytes(
            http::StatusCode::from_u16(code).unwrap_or_default(),
            "application/json",
            [&stored.bytes[..], b"\n"].concat(),
        ),
        Reply::Object(stored) => render::value(code, &form.object(&stored.value()), form.accept.encoding),
        Reply::Value(value) => {
            // A Status has no other form.
            let is_table = form.table().is_some() && value["kind"] != "Status";
            let other = form.accept.shape == Shape::Metadata || is_table;
            let value = if other { form.object(&value) } else { value };
            render::value(code, &value, form.accept.encoding)
        }
        Reply::List(list) => render::list(code, &list, &form),
        Reply::Watch(followed) => watch::answer(server, followed, form),
        Reply::Text(text) => render::text(code, text),
    };
    render::warn(answer.headers_mut(), &response.warnings);
    Ok(answer)
}

/// An object cannot be shown as a list of metadata, nor a list as one object.
fn check_shape(service: &HttpService, request: &Request, reply: &Reply, shape: Shape) -> Result<(), Status> {
    let (wanted, is) = match (shape, reply) {
        (Shape::Metadata, Reply::List(_)) => ("PartialObjectMetadata", "is a list"),
        (Shape::MetadataList, Reply::Object(_) | Reply::Value(_)) => {
            ("PartialObjectMetadataList", "is not a list")
        }
        _ => return Ok(()),
    };
    let kind = service.server().with(|api| {
        let resource = api.registry().get(&request.group, &request.version, &request.resource)?;
        Some((resource.kind.clone(), resource.custom.is_some()))
    });
    let list = if matches!(reply, Reply::List(_)) { "List" } else { "" };
    let go_type = match kind {
        Some((kind, false)) => {
            let package = request.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
            format!("{package}.{kind}{list}")
        }
        _ => format!("unstructured.Unstructured{list}"),
    };
    let said = format!("you requested {wanted}, but the requested object {is} (*{go_type})");
    Err(Status::new(406, "NotAcceptable", said))
}

/// A refusal; a version that is deprecated says so with this, too.
fn refused(
    service: &HttpService,
    request: &Request,
    refusal: Status,
    encoding: negotiate::Encoding,
) -> Result<Response<ResponseBody>, Status> {
    if refusal.code == 405 && refusal.details.kind.is_empty() {
        // There is no such endpoint, which could have said it.
        return Err(refusal);
    }
    let deprecation = service.server().with(|api| {
        let resource = api.registry().get(&request.group, &request.version, &request.resource)?;
        resource.deprecation.clone()
    });
    let Some(deprecation) = deprecation else { return Err(refusal) };
    let mut answer = render::status(&refusal, encoding);
    render::warn(answer.headers_mut(), &[deprecation]);
    Ok(answer)
}

/// TokenReview of a configured token, which only this face knows.
fn review(service: &HttpService, request: &Request, reply: &mut Reply) {
    let (Reply::Value(review), Some(known)) = (reply, service.authentication()) else { return };
    if request.resource != "tokenreviews" {
        return;
    }
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    if let Some(user) = known.by_header(&format!("Bearer {token}")) {
        let user = user_info(&user);
        review["status"] = serde_json::json!({"authenticated": true, "audiences": [ISSUER], "user": user});
    }
}

fn form(service: &HttpService, request: &Request, incoming: &Incoming) -> Result<Form, Status> {
    let accept = negotiate::accept(&incoming.header(&header::ACCEPT))?;
    let include = Include::parse(incoming.query.text("includeObject").as_deref())?;
    let resource = || {
        let found = service
            .server()
            .with(|api| api.registry().get(&request.group, &request.version, &request.resource).cloned());
        found.filter(|_| request.subresource.is_none() || request.subresource.as_deref() == Some("status"))
    };
    let printer = || match request.subresource.as_deref() {
        Some("scale") => Some(Printer::of_scales()),
        _ => resource().map(|resource| Printer::new(&resource)),
    };
    let printer = matches!(accept.shape, Shape::Table(_)).then(printer).flatten();
    Ok(Form { accept, include, printer, now: service.server().now() })
}

/// The request of a URL, method and body.
fn request(service: &HttpService, path: ResourcePath, incoming: &Incoming) -> Result<Request, Status> {
    if path.rest.is_some() && path.subresource.as_deref() != Some("proxy") {
        return Err(no_such_resource());
    }
    let mut request = Request {
        verb: verb(&path, incoming)?,
        group: path.group,
        version: path.version,
        resource: path.resource,
        subresource: path.subresource,
        namespace: path.namespace,
        name: path.name,
        params: incoming.query.params(&incoming.method)?,
        body: None,
        body_faults: Vec::new(),
        user: incoming.user.clone(),
    };
    let content_type = incoming.header(&header::CONTENT_TYPE);
    match incoming.method {
        Method::PATCH => {
            let (kind, body) = decode::patch(&content_type, &incoming.body)?;
            if incoming.query.has("force") && kind != PatchType::Apply {
                let fault = "Forbidden: may not be specified for non-apply patch";
                let cause = Cause::new("FieldValueForbidden", "force", fault);
                return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
            }
            request.verb = Verb::Patch(kind);
            (request.body, request.body_faults) = (Some(body.value), body.faults);
        }
        Method::POST | Method::PUT => {
            // What is not served has no kind; the state machine says so.
            if let Some(wanted) = wanted(service, &request) {
                let body = decode::object(&content_type, &incoming.body, &wanted)?;
                (request.body, request.body_faults) = (Some(body.value), body.faults);
            }
        }
        Method::DELETE => request.body = decode::optional(&content_type, &incoming.body)?,
        _ => {}
    }
    if request.verb == Verb::Watch
        && let Some(name) = request.name.take()
    {
        let field = format!("metadata.name={name}");
        let selector = request.params.field_selector.take();
        request.params.field_selector =
            Some(selector.map_or_else(|| field.clone(), |given| format!("{given},{field}")));
    }
    Ok(request)
}

/// The kind that the endpoint of a write takes; `None` where there is no such endpoint.
fn wanted(service: &HttpService, request: &Request) -> Option<Wanted> {
    let known = |api: &mut crate::ApiServer| {
        let resource = api.registry().get(&request.group, &request.version, &request.resource)?;
        let whole = || Wanted {
            kind: resource.kind.clone(),
            api_version: resource.custom.as_ref().map(|_| resource.api_version()),
        };
        match request.subresource.as_deref() {
            None => Some(whole()),
            Some(name) => {
                let sub = resource.subresources.iter().find(|sub| sub.name == name)?;
                let same = sub.kind == resource.kind;
                Some(if same { whole() } else { Wanted { kind: sub.kind.clone(), api_version: None } })
            }
        }
    };
    service.server().with(known)
}

fn verb(path: &ResourcePath, incoming: &Incoming) -> Result<Verb, Status> {
    let named = path.name.is_some();
    let not_allowed =
        || Status::method_not_allowed("the server does not allow this method on the requested resource");
    match incoming.method.as_str() {
        "GET" if path.watch => Ok(Verb::Watch),
        // An object cannot be watched by its path, only its collection with a selector.
        "GET" if incoming.query.flag("watch") && !named => Ok(Verb::Watch),
        "GET" => Ok(if named { Verb::Get } else { Verb::List }),
        "POST" if named == path.subresource.is_some() => Ok(Verb::Create),
        "PUT" if named => Ok(Verb::Update),
        // The patch type comes from the content type.
        "PATCH" if named => Ok(Verb::Patch(PatchType::Json)),
        "DELETE" => Ok(if named { Verb::Delete } else { Verb::DeleteCollection }),
        _ => Err(not_allowed()),
    }
}
