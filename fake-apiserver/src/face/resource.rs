//! Requests for resources: HTTP to [`Request`], and the state machine's answer back.

use http::{Method, Response, header};

use super::body::ResponseBody;
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
    let mut request = request(path, &incoming)?;
    let log = request.resource == "pods" && request.subresource.as_deref() == Some("log");
    if log && request.group.is_empty() && request.verb == Verb::Get {
        // Whether the user may do this was asked before; what else it takes is asked by the server itself.
        request.user = User { agent: request.user.agent, ..User::default() };
        return logs::answer(server, &request).await;
    }
    let form = form(service, &request, &incoming)?;
    let mut response = server.ask(&request).await?;
    if request.group == "authentication.k8s.io" {
        review(service, &request, &mut response.reply);
    }
    let code = response.code;
    let mut answer = match response.reply {
        Reply::Object(stored) if form.is_whole_json() => render::bytes(
            http::StatusCode::from_u16(code).unwrap_or_default(),
            "application/json",
            stored.bytes.clone(),
        ),
        Reply::Object(stored) => render::value(code, &form.object(&stored.value()), form.accept.encoding),
        Reply::Value(value) => {
            let value = if form.accept.shape == Shape::Metadata { form.object(&value) } else { value };
            render::value(code, &value, form.accept.encoding)
        }
        Reply::List(list) => render::list(code, &list, &form),
        Reply::Watch(followed) => watch::answer(server, followed, form),
        Reply::Text(text) => render::text(code, text),
    };
    render::warn(answer.headers_mut(), &response.warnings);
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
    let printer = matches!(accept.shape, Shape::Table(_))
        .then(resource)
        .flatten()
        .map(|resource| Printer::new(&resource));
    Ok(Form { accept, include, printer, now: service.server().now() })
}

/// The request of a URL, method and body.
fn request(path: ResourcePath, incoming: &Incoming) -> Result<Request, Status> {
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
        user: incoming.user.clone(),
    };
    let content_type = incoming.header(&header::CONTENT_TYPE);
    match incoming.method {
        Method::PATCH => {
            let (kind, body) = negotiate::patch(&content_type, &incoming.body)?;
            if incoming.query.has("force") && kind != PatchType::Apply {
                let fault = "Forbidden: may not be specified for non-apply patch";
                let cause = Cause::new("FieldValueForbidden", "force", fault);
                return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
            }
            request.verb = Verb::Patch(kind);
            request.body = Some(body);
        }
        Method::POST | Method::PUT | Method::DELETE => {
            request.body = negotiate::body(&content_type, &incoming.body)?;
        }
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

fn verb(path: &ResourcePath, incoming: &Incoming) -> Result<Verb, Status> {
    let named = path.name.is_some();
    let not_allowed =
        || Status::method_not_allowed("the server does not allow this method on the requested resource");
    match incoming.method.as_str() {
        "GET" | "HEAD" if path.watch => Ok(Verb::Watch),
        // An object cannot be watched by its path, only its collection with a selector.
        "GET" | "HEAD" if incoming.query.flag("watch") && !named => Ok(Verb::Watch),
        "GET" | "HEAD" => Ok(if named { Verb::Get } else { Verb::List }),
        "POST" if named == path.subresource.is_some() => Ok(Verb::Create),
        "PUT" if named => Ok(Verb::Update),
        // The patch type comes from the content type.
        "PATCH" if named => Ok(Verb::Patch(PatchType::Json)),
        "DELETE" => Ok(if named { Verb::Delete } else { Verb::DeleteCollection }),
        _ => Err(not_allowed()),
    }
}
