//! Calls of admission webhooks: HTTPS, one connection for each call, bounded in time and size.

/// Calls a webhook; the body of its answer, or why there is none, in the words of the real server.
#[cfg(not(feature = "http"))]
#[allow(clippy::unused_async)] // as it is with the feature
pub(super) async fn call(
    _: &super::Server,
    call: &crate::server::WebhookCall,
) -> Result<serde_json::Value, String> {
    Err(format!("failed to call webhook {}: the server was built without its feature http", call.webhook))
}

#[cfg(feature = "http")]
pub(super) use https::call;

#[cfg(feature = "http")]
mod https {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Request, StatusCode, Uri, header};
    use http_body_util::{BodyExt as _, Full, Limited};
    use hyper_util::rt::TokioIo;
    use serde_json::Value;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;

    use super::super::{Server, webhook_trust::trust};
    use crate::server::{Destination, WebhookCall};
    use crate::storage::{GroupResource, Key, LabelSelector, Selection};

    const SERVICES: GroupResource = GroupResource::new("", "services");
    const SLICES: GroupResource = GroupResource::new("discovery.k8s.io", "endpointslices");
    /// A longer answer is refused.
    const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
    /// The longest a webhook may take, whatever it asks for.
    const MAX_SECONDS: u64 = 30;

    /// Where a call goes.
    struct Target {
        /// Host and port as they stand in the URL.
        authority: String,
        /// The name its certificate is for.
        host: String,
        /// Where to connect to.
        address: String,
        path: String,
    }

    pub(in super::super) async fn call(server: &Server, call: &WebhookCall) -> Result<Value, String> {
        let seconds = call.timeout_seconds.clamp(1, MAX_SECONDS);
        let target = target(server, call);
        let (authority, path) = match &target {
            Ok(target) => (target.authority.clone(), target.path.clone()),
            Err((url, _)) => (url.clone(), String::new()),
        };
        let failed = |why: String| {
            format!("failed to call webhook: Post \"https://{authority}{path}?timeout={seconds}s\": {why}")
        };
        let target = target.map_err(|(_, why)| failed(why))?;
        match tokio::time::timeout(Duration::from_secs(seconds), post(&target, call, seconds)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => Err(failed(why)),
            Err(_) => Err(failed("context deadline exceeded".into())),
        }
    }

    /// The outer error is one of the way, the inner one of the answer.
    async fn post(
        target: &Target,
        call: &WebhookCall,
        seconds: u64,
    ) -> Result<Result<Value, String>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let stream = TcpStream::connect(&target.address).await;
        let stream = stream.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                format!("dial tcp {}: connect: connection refused", target.address)
            }
            _ => format!("dial tcp {}: connect: {error}", target.address),
        })?;
        let connector = TlsConnector::from(Arc::new(trust(&call.ca_bundle)?));
        let name = ServerName::try_from(target.host.clone()).map_err(|error| text(&error))?;
        let stream = connector.connect(name, stream).await.map_err(|error| format!("tls: {error}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                .await
                .map_err(|error| text(&error))?;
        let request = Request::post(format!("{}?timeout={seconds}s", target.path))
            .header(header::HOST, &target.authority)
            .header(header::USER_AGENT, "kube-apiserver-admission")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(call.review.to_string()))
            .map_err(|error| text(&error))?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(|error| text(&error))?;
            let code = response.status();
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
            Ok::<_, String>((code, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        // The connection is driven here, so that it ends with the call. How it ends does not matter once there is an
        // answer; without one, the exchange says what was wrong.
        let (exchanged, _) = futures::join!(exchange, connection);
        let (code, body) = exchanged?;
        if !code.is_success() {
            // The real client reads no error's body that is no Status.
            let why = if code == StatusCode::NOT_FOUND {
                "the server could not find the requested resource"
            } else {
                "an error on the server (\"unknown\") has prevented the request from succeeding"
            };
            return Ok(Err(format!("failed to call webhook: {why}")));
        }
        Ok(serde_json::from_slice(&body).map_err(|error| {
            format!("failed to call webhook: couldn't get version/kind; json parse error: {error}")
        }))
    }

    /// Where a webhook is, or its address and why it cannot be found.
    fn target(server: &Server, call: &WebhookCall) -> Result<Target, (String, String)> {
        match &call.destination {
            Destination::Url(url) => {
                let bad = |why: &str| (url.clone(), why.to_owned());
                let uri: Uri = url.parse().map_err(|_| bad("the URL cannot be parsed"))?;
                let authority = uri.authority().ok_or_else(|| bad("the URL has no host"))?;
                if uri.scheme_str() != Some("https") {
                    return Err(bad("the URL is not https"));
                }
                let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
                let port = authority.port_u16().unwrap_or(443);
                let address = match host.parse::<std::net::IpAddr>() {
                    Ok(ip) => SocketAddr::new(ip, port).to_string(),
                    Err(_) => format!("{host}:{port}"),
                };
                Ok(Target { authority: authority.to_string(), host, address, path: clean(uri.path()) })
            }
            Destination::Service { namespace, name, port, path } => {
                let host = format!("{name}.{namespace}.svc");
                let authority = format!("{host}:{port}");
                let address = endpoint(server, namespace, name, *port);
                let address = address.map_err(|why| (format!("{authority}{}", clean(path)), why))?;
                Ok(Target { authority, host, address, path: clean(path) })
            }
        }
    }

    /// A path as Go's `path.Join` writes it, with which client-go makes its URLs.
    fn clean(path: &str) -> String {
        let mut parts = Vec::new();
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                parts.pop();
            } else {
                parts.push(part);
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// A ready endpoint of a service, as an API server finds it that knows no service network.
    fn endpoint(server: &Server, namespace: &str, name: &str, port: u16) -> Result<String, String> {
        server.with(|api| {
            let service = api.storage().get(&SERVICES, &Key::new(namespace, name));
            let service = service.ok_or_else(|| format!("service {name:?} not found"))?.value();
            let ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let wanted = ports.clone().find(|known| known["port"].as_u64() == Some(u64::from(port)));
            let wanted =
                wanted.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
            let labels = LabelSelector::parse(&format!("kubernetes.io/service-name={name}"))?;
            let selection =
                Selection { namespace: Some(namespace.to_owned()), labels, ..Selection::default() };
            let slices = api.storage().collection(&SLICES).into_iter();
            for slice in slices.flat_map(|slices| slices.select(&selection, None)) {
                let slice = slice.value();
                let named = |known: &&Value| {
                    known["name"].as_str().unwrap_or_default() == wanted["name"].as_str().unwrap_or_default()
                };
                let port = slice["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .find(named)
                    .and_then(|p| p["port"].as_u64());
                let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
                let endpoint = slice["endpoints"].as_array().into_iter().flatten().find(ready);
                if let (Some(port), Some(address)) = (port, endpoint.and_then(|e| e["addresses"][0].as_str()))
                {
                    return Ok(format!("{address}:{port}"));
                }
            }
            Err(format!("no endpoints available for service {name:?}"))
        })
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn paths_are_written_as_go_joins_them() {
            for (given, expected) in
                [("", "/"), ("/", "/"), ("//a", "/a"), ("/a/", "/a"), ("/a/./b/../c", "/a/c"), ("/..", "/")]
            {
                assert_eq!(super::clean(given), expected, "{given}");
            }
        }
    }
}
