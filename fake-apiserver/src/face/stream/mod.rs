//! Requests whose connection goes on to be something else than HTTP: exec, attach, port-forward, and the proxies.
//!
//! | file | what it is |
//! |---|---|
//! | `command` | `pods/exec` and `pods/attach` |
//! | `portforward` | `pods/portforward` |
//! | `proxy` | `pods/proxy`, `services/proxy` and `nodes/proxy` |
//! | `location`, `trust`, `kubelet` | where they lead, how they are encrypted, what a node answers |
//! | `upgrade` | changing the connection |
//! | `websocket`, `spdy` | what it is changed into |
//! | `pipe`, `conversation` | the streams within it, and its course |

mod command;
mod conversation;
mod html;
mod kubelet;
mod location;
mod pipe;
mod portforward;
mod proxy;
mod spdy;
mod trust;
mod upgrade;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::Value;

use super::Server;
use super::body::ResponseBody;
use super::http::HttpService;
use super::node::{NodeProxy, PodContainer, PodIdentity};
use super::path::{Query, ResourcePath};
use super::simulated::Simulated;
use crate::request::{PatchType, Request, User, Verb};
use crate::response::Reply;
use crate::server::no_such_method;
use crate::status::Status;
use portforward::Ports;

pub(super) use upgrade::Connections;

/// The body of a request that is passed on.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What a request that is not answered by the state machine wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exec,
    Attach,
    PortForward,
    PodProxy,
    ServiceProxy,
    NodeProxy,
}

impl Kind {
    /// `None` for a request that the state machine answers.
    pub(super) fn of(path: &ResourcePath) -> Option<Self> {
        if !path.group.is_empty() || path.name.is_none() {
            return None;
        }
        let is_proxy = path.subresource.as_deref() == Some("proxy");
        if path.rest.is_some() && !is_proxy {
            return None;
        }
        match (path.resource.as_str(), path.subresource.as_deref()?) {
            ("pods", "exec") => Some(Self::Exec),
            ("pods", "attach") => Some(Self::Attach),
            ("pods", "portforward") => Some(Self::PortForward),
            ("pods", "proxy") => Some(Self::PodProxy),
            ("services", "proxy") => Some(Self::ServiceProxy),
            ("nodes", "proxy") => Some(Self::NodeProxy),
            _ => None,
        }
    }

    fn is_proxy(self) -> bool {
        matches!(self, Self::PodProxy | Self::ServiceProxy | Self::NodeProxy)
    }
}

pub(super) async fn answer(
    service: &HttpService,
    kind: Kind,
    path: ResourcePath,
    parts: Parts,
    body: Body,
    user: User,
) -> Result<Response<ResponseBody>, Status> {
    let server = service.server();
    let query = Query::parse(parts.uri.query());
    if service.rbac() && !kind.is_proxy() {
        // Whoever upgrades a GET needs the right to create too (AuthorizePodWebsocketUpgradeCreatePermission).
        let create = request(path.clone(), Verb::Create, user.clone());
        server.with(|api| api.authorize(&create))?;
    }
    // Whether the user may do this was asked; what else it takes is asked by the server itself.
    let user = User { agent: user.agent, ..User::default() };
    match kind {
        Kind::PodProxy | Kind::ServiceProxy | Kind::NodeProxy => {
            proxy::answer(service, kind, path, parts, body, user).await
        }
        Kind::PortForward => {
            let pod = connect(server, path, &parts.method, user)?;
            let (node, pod) = (node_of(server, &pod)?, identity(&pod));
            portforward::answer(Ports { node, pod }, &query.all("ports"), parts, service.connections())
        }
        Kind::Exec | Kind::Attach => {
            let pod = connect(server, path, &parts.method, user)?;
            let asked = query.text("container");
            let container = server.with(|api| api.log_container(&pod, asked.as_deref()))?;
            let process = process(node_of(server, &pod)?, &pod, &container, kind);
            command::answer(process, ["stdin", "stdout", "stderr"], parts, service.connections())
        }
    }
}

/// What an API server asks of a node about a container, or about its pod: the same that clients ask, in the words of kubelets.
pub(super) fn answer_for_node(
    node: Arc<dyn NodeProxy>,
    kind: Kind,
    pod: &Value,
    container: &str,
    parts: Parts,
    connections: &Connections,
) -> Result<Response<ResponseBody>, Status> {
    if kind == Kind::PortForward {
        let ports = Query::parse(parts.uri.query()).all("port");
        return portforward::answer(Ports { node, pod: identity(pod) }, &ports, parts, connections);
    }
    command::answer(process(node, pod, container, kind), ["input", "output", "error"], parts, connections)
}

fn process(node: Arc<dyn NodeProxy>, pod: &Value, container: &str, kind: Kind) -> command::Process {
    let PodIdentity { namespace, name, uid } = identity(pod);
    let target = PodContainer { namespace, pod: name, uid, container: container.to_owned() };
    command::Process { node, running: is_running(pod, container), target, exec: kind == Kind::Exec }
}

/// The object to connect to, from the state machine, which knows who may.
fn connect(server: &Server, path: ResourcePath, method: &Method, user: User) -> Result<Value, Status> {
    let verb = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Verb::Get,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch(PatchType::Merge),
        Method::DELETE => Verb::Delete,
        _ => return Err(no_such_method()),
    };
    let request = request(path, verb, user);
    match server.request(&request)?.reply {
        Reply::Object(stored) => Ok(stored.value()),
        _ => Err(Status::internal("there is no object to connect to")),
    }
}

fn request(path: ResourcePath, verb: Verb, user: User) -> Request {
    Request {
        verb,
        group: path.group,
        version: path.version,
        resource: path.resource,
        subresource: path.subresource,
        namespace: path.namespace,
        name: path.name,
        user,
        ..Request::default()
    }
}

/// The kubelet of a pod's node.
fn node_of(server: &Server, pod: &Value) -> Result<Arc<dyn NodeProxy>, Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
    };
    Ok(server.node(node).unwrap_or_else(|| Arc::new(Simulated::new(server.clone()))))
}

fn identity(pod: &Value) -> PodIdentity {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    PodIdentity { namespace: text("namespace"), name: text("name"), uid: text("uid") }
}

fn is_running(pod: &Value, container: &str) -> bool {
    let fields = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let mut statuses = fields.iter().flat_map(|field| pod["status"][*field].as_array().into_iter().flatten());
    statuses.any(|status| status["name"] == container && status["state"]["running"].is_object())
}
