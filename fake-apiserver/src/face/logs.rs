//! `pods/log`: from the kubelet of the pod's node, where nothing runs from the simulation.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{Response, StatusCode};
use serde_json::Value;

use super::body::ResponseBody;
use super::node::{NodeProxy, PodContainer};
use super::simulated::Simulated;
use super::{Server, render};
use crate::request::Request;
use crate::response::Reply;
use crate::server::LOG_ANNOTATION;
use crate::status::Status;

pub(super) async fn answer(server: &Server, request: &Request) -> Result<Response<ResponseBody>, Status> {
    let pod = pod(server, request)?;
    let container = server.with(|api| api.log_container(&pod, request.params.container.as_deref()))?;
    let name = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if name.is_empty() && !pod["metadata"]["annotations"][LOG_ANNOTATION].is_string() {
        // Where there is no node, there is nobody to ask.
        let mut nothing = Response::new(ResponseBody::whole(Bytes::new()));
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    let node: Option<Arc<dyn NodeProxy>> = server.node(name);
    let node = node.unwrap_or_else(|| Arc::new(Simulated::new(server.clone())));
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let target =
        PodContainer { namespace: text("namespace"), pod: text("name"), uid: text("uid"), container };
    let lines = node.log(target, request.params.log.clone()).await?;
    let mut response = render::bytes(StatusCode::OK, "text/plain; charset=utf-8", Bytes::new());
    // The head of the answer goes out before the first line.
    *response.body_mut() = ResponseBody::stream(stream::iter([Ok(Bytes::new())]).chain(lines).boxed());
    Ok(response)
}

fn pod(server: &Server, request: &Request) -> Result<Value, Status> {
    let request = Request { subresource: None, ..request.clone() };
    match server.request(&request)?.reply {
        Reply::Object(stored) => Ok(stored.value()),
        Reply::Value(value) => Ok(value),
        _ => Err(Status::internal("a pod is no object")),
    }
}
