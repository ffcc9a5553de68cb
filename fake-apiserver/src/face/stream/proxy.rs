//! `pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP(S) to a pod or node, with every method, streamed both ways,
//! upgrades included.
//!
//! Where it goes is in `location`; what is changed on the way is as in `k8s.io/apimachinery/pkg/util/proxy`.

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

use super::super::body::ResponseBody;
use super::super::http::HttpService;
use super::super::path::{ResourcePath, after_subresource};
use super::location::{self, Location, Target};
use super::upgrade::Changeable;
use super::{Body, Kind, html, kubelet};
use crate::request::User;
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

pub(super) async fn answer(
    service: &HttpService,
    kind: Kind,
    path: ResourcePath,
    mut parts: Parts,
    body: Body,
    user: User,
) -> Result<Response<ResponseBody>, Status> {
    let server = service.server();
    let location = location::of(server, kind, path, &parts.method, user)?;
    let own = parts.uri.path().to_owned();
    let rest = after_subresource(&own);
    let prefix = own.strip_suffix(rest).unwrap_or(&own).to_owned();
    let upgrading = parts.headers.contains_key(header::UPGRADE);
    if rest.is_empty() && !upgrading && matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(redirect(&prefix, parts.uri.query()));
    }
    let target = match location {
        Location::Kubelet(node) => return kubelet::answer(server, &node, rest, &parts).await,
        Location::Elsewhere(target) => target,
    };
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
    let io = TokioIo::new(target.dial().await.map_err(failed)?);
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
