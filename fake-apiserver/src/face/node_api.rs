//! What a real API server asks of its nodes over HTTPS, as far as a [`NodeProxy`] can answer: the logs of containers, and the
//! streams behind `kubectl exec`, `attach` and `port-forward`.
//!
//! | request | of |
//! |---|---|
//! | `GET /containerLogs/NAMESPACE/POD/CONTAINER` | `pods/log`, with its parameters |
//! | `/exec/NAMESPACE/POD[/UID]/CONTAINER`, `/attach/…` | `pods/exec`, `pods/attach`; the streams are called `input`, `output`, `error` |
//! | `/portForward/NAMESPACE/POD[/UID]` | `pods/portforward`; the ports over channels are called `port` |
//!
//! Paths and names are those of `pkg/kubelet/server` of Kubernetes. Whoever asks must show a certificate that the acceptor
//! demands: these requests run programs in pods. Everything else that a kubelet answers (statistics, metrics, …) is 501.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::body::ResponseBody;
use super::node::{NodeProxy, PodContainer};
use super::path::Query;
use super::render;
use super::stream::{Connections, Kind, answer_for_node};
use crate::status::Status;

/// How long the API server may take for the TLS handshake, and for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Connections that are served at once; more have to wait.
const CONNECTIONS_MAX: usize = 200;

/// Finds a pod by its namespace and name.
pub type FindPod = Arc<dyn Fn(String, String) -> BoxFuture<'static, Option<Value>> + Send + Sync>;

/// A node as the API server sees it.
struct Node {
    proxy: Arc<dyn NodeProxy>,
    find: FindPod,
    streams: Connections,
}

/// Answers for a node until the listener fails for good or the future is dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve_node(
    listener: TcpListener,
    tls: TlsAcceptor,
    proxy: Arc<dyn NodeProxy>,
    find: FindPod,
) -> io::Result<()> {
    let node = Arc::new(Node { proxy, find, streams: Connections::default() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let (stream, _) = accepted?;
                connections.spawn(connection(stream, tls.clone(), node.clone()));
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, node: Arc<Node>) {
    let Ok(Ok(stream)) = tokio::time::timeout(HEAD, tls.accept(stream)).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let node = node.clone();
        async move {
            let answered = answer(request.into_parts().0, &node).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|status| refusal(&status)))
        }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "the API server's connection ended");
    }
}

async fn answer(parts: Parts, node: &Node) -> Result<Response<ResponseBody>, Status> {
    let asked = Asked::of(&parts.method, parts.uri.path())?;
    let found = (node.find)(asked.namespace.clone(), asked.pod.clone()).await;
    let pod = found.ok_or_else(|| Status::not_found("", "pods", &asked.pod))?;
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    if asked.uid.is_some_and(|asked| asked != uid) {
        return Err(Status::not_found("", "pods", &asked.pod));
    }
    if let What::Stream(kind) = asked.what {
        return answer_for_node(node.proxy.clone(), kind, &pod, &asked.container, parts, &node.streams);
    }
    let options = Query::parse(parts.uri.query()).log_options()?;
    let Asked { namespace, pod, container, .. } = asked;
    let lines =
        node.proxy.log(PodContainer { namespace, pod, uid: uid.to_owned(), container }, options).await?;
    let mut response = render::bytes(StatusCode::OK, "text/plain; charset=utf-8", Bytes::new());
    // The head of the answer goes out before the first line.
    *response.body_mut() = ResponseBody::stream(stream::iter([Ok(Bytes::new())]).chain(lines).boxed());
    Ok(response)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Log,
    Stream(Kind),
}

/// What is asked, and of whom.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    what: What,
    namespace: String,
    pod: String,
    /// Where it matters that it is this one and no successor.
    uid: Option<String>,
    /// Empty where the whole pod is meant.
    container: String,
}

impl Asked {
    fn of(method: &Method, path: &str) -> Result<Self, Status> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let is_stream = matches!(*method, Method::GET | Method::POST);
        let (what, [namespace, pod, uid, container]) = match parts.as_slice() {
            ["containerLogs", namespace, pod, container] if method == Method::GET => {
                (What::Log, [*namespace, *pod, "", *container])
            }
            ["exec", rest @ ..] if is_stream => (What::Stream(Kind::Exec), of_container(rest, path)?),
            ["attach", rest @ ..] if is_stream => (What::Stream(Kind::Attach), of_container(rest, path)?),
            ["portForward", namespace, pod] if is_stream => {
                (What::Stream(Kind::PortForward), [*namespace, *pod, "", ""])
            }
            ["portForward", namespace, pod, uid] if is_stream => {
                (What::Stream(Kind::PortForward), [*namespace, *pod, *uid, ""])
            }
            _ => return Err(Status::not_modelled(format!("{method} {path} of a node"))),
        };
        let [namespace, pod, container] = [namespace, pod, container].map(str::to_owned);
        Ok(Self {
            what,
            namespace,
            pod,
            uid: Some(uid).filter(|uid| !uid.is_empty()).map(str::to_owned),
            container,
        })
    }
}

fn of_container<'a>(rest: &[&'a str], path: &str) -> Result<[&'a str; 4], Status> {
    match rest {
        [namespace, pod, container] => Ok([namespace, pod, "", container]),
        [namespace, pod, uid, container] => Ok([namespace, pod, uid, container]),
        _ => Err(Status::not_modelled(format!("{path} of a node"))),
    }
}

fn refusal(status: &Status) -> Response<ResponseBody> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    render::bytes(code, "text/plain; charset=utf-8", Bytes::from(status.message.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_in_the_words_of_kubelets() {
        let check = |method: Method, path: &str, what, uid: Option<&str>, container: &str| {
            let asked = Asked::of(&method, path).unwrap();
            assert_eq!((&*asked.namespace, &*asked.pod), ("team", "a-pod"), "{path}");
            assert_eq!(
                (asked.what, asked.uid.as_deref(), &*asked.container),
                (what, uid, container),
                "{path}"
            );
        };
        check(Method::GET, "/containerLogs/team/a-pod/main", What::Log, None, "main");
        check(Method::POST, "/exec/team/a-pod/main", What::Stream(Kind::Exec), None, "main");
        check(Method::GET, "/attach/team/a-pod/u1/main", What::Stream(Kind::Attach), Some("u1"), "main");
        check(Method::POST, "/portForward/team/a-pod", What::Stream(Kind::PortForward), None, "");
        check(Method::GET, "/portForward/team/a-pod/u1", What::Stream(Kind::PortForward), Some("u1"), "");
        for (method, path) in [
            (Method::POST, "/containerLogs/team/a-pod/main"),
            (Method::GET, "/containerLogs/team/a-pod"),
            (Method::DELETE, "/exec/team/a-pod/main"),
            (Method::GET, "/exec/team"),
            (Method::GET, "/metrics"),
        ] {
            assert_eq!(Asked::of(&method, path).unwrap_err().code, 501, "{path}");
        }
    }
}
