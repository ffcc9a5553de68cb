//! The HTTP face without a socket: a tower service over [`Server`], for an unmodified `kube::Client` and for the listener.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures::future::{BoxFuture, FutureExt as _};
use http::request::Parts;
use http::{HeaderMap, Method, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::auth::Authentication;
use super::body::ResponseBody;
use super::negotiate;
use super::openapi::OpenApi;
use super::path::{Query, Route, route};
use super::{Server, access, discovery, documents, render, resource};
use crate::request::User;
use crate::status::Status;

/// Larger request bodies are refused with 413, as the real server does.
pub const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// How long a client may take to send a body, as long as the real server gives a request in all.
const BODY: std::time::Duration = std::time::Duration::from_mins(1);

/// A `tower::Service` that speaks the Kubernetes API; clones share one server.
///
/// ```
/// # use fake_apiserver::{face::Server, server::Config};
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let client = kube::Client::new(Server::new(Config::default()).service(), "default");
/// let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client);
/// assert!(namespaces.list(&Default::default()).await.is_ok());
/// # });
/// ```
#[derive(Clone)]
pub struct HttpService {
    shared: Arc<Shared>,
    /// Who the connection has proved to be, before any header is read.
    peer: Option<User>,
}

struct Shared {
    server: Server,
    authentication: Option<Authentication>,
    rbac: bool,
    openapi: OpenApi,
    requests: AtomicU64,
    #[cfg(feature = "http")]
    connections: super::stream::Connections,
}

/// One request after its body has been read.
pub(super) struct Incoming {
    pub(super) method: Method,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) user: User,
}

impl Incoming {
    /// A header's text; empty where there is none.
    pub(super) fn header(&self, name: &header::HeaderName) -> String {
        header_text(&self.headers, name)
    }
}

impl Server {
    /// The server as a `tower::Service` without authentication: every request is the administrator's.
    pub fn service(&self) -> HttpService {
        HttpService::new(self.clone(), None)
    }
}

impl HttpService {
    /// A service that asks for credentials if `authentication` is given.
    pub fn new(server: Server, authentication: Option<Authentication>) -> Self {
        let rbac = server.with(|api| api.config().rbac);
        let shared = Shared {
            server,
            authentication,
            rbac,
            openapi: OpenApi::default(),
            requests: AtomicU64::new(0),
            #[cfg(feature = "http")]
            connections: super::stream::Connections::default(),
        };
        Self { shared: Arc::new(shared), peer: None }
    }

    /// The same service for one connection whose client certificate was verified.
    #[must_use]
    pub fn for_certificate(&self, certificate: &[u8]) -> Self {
        let peer = self.shared.authentication.as_ref().and_then(|known| known.by_certificate(certificate));
        Self { shared: Arc::clone(&self.shared), peer }
    }

    /// The server behind it.
    pub fn server(&self) -> &Server {
        &self.shared.server
    }

    /// Connections that have become streams: exec, port-forward and their like.
    #[cfg(feature = "http")]
    pub(super) fn connections(&self) -> &super::stream::Connections {
        &self.shared.connections
    }

    pub(super) fn openapi(&self) -> &OpenApi {
        &self.shared.openapi
    }

    pub(super) fn authentication(&self) -> Option<&Authentication> {
        self.shared.authentication.as_ref()
    }

    /// Whether requests need roles that allow them.
    pub(super) fn rbac(&self) -> bool {
        self.shared.rbac
    }

    /// Who the connection has proved to be.
    pub(super) fn peer(&self) -> Option<&User> {
        self.peer.as_ref()
    }

    async fn answer<B>(self, request: http::Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let is_api = is_api(parts.uri.path());
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let audit = audit_id(&parts.headers, number);
        let (head, encoding) = (
            parts.method == Method::HEAD,
            negotiate::encoding(&header_text(&parts.headers, &header::ACCEPT)),
        );
        let mut response = match self.route(parts, body).await {
            Ok(response) => response,
            Err(status) if status.code == 404 && status.generic && !is_api => {
                render::text(404, "404 page not found\n")
            }
            Err(status) => render::status(&status, encoding),
        };
        if head {
            *response.body_mut() = ResponseBody::whole(Bytes::new());
        }
        let headers = response.headers_mut();
        if let Ok(id) = audit.parse() {
            headers.insert("audit-id", id);
        }
        headers.entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-cache, private"));
        response
    }

    async fn route<B>(&self, parts: Parts, body: B) -> Result<Response<ResponseBody>, Status>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let route = route(parts.uri.path());
        let user = access::user(self, &parts, &route)?;
        #[cfg(feature = "http")]
        if let Route::Resource(path) = &route
            && let Some(kind) = super::stream::Kind::of(path)
        {
            let body =
                body.map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
            let body = body.map_err(Into::into).boxed_unsync();
            return super::stream::answer(self, kind, path.clone(), parts, body, user).await;
        }
        let body = read(body).await?;
        let query = Query::parse(parts.uri.query());
        let incoming = Incoming { method: parts.method, query, headers: parts.headers, body, user };
        match route {
            Route::Resource(path) => resource::answer(self, path, incoming).await,
            other => documents::answer(self, &other, &incoming),
        }
    }
}

/// What the request is called in an audit log: what the client calls it, cut off where that is long, or a number.
fn audit_id(headers: &HeaderMap, number: u64) -> String {
    const LONGEST: usize = 64;
    match headers.get("audit-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty()) {
        Some(given) => given.chars().take(LONGEST).collect(),
        None => format!("00000000-0000-4000-8000-{number:012x}"),
    }
}

/// Whether a path that leads nowhere belongs to a group of Kubernetes' own, whose answers are a Status. Elsewhere the
/// router itself answers, also within the groups of custom resources.
fn is_api(path: &str) -> bool {
    match route(path) {
        Route::Unknown => false,
        Route::Group(group) | Route::Resources(group, _) => discovery::is_built_in(&group),
        Route::Resource(path) => discovery::is_built_in(&path.group),
        _ => true,
    }
}

async fn read<B>(body: B) -> Result<Bytes, Status>
where
    B: http_body::Body,
    B::Data: Buf,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Ok(read) = tokio::time::timeout(BODY, Limited::new(body, MAX_BODY_BYTES).collect()).await else {
        let said = "Timeout: request did not complete within the allotted timeout";
        return Err(Status::new(504, "Timeout", said));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {MAX_BODY_BYTES}"),
        )),
        Err(error) => Err(Status::bad_request(format!("cannot read the request body: {error}"))),
    }
}

pub(super) fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    let texts: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    texts.join(",")
}

impl<B> tower::Service<http::Request<B>> for HttpService
where
    B: http_body::Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.clone().answer(request).map(Ok).boxed()
    }
}
