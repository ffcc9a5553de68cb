//! Everything that is no resource: version, health, discovery, OpenAPI, metrics.

use std::fmt::Write as _;

use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use super::body::ResponseBody;
use super::http::{HttpService, Incoming};
use super::negotiate::{self, Discovery};
use super::path::Route;
use super::{discovery, render};
use crate::registry::Registry;
use crate::server::{ISSUER, no_such_resource};
use crate::status::Status;

pub(super) fn answer(
    service: &HttpService,
    route: &Route,
    incoming: &Incoming,
) -> Result<Response<ResponseBody>, Status> {
    if !matches!(incoming.method.as_str(), "GET" | "HEAD") {
        return Err(Status::method_not_allowed(
            "the server does not allow this method on the requested resource",
        ));
    }
    let server = service.server();
    // A copy of references: documents are put together without holding the server up.
    let registry = || server.with(|api| api.registry().clone());
    let json = |value: Value| Ok(render::json(200, &value));
    let found =
        |value: Option<Value>| value.map(|value| render::json(200, &value)).ok_or_else(no_such_resource);
    match route {
        Route::Version => json(version(server.with(|api| api.config().minor))),
        Route::Health(check) => Ok(health(check, incoming.query.has("verbose"))),
        Route::Metrics => Ok(render::text(200, metrics(service))),
        Route::OpenIdConfiguration => Ok(cacheable(render::json(200, &open_id(incoming)))),
        Route::OpenIdKeys => {
            let keys = server.with(|api| api.config().token_key.public_keys())?;
            Ok(cacheable(render::bytes(StatusCode::OK, "application/jwk-set+json", keys.to_string())))
        }
        Route::Root => json(json!({"paths": ROOT_PATHS})),
        Route::CoreVersions => versions(service, &registry(), incoming, true),
        Route::Groups => versions(service, &registry(), incoming, false),
        Route::Group(group) => found(discovery::group(&registry(), group)),
        Route::Resources(group, version) => found(discovery::resources(&registry(), group, version)),
        Route::OpenApiV2 => openapi_v2(service, &registry(), incoming),
        Route::OpenApiIndex => json(service.openapi().index(&registry())),
        Route::OpenApi(name) => {
            let document = service.openapi().document(&registry(), name);
            let Some(document) = document else {
                let mut response = render::text(404, "");
                response.headers_mut().remove(header::CONTENT_TYPE);
                return Ok(response);
            };
            let mut response = tagged(incoming, &document.hash, "application/json", || document.bytes);
            response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("public"));
            Ok(response)
        }
        Route::Resource(_) | Route::Unknown => Err(no_such_resource()),
    }
}

/// Where others find the keys that tokens of service accounts are checked with.
fn open_id(incoming: &Incoming) -> Value {
    let host = incoming.header(&header::HOST);
    json!({
        "issuer": ISSUER, "jwks_uri": format!("https://{host}/openid/v1/jwks"),
        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    })
}

fn cacheable(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let hour = header::HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(header::CACHE_CONTROL, hour);
    response
}

const ROOT_PATHS: [&str; 12] = [
    "/.well-known/openid-configuration",
    "/api",
    "/api/v1",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
    "/version/",
];

fn version(minor: u16) -> Value {
    // The patch release of the reference the data tables were taken from; other minors claim their first.
    let patch = if minor == 36 { 3 } else { 0 };
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut version = json!({
        "major": "1", "minor": minor.to_string(), "gitVersion": format!("v1.{minor}.{patch}"), "gitCommit": "none",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{architecture}", std::env::consts::OS),
    });
    // Since 1.33 a server says which version it imitates, and from which on it could.
    if minor >= 33 {
        version["emulationMajor"] = json!("1");
        version["emulationMinor"] = json!(minor.to_string());
        version["minCompatibilityMajor"] = json!("1");
        version["minCompatibilityMinor"] = json!((minor - 1).to_string());
    }
    version
}

fn health(check: &str, verbose: bool) -> Response<ResponseBody> {
    if verbose {
        return render::text(200, format!("[+]ping ok\n[+]storage ok\n{check} check passed\n"));
    }
    render::text(200, "ok")
}

fn metrics(service: &HttpService) -> String {
    let (revision, objects) = service.server().with(|api| {
        let count = |collection: &crate::storage::Collection| collection.len();
        let objects: Vec<_> =
            api.storage().collections().map(|(name, c)| (name.to_string(), count(c))).collect();
        (api.revision(), objects)
    });
    let mut text = format!("# TYPE fake_apiserver_revision counter\nfake_apiserver_revision {revision}\n");
    text.push_str("# TYPE apiserver_storage_objects gauge\n");
    for (resource, count) in objects {
        let _ = writeln!(text, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
    }
    text
}

/// Only in protobuf: that is what kubectl asks for, and JSON is had from v3.
fn openapi_v2(
    service: &HttpService,
    registry: &Registry,
    incoming: &Incoming,
) -> Result<Response<ResponseBody>, Status> {
    let accept = incoming.header(&header::ACCEPT);
    if !accept.contains("openapi.spec.v2") {
        return Err(Status::new(
            406,
            "NotAcceptable",
            format!("only {OPENAPI_V2} is offered; JSON is at /openapi/v3"),
        ));
    }
    let document = service.openapi().v2(registry);
    Ok(render::bytes(StatusCode::OK, OPENAPI_V2, document.bytes))
}

const OPENAPI_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The minor version that no longer serves `apidiscovery.k8s.io/v2beta1`.
const V2BETA1_GONE: u16 = 36;

/// `/api` and `/apis` in the form the client asks for. The content type has to be exact: kubectl looks at each parameter.
fn versions(
    service: &HttpService,
    registry: &Registry,
    incoming: &Incoming,
    core: bool,
) -> Result<Response<ResponseBody>, Status> {
    let beta = service.server().with(|api| api.config().minor) < V2BETA1_GONE;
    let wanted = negotiate::discovery(&incoming.header(&header::ACCEPT), beta)?;
    let value = match wanted {
        Discovery::V2 => discovery::aggregated(registry, core, "v2"),
        Discovery::V2beta1 => discovery::aggregated(registry, core, "v2beta1"),
        Discovery::Legacy if core => discovery::core_versions(&incoming.header(&header::HOST)),
        Discovery::Legacy => discovery::groups(registry),
    };
    let aggregated =
        |version| format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let content_type = match wanted {
        Discovery::V2 => aggregated("v2"),
        Discovery::V2beta1 => aggregated("v2beta1"),
        Discovery::Legacy => "application/json".to_owned(),
    };
    let text = value.to_string();
    let mut response = tagged(incoming, &discovery::hash(&text), &content_type, || text.into());
    let headers = response.headers_mut();
    headers.insert(header::VARY, header::HeaderValue::from_static("Accept"));
    if wanted != Discovery::Legacy {
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("public"));
    }
    Ok(response)
}

/// An answer with an entity tag; 304 for a client that has it already.
fn tagged(
    incoming: &Incoming,
    hash: &str,
    content_type: &str,
    body: impl FnOnce() -> bytes::Bytes,
) -> Response<ResponseBody> {
    let tag = format!("\"{hash}\"");
    let known = incoming.header(&header::IF_NONE_MATCH).split(',').any(|entry| entry.trim() == tag);
    let mut response = if known {
        render::bytes(StatusCode::NOT_MODIFIED, content_type, bytes::Bytes::new())
    } else {
        render::bytes(StatusCode::OK, content_type, body())
    };
    if let Ok(tag) = tag.parse() {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
