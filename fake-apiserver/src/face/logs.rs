//! `pods/log`: from the kubelet of the pod's node where one is connected, from the state machine otherwise.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use http::{Response, StatusCode};
use serde_json::Value;

use super::body::ResponseBody;
use super::node::{LogOptions, PodContainer};
use super::{Server, render};
use crate::request::{Request, Verb};
use crate::response::Reply;
use crate::status::Status;

/// How often a followed log of a simulated pod is looked at between its pod's events.
const POLL: Duration = Duration::from_millis(500);

pub(super) async fn answer(server: &Server, request: &Request) -> Result<Response<ResponseBody>, Status> {
    let pod = pod(server, request)?;
    let container = server.with(|api| api.log_container(&pod, request.params.container.as_deref()))?;
    let node = pod["spec"]["nodeName"].as_str().and_then(|node| server.node(node));
    if let Some(node) = node {
        let text =
            |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let target = PodContainer {
            namespace: text("/metadata/namespace"),
            pod: text("/metadata/name"),
            uid: text("/metadata/uid"),
            container,
        };
        return Ok(streamed(node.log(target, request.params.log.clone()).await?));
    }
    let mut request = request.clone();
    request.params.container = Some(container);
    let follow = std::mem::take(&mut request.params.log.follow);
    let first = read(server, &request)?;
    if follow {
        Ok(streamed(followed(server.clone(), request, first)?))
    } else {
        Ok(render::text(200, first))
    }
}

fn streamed(stream: BoxStream<'static, std::io::Result<Bytes>>) -> Response<ResponseBody> {
    let mut response = render::bytes(StatusCode::OK, "text/plain; charset=utf-8", Bytes::new());
    *response.body_mut() = ResponseBody::stream(stream::iter([Ok(Bytes::new())]).chain(stream).boxed());
    response
}

fn pod(server: &Server, request: &Request) -> Result<Value, Status> {
    let request = Request { subresource: None, ..request.clone() };
    match server.request(&request)?.reply {
        Reply::Object(stored) => Ok(stored.value()),
        Reply::Value(value) => Ok(value),
        _ => Err(Status::internal("a pod is no object")),
    }
}

fn read(server: &Server, request: &Request) -> Result<Bytes, Status> {
    match server.request(request)?.reply {
        Reply::Text(text) => Ok(text),
        _ => Err(Status::internal("a log is no text")),
    }
}

/// A followed log of a simulated pod: what is there, then what is added, until the container has ended or the pod is gone.
fn followed(
    server: Server,
    request: Request,
    first: Bytes,
) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
    let whole = Request {
        params: crate::request::Params {
            log: LogOptions { timestamps: request.params.log.timestamps, ..LogOptions::default() },
            ..request.params.clone()
        },
        ..request.clone()
    };
    let sent = read(&server, &whole)?.len();
    let watched = Request {
        verb: Verb::Watch,
        subresource: None,
        name: None,
        params: crate::request::Params {
            field_selector: request.name.as_ref().map(|name| format!("metadata.name={name}")),
            ..crate::request::Params::default()
        },
        ..request
    };
    let Reply::Watch(watch) = server.request(&watched)?.reply else {
        return Err(Status::internal("a watch is no watch"));
    };
    let events = server.watch(watch);
    let added = stream::unfold(Some((server, whole, sent, events)), |state| async move {
        let (server, whole, mut sent, mut events) = state?;
        loop {
            let over =
                pod(&server, &whole).map_or(true, |pod| ended(&pod, whole.params.container.as_deref()));
            let text = read(&server, &whole).unwrap_or_default();
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
                return Some((Ok(more), Some((server, whole, sent, events))));
            }
            tokio::select! {
                biased;
                event = events.next() => if !matches!(event, Some(Ok(_))) { return None },
                () = tokio::time::sleep(POLL) => {}
            }
        }
    });
    Ok(stream::iter([Ok(first)]).chain(added).boxed())
}

fn ended(pod: &Value, container: Option<&str>) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let mut all = statuses.iter().flat_map(|field| pod["status"][*field].as_array().into_iter().flatten());
    matches!(phase, "Succeeded" | "Failed")
        || all.any(|status| status["name"].as_str() == container && status["state"]["terminated"].is_object())
}
