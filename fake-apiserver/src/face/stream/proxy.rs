//! `pods/proxy` and `services/proxy`: HTTP to a pod, with every method, streamed both ways, upgrades included.
//!
//! Where it goes and what is refused is as in `ResourceLocation` of the real server's pods and services; what is changed
//! on the way as in `k8s.io/apimachinery/pkg/util/proxy`.

use std::sync::Arc;

use futures::StreamExt as _;
use http::request::Parts;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, Response, StatusCode, Uri, Version,
};
use http::{header, uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::super::Server;
use super::super::body::ResponseBody;
use super::super::http::HttpService;
use super::super::node::{Door, NodeProxy};
use super::super::path::{ResourcePath, after_subresource};
use super::upgrade::Changeable;
use super::{Body, Kind, connect, html, identity, node_of};
use crate::request::{Request, User, Verb};
use crate::response::Reply;
use crate::status::Status;

/// Headers that concern one connection alone (RFC 9110, section 7.6.1).
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// What browsers would take as the API server's own word.
static CORS: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Where a request goes.
struct Target {
    node: Arc<dyn NodeProxy>,
    pod: Value,
    port: u16,
}

pub(super) async fn answer(
    service: &HttpService,
    kind: Kind,
    path: ResourcePath,
    mut parts: Parts,
    body: Body,
    user: User,
) -> Result<Response<ResponseBody>, Status> {
    let name = path.name.clone().unwrap_or_default();
    let (scheme, name, port) = split(&name).ok_or_else(|| {
        let what = if kind == Kind::PodProxy { "pod" } else { "service" };
        Status::bad_request(format!("invalid {what} request {name:?}"))
    })?;
    let path = ResourcePath { name: Some(name), ..path };
    let server = service.server();
    let target = match kind {
        Kind::PodProxy => pod_target(server, path, &port, &parts.method, user)?,
        _ => service_target(server, path, &port, &parts.method, user)?,
    };
    if scheme == "https" {
        return Err(Status::not_modelled("proxies speak plain HTTP to pods, not HTTPS"));
    }
    let own = parts.uri.path().to_owned();
    let rest = after_subresource(&own);
    let prefix = own.strip_suffix(rest).unwrap_or(&own).to_owned();
    let upgrading = parts.headers.contains_key(header::UPGRADE);
    if rest.is_empty() && !upgrading && matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(redirect(&prefix, parts.uri.query()));
    }
    let change = if upgrading { Some(Changeable::take(&mut parts, service.connections())?) } else { None };
    let request = outgoing(parts, body, rest, &prefix)?;
    let asked = request.headers().get(header::HOST).cloned();
    let (response, connection) = send(&target, request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(change) = change
    {
        return Ok(changed(change, response));
    }
    incoming(response, &prefix, asked.as_ref(), connection).await
}

/// `name`, `name:port` or `scheme:name:port` (`SplitSchemeNamePort` of the real server).
fn split(id: &str) -> Option<(String, String, String)> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    let known = matches!(scheme, "" | "http" | "https") && !name.is_empty();
    known.then(|| (scheme.to_owned(), name.to_owned(), port.to_owned()))
}

