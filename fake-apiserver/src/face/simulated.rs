//! The kubelet of nodes on which nothing runs: what such a node answers about its pods.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{self, StreamExt as _};
use serde_json::Value;
use tokio_util::io::StreamReader;

use super::Server;
use super::node::{
    Connection, Door, LogOptions, LogStream, NodeProxy, PodContainer, PodIdentity, Session, Streams,
};
use crate::request::{Params, Request, Verb};
use crate::response::Reply;
use crate::status::Status;

/// How often a followed log of a simulated pod is looked at between its pod's events.
const POLL: Duration = Duration::from_millis(500);

/// A kubelet without processes.
pub(super) struct Simulated {
    server: Server,
}

impl Simulated {
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }
}

impl NodeProxy for Simulated {
    fn log(
        &self,
        target: PodContainer,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, Status>> {
        ready(log(&self.server, &target, options)).boxed()
    }

    /// Nothing listens in a simulated pod.
    fn dial(
        &self,
        pod: PodIdentity,
        door: Door,
        port: u16,
    ) -> BoxFuture<'static, Result<Connection, String>> {
        let refused = match door {
            Door::Loopback => format!(
                "failed to execute portforward in network namespace of simulated pod {:?}: failed to connect to \
                 localhost:{port} inside namespace {:?}: dial tcp4 127.0.0.1:{port}: connect: connection refused",
                pod.name, pod.uid
            ),
            Door::Address => {
                let address = read(&self.server, &pod.namespace, &pod.name)
                    .ok()
                    .and_then(|pod| pod["status"]["podIP"].as_str().map(str::to_owned))
                    .unwrap_or_default();
                format!("dial tcp {address}:{port}: connect: connection refused (the pod is simulated)")
            }
        };
        ready(Err(refused)).boxed()
    }

    /// A simulated container has no files, so no program is found in it.
    fn exec(
        &self,
        _: PodContainer,
        command: Vec<String>,
        _: Streams,
    ) -> BoxFuture<'static, Result<Session, String>> {
        let program = command.first().cloned().unwrap_or_default();
        let text = format!(
            "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: unable to start \
             container process: exec: {program:?}: executable file not found in $PATH (the pod is simulated: it has no \
             processes)"
        );
        ready(Err(text)).boxed()
    }

    /// The container's output from now on is what is added to its log; nobody reads its input.
    fn attach(&self, target: PodContainer, streams: Streams) -> BoxFuture<'static, Result<Session, String>> {
        let options = LogOptions { follow: true, tail_lines: Some(0), ..LogOptions::default() };
        let session = log(&self.server, &target, options).map(|lines| {
            let (stdout, ended) = if streams.stdout {
                (Some(Box::new(StreamReader::new(lines)) as _), ready(Ok(0)).boxed())
            } else {
                (None, lines.for_each(|_| ready(())).map(|()| Ok(0)).boxed())
            };
            let stdin = streams.stdin.then(|| Box::new(tokio::io::sink()) as _);
            Session { stdin, stdout, stderr: None, resize: None, ended }
        });
        ready(session.map_err(|status| status.message)).boxed()
    }
}

fn log(server: &Server, target: &PodContainer, mut options: LogOptions) -> Result<LogStream, Status> {
    let follow = std::mem::take(&mut options.follow);
    let timestamps = options.timestamps;
    let request = log_request(target, options);
    let first = text(server, &request)?;
    if !follow {
        return Ok(stream::iter([Ok(first)]).boxed());
    }
    let whole = log_request(target, LogOptions { timestamps, ..LogOptions::default() });
    followed(server.clone(), target.clone(), whole, first)
}

fn log_request(target: &PodContainer, options: LogOptions) -> Request {
    let mut request = about(&target.namespace, &target.pod, Verb::Get);
    request.subresource = Some("log".into());
    request.params = Params { container: Some(target.container.clone()), log: options, ..Params::default() };
    request
}

fn text(server: &Server, request: &Request) -> Result<Bytes, Status> {
    match server.request(request)?.reply {
        Reply::Text(text) => Ok(text),
        _ => Err(Status::internal("a log is no text")),
    }
}

/// A followed log: what is there, then what is added, until the container has ended or the pod is gone.
fn followed(server: Server, target: PodContainer, whole: Request, first: Bytes) -> Result<LogStream, Status> {
    let sent = text(&server, &whole)?.len();
    let mut watched = about(&target.namespace, &target.pod, Verb::Watch);
    watched.name = None;
    watched.params.field_selector = Some(format!("metadata.name={}", target.pod));
    let Reply::Watch(watch) = server.request(&watched)?.reply else {
        return Err(Status::internal("a watch is no watch"));
    };
    let events = server.watch(watch);
    let added = stream::unfold(Some((server, target, sent, events)), move |state| {
        let whole = whole.clone();
        async move {
            let (server, target, mut sent, mut events) = state?;
            loop {
                let pod = read(&server, &target.namespace, &target.pod);
                let over = pod.map_or(true, |pod| ended(&pod, &target));
                let text = text(&server, &whole).unwrap_or_default();
                if text.len() < sent {
                    // The container has been restarted: its log begins again.
                    sent = 0;
                }
                let more = text.get(sent..).map(Bytes::copy_from_slice).unwrap_or_default();
                sent += more.len();
                if over {
                    return (!more.is_empty()).then_some((Ok(more), None));
                }
                if !more.is_empty() {
                    return Some((Ok(more), Some((server, target, sent, events))));
                }
                tokio::select! {
                    biased;
                    event = events.next() => if !matches!(event, Some(Ok(_))) { return None },
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        }
    });
    Ok(stream::iter([Ok(first)]).chain(added).boxed())
}

fn ended(pod: &Value, target: &PodContainer) -> bool {
    if pod["metadata"]["uid"] != target.uid.as_str() {
        return true;
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let mut all = statuses.iter().flat_map(|field| pod["status"][*field].as_array().into_iter().flatten());
    matches!(phase, "Succeeded" | "Failed")
        || all.any(|status| {
            status["name"] == target.container.as_str() && status["state"]["terminated"].is_object()
        })
}

fn read(server: &Server, namespace: &str, name: &str) -> Result<Value, Status> {
    match server.request(&about(namespace, name, Verb::Get))?.reply {
        Reply::Object(stored) => Ok(stored.value()),
        _ => Err(Status::internal("a pod is no object")),
    }
}

/// A request of the server's own about a pod.
fn about(namespace: &str, name: &str, verb: Verb) -> Request {
    Request {
        verb,
        version: "v1".into(),
        resource: "pods".into(),
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        ..Request::default()
    }
}
