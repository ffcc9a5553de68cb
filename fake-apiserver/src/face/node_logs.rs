//! What a real API server asks of its nodes over HTTPS, as far as a [`NodeProxy`] is asked for it here: the logs of containers.
//!
//! `kube-apiserver` reads `/containerLogs/NAMESPACE/POD/CONTAINER` with the parameters of `pods/log`. Everything else that a
//! kubelet answers (exec, attach, port-forward, statistics) is 501.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::body::ResponseBody;
use super::node::{NodeProxy, PodContainer};
use super::path::Query;
use super::render;
use crate::status::Status;

/// How long the API server may take for the TLS handshake, and for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Logs that are read at once; more have to wait.
const CONNECTIONS_MAX: usize = 200;

/// Finds the uid of a pod by its namespace and name.
pub type FindUid = Arc<dyn Fn(String, String) -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Answers for a node until the listener fails for good or the future is dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve_node(
    listener: TcpListener,
    tls: TlsAcceptor,
    node: Arc<dyn NodeProxy>,
    uid: FindUid,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let (stream, _) = accepted?;
                connections.spawn(connection(stream, tls.clone(), node.clone(), uid.clone()));
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, node: Arc<dyn NodeProxy>, uid: FindUid) {
    let Ok(Ok(stream)) = tokio::time::timeout(HEAD, tls.accept(stream)).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let (node, uid) = (node.clone(), uid.clone());
        async move {
            let answered = answer(&request, node.as_ref(), &uid).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|status| refusal(&status)))
        }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "the API server's connection ended");
    }
}

async fn answer(
    request: &Request<Incoming>,
    node: &dyn NodeProxy,
    uid: &FindUid,
) -> Result<Response<ResponseBody>, Status> {
    let target = target(request.method(), request.uri().path())?;
    let options = Query::parse(request.uri().query()).log_options()?;
    let found = uid(target.namespace.clone(), target.pod.clone()).await;
    let uid = found.ok_or_else(|| Status::not_found("", "pods", &target.pod))?;
    let lines = node.log(PodContainer { uid, ..target }, options).await?;
    let mut response = render::bytes(StatusCode::OK, "text/plain; charset=utf-8", Bytes::new());
    // The head of the answer goes out before the first line.
    *response.body_mut() = ResponseBody::stream(stream::iter([Ok(Bytes::new())]).chain(lines).boxed());
    Ok(response)
}

/// Whose log is asked for; the uid is not in the path.
fn target(method: &Method, path: &str) -> Result<PodContainer, Status> {
    let parts: Vec<&str> = path.split('/').collect();
    match (method, parts.as_slice()) {
        (&Method::GET, ["", "containerLogs", namespace, pod, container]) => Ok(PodContainer {
            namespace: (*namespace).to_owned(),
            pod: (*pod).to_owned(),
            uid: String::new(),
            container: (*container).to_owned(),
        }),
        _ => Err(Status::not_modelled(format!("{method} {path} of a node"))),
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
    fn only_logs_are_asked_for() {
        let found = target(&Method::GET, "/containerLogs/team/a-pod/main").unwrap();
        assert_eq!((&*found.namespace, &*found.pod, &*found.container), ("team", "a-pod", "main"));
        for (method, path) in
            [(Method::POST, "/exec/team/a-pod/main"), (Method::GET, "/containerLogs/team/a-pod")]
        {
            assert_eq!(target(&method, path).unwrap_err().code, 501, "{path}");
        }
    }
}
