//! What the kubelet of a node answers to `nodes/proxy`: health, its pods, and the logs of their containers.
//!
//! Follows `pkg/kubelet/server` of Kubernetes. Metrics, statistics, configuration and commands are 501.

use std::sync::Arc;

use futures::StreamExt as _;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::super::Server;
use super::super::body::ResponseBody;
use super::super::node::PodContainer;
use super::super::path::{Query, percent_decode};
use super::super::render;
use super::super::simulated::Simulated;
use crate::request::{Request, Verb};
use crate::response::Reply;
use crate::status::Status;

/// What a kubelet answers besides, by the first part of the path.
const ELSEWHERE: [&str; 15] = [
    "attach",
    "checkpoint",
    "configz",
    "cri",
    "debug",
    "exec",
    "flagz",
    "logs",
    "metrics",
    "portForward",
    "run",
    "runningpods",
    "spec",
    "stats",
    "statusz",
];

pub(super) async fn answer(
    server: &Server,
    node: &Value,
    path: &str,
    parts: &Parts,
) -> Result<Response<ResponseBody>, Status> {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let path = percent_decode(path);
    let steps: Vec<&str> = path.trim_matches('/').split('/').collect();
    match steps.as_slice() {
        ["healthz"] | ["healthz", "ping" | "log" | "syncloop"] => Ok(render::text(200, "ok")),
        ["pods"] if parts.method == Method::GET => Ok(render::json(200, &pods(server, name)?)),
        ["containerLogs", namespace, pod, container] if parts.method == Method::GET => {
            let target = PodContainer {
                namespace: (*namespace).to_owned(),
                pod: (*pod).to_owned(),
                uid: String::new(),
                container: (*container).to_owned(),
            };
            logs(server, name, target, parts.uri.query()).await
        }
        ["pods"] | ["containerLogs", _, _, _] => Ok(render::text(405, "405: Method Not Allowed")),
        [first, ..] if ELSEWHERE.contains(first) => {
            Err(Status::not_modelled(format!("the kubelet's {first} is not modelled by this server")))
        }
        _ => Ok(render::text(404, "404 page not found\n")),
    }
}

/// The pods that are bound to a node, as its kubelet keeps them: it notes where they came from.
fn pods(server: &Server, node: &str) -> Result<Value, Status> {
    let mut request = request(Verb::List);
    request.params.field_selector = Some(format!("spec.nodeName={node}"));
    let Reply::List(list) = server.request(&request)?.reply else {
        return Err(Status::internal("a list of pods is no list"));
    };
    let items: Vec<Value> = list.items.iter().map(|pod| seen(pod.value())).collect();
    Ok(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn seen(mut pod: Value) -> Value {
    let time = pod["metadata"]["creationTimestamp"].clone();
    if let Some(pod) = pod.as_object_mut() {
        pod.remove("apiVersion");
        pod.remove("kind");
    }
    pod["metadata"]["annotations"]["kubernetes.io/config.seen"] = time;
    pod["metadata"]["annotations"]["kubernetes.io/config.source"] = json!("api");
    pod
}

async fn logs(
    server: &Server,
    node: &str,
    mut target: PodContainer,
    query: Option<&str>,
) -> Result<Response<ResponseBody>, Status> {
    let mut get = request(Verb::Get).name(target.pod.clone());
    get.namespace = Some(target.namespace.clone());
    let found = server.request(&get).ok().and_then(|response| match response.reply {
        Reply::Object(pod) => Some(pod.value()).filter(|pod| pod["spec"]["nodeName"] == node),
        _ => None,
    });
    let Some(pod) = found else {
        return Ok(render::text(404, format!("pod {:?} does not exist\n", target.pod)));
    };
    let lists = ["containers", "initContainers", "ephemeralContainers"].iter();
    let mut containers = lists.flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    if !containers.any(|container| container["name"] == target.container.as_str()) {
        let text = format!("container {:?} not found in pod {:?}\n", target.container, target.pod);
        return Ok(render::text(404, text));
    }
    target.uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let proxy = server.node(node).unwrap_or_else(|| Arc::new(Simulated::new(server.clone())));
    let lines = proxy.log(target, Query::parse(query).log_options()?).await?;
    let mut response = render::bytes(StatusCode::OK, "text/plain", "");
    *response.body_mut() = ResponseBody::stream(lines.boxed());
    Ok(response)
}

/// A request of the server's own about pods.
fn request(verb: Verb) -> Request {
    Request { verb, version: "v1".into(), resource: "pods".into(), ..Request::default() }
}