fn pod_target(
    server: &Server,
    path: ResourcePath,
    port: &str,
    method: &Method,
    user: User,
) -> Result<Target, Status> {
    let pod = connect(server, path, method, user)?;
    let mut stated = pod["spec"]["containers"].as_array().into_iter().flatten();
    let stated = stated.find_map(|container| container["ports"][0]["containerPort"].as_u64());
    let port = if port.is_empty() { stated.unwrap_or(80).to_string() } else { port.to_owned() };
    if pod["status"]["podIP"].as_str().is_none_or(str::is_empty) {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = port.parse().map_err(|_| {
        Status::new(
            503,
            "ServiceUnavailable",
            format!("error trying to reach service: unknown port {port:?}"),
        )
    })?;
    Ok(Target { node: node_of(server, &pod)?, pod, port })
}

fn service_target(
    server: &Server,
    path: ResourcePath,
    port: &str,
    method: &Method,
    user: User,
) -> Result<Target, Status> {
    let unavailable = |text: String| Status::new(503, "ServiceUnavailable", text);
    let namespace = path.namespace.clone().unwrap_or_default();
    let (name, id) = (path.name.clone().unwrap_or_default(), path.name.clone().unwrap_or_default());
    let id = if port.is_empty() { id } else { format!("{id}:{port}") };
    let service = connect(server, path, method, user)?;
    let port_name = match port.parse::<i64>() {
        Ok(number) => {
            let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let found = ports.find(|port| port["port"].as_i64() == Some(number));
            let found = found
                .ok_or_else(|| unavailable(format!("no service port {number} found for service {name:?}")))?;
            found["name"].as_str().unwrap_or_default().to_owned()
        }
        Err(_) => port.to_owned(),
    };
    let endpoints = read(server, "endpoints", &namespace, &name)?;
    let subsets = endpoints["subsets"].as_array().filter(|subsets| !subsets.is_empty());
    let subsets =
        subsets.ok_or_else(|| unavailable(format!("no endpoints available for service {name:?}")))?;
    for subset in subsets {
        let mut ports = subset["ports"].as_array().into_iter().flatten();
        let port = ports.find(|port| port["name"].as_str().unwrap_or_default() == port_name);
        let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let mut addresses = subset["addresses"].as_array().into_iter().flatten();
        // Only pods of the service's own namespace are proxied to.
        let pod = addresses.find_map(|address| {
            let target = &address["targetRef"];
            let own = target["kind"] == "Pod" && target["namespace"] == namespace.as_str();
            read(server, "pods", &namespace, target["name"].as_str().filter(|_| own)?).ok()
        });
        if let (Some(port), Some(pod)) = (port, pod) {
            return Ok(Target { node: node_of(server, &pod)?, pod, port });
        }
    }
    Err(unavailable(format!("no endpoints available for service {id:?}")))
}

/// An object of the core group, as the server itself sees it.
fn read(server: &Server, resource: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let request = Request {
        verb: Verb::Get,
        version: "v1".into(),
        resource: resource.into(),
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        ..Request::default()
    };
    match server.request(&request)?.reply {
        Reply::Object(stored) => Ok(stored.value()),
        _ => Err(Status::internal("there is no object to connect to")),
    }
}

/// A page's own links are relative to a path that ends in a slash.
fn redirect(path: &str, query: Option<&str>) -> Response<ResponseBody> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = super::upgrade::plain(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(location) = format!("{path}/{query}").parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The request as the pod gets it.
fn outgoing(parts: Parts, body: Body, rest: &str, prefix: &str) -> Result<HttpRequest<Body>, Status> {
    let Parts { method, uri, mut headers, .. } = parts;
    let upgrade = headers.get(header::UPGRADE).cloned();
    let host = headers.get(header::HOST).cloned();
    let host = host.or_else(|| HeaderValue::from_str(uri.authority()?.as_str()).ok());
    remove(&mut headers, &HOP_BY_HOP);
    // Whoever has been let in need not be known to the pod.
    headers.remove(header::AUTHORIZATION);
    // Links in pages are rewritten, so they must be readable.
    headers.remove(header::ACCEPT_ENCODING);
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    headers.insert(header::HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
    if let Ok(forwarded) = format!("{prefix}{rest}").parse() {
        headers.insert(FORWARDED_URI, forwarded);
    }
    let path = if rest.is_empty() { "/" } else { rest };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut target = uri::Parts::default();
    target.path_and_query = format!("{path}{query}").parse().ok();
    let mut request = HttpRequest::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(target).map_err(|error| Status::bad_request(error.to_string()))?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Ok(request)
}

fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// Keeps the connection to the pod for as long as the answer is read.
type Kept = http1::SendRequest<Body>;

async fn send(target: &Target, request: HttpRequest<Body>) -> Result<(Response<Incoming>, Kept), Status> {
    let failed =
        |why: String| Status::new(503, "ServiceUnavailable", format!("error trying to reach service: {why}"));
    let dialled = target.node.dial(identity(&target.pod), Door::Address, target.port).await;
    let io = TokioIo::new(dialled.map_err(failed)?);
    let (mut sender, connection) = http1::handshake(io).await.map_err(|error| failed(error.to_string()))?;
    // Ends when the sender and the answer's body are dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended");
        }
    });
    let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
    Ok((response, sender))
}

/// Both sides have agreed on another protocol: from now on bytes are passed on.
fn changed(change: Changeable, mut response: Response<Incoming>) -> Response<ResponseBody> {
    let far = hyper::upgrade::on(&mut response);
    let headers: Vec<(HeaderName, String)> = response
        .headers()
        .iter()
        .filter(|(name, _)| **name != header::CONNECTION)
        .filter_map(|(name, value)| Some((name.clone(), value.to_str().ok()?.to_owned())))
        .collect();
    change.change(headers, |mut near| async move {
        match far.await {
            Ok(far) => {
                // Ends when both sides have closed, or one has failed.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut TokioIo::new(far)).await;
            }
            Err(error) => tracing::debug!(%error, "a proxied connection was not upgraded"),
        }
    })
}

/// The answer as the client gets it.
async fn incoming(
    response: Response<Incoming>,
    prefix: &str,
    host: Option<&HeaderValue>,
    kept: Kept,
) -> Result<Response<ResponseBody>, Status> {
    let (mut parts, body) = response.into_parts();
    remove(&mut parts.headers, &HOP_BY_HOP);
    remove(&mut parts.headers, &CORS);
    let location = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    if let Some(location) = location.map(|location| html::rewrite(location, prefix, host)) {
        if let Ok(location) = location.parse() {
            parts.headers.insert(header::LOCATION, location);
        }
    } else if html::is_page(&parts.headers) {
        return page(parts, body, prefix, host).await;
    }
    let stream = body.into_data_stream().map(move |chunk| {
        let _connection = &kept;
        chunk.map_err(std::io::Error::other)
    });
    Ok(Response::from_parts(parts, ResponseBody::stream(stream.boxed())))
}

/// A page is read whole, so that its links can be made to lead through the proxy.
async fn page(
    mut parts: http::response::Parts,
    body: Incoming,
    prefix: &str,
    host: &str,
) -> Result<Response<ResponseBody>, Status> {
    let read = http_body_util::Limited::new(body, html::PAGE_MAX).collect().await;
    let bytes = read.map_err(|error| {
        let text = format!("error trying to reach service: a page cannot be read: {error}");
        Status::new(503, "ServiceUnavailable", text)
    })?;
    parts.headers.remove(header::CONTENT_LENGTH);
    let text = html::rewrite_page(&bytes.to_bytes(), prefix, host);
    Ok(Response::from_parts(parts, ResponseBody::whole(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_a_scheme_and_a_port() {
        let split = |id| split(id).map(|(scheme, name, port)| [scheme, name, port].join("|"));
        assert_eq!(split("web").as_deref(), Some("|web|"));
        assert_eq!(split("web:http").as_deref(), Some("|web|http"));
        assert_eq!(split("https:web:443").as_deref(), Some("https|web|443"));
        assert_eq!(split("http:web:").as_deref(), Some("http|web|"));
        for wrong in ["", ":80", "ftp:web:21", "a:b:c:d"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
