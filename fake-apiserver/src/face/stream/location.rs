//! Where `pods/proxy`, `services/proxy` and `nodes/proxy` lead, and what is refused: `ResourceLocation` of the real server's
//! pods, services and nodes.

use std::sync::Arc;

use http::Method;
use serde_json::Value;
use tokio::net::TcpStream;

use super::super::Server;
use super::super::node::{Connection, Door, NodeProxy, PodIdentity};
use super::super::path::ResourcePath;
use super::{Kind, connect, identity, node_of, trust};
use crate::request::{Request, User, Verb};
use crate::response::Reply;
use crate::status::Status;

/// The port of a kubelet that does not name another.
const KUBELET: u64 = 10250;
/// The addresses of a node that the server looks for, best first (`--kubelet-preferred-address-types`).
const PREFERRED: [&str; 5] = ["Hostname", "InternalDNS", "InternalIP", "ExternalDNS", "ExternalIP"];

/// Where a request goes.
pub(super) enum Location {
    /// To the kubelet of this node.
    Kubelet(Value),
    Elsewhere(Target),
}

/// A port of a pod or node.
pub(super) struct Target {
    way: Way,
    host: String,
    port: u16,
    secure: bool,
}

enum Way {
    Pod(Arc<dyn NodeProxy>, PodIdentity),
    /// A node that is a machine of some kind.
    Node,
    /// A node on which nothing runs.
    Nowhere,
}

impl Target {
    fn pod(node: Arc<dyn NodeProxy>, pod: &Value, port: u16, secure: bool) -> Self {
        let host = pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        Self { way: Way::Pod(node, identity(pod)), host, port, secure }
    }

    /// A connection, encrypted where that was asked for: the certificate is not looked at, as by the real server.
    pub(super) async fn dial(&self) -> Result<Connection, String> {
        let Self { way, host, port, secure } = self;
        let refused = |why: String| format!("dial tcp {host}:{port}: {why}");
        let connection: Connection = match way {
            Way::Pod(node, pod) => node.dial(pod.clone(), Door::Address, *port).await?,
            Way::Node => {
                let dialled = TcpStream::connect((host.as_str(), *port)).await;
                Box::new(dialled.map_err(|error| refused(format!("connect: {error}")))?)
            }
            Way::Nowhere => {
                return Err(refused("connect: connection refused (the node is simulated)".into()));
            }
        };
        if *secure { trust::encrypt(connection, host).await } else { Ok(connection) }
    }
}

/// Where a proxy of this kind leads for a path like `…/pods/https:name:port/proxy`.
pub(super) fn of(
    server: &Server,
    kind: Kind,
    path: ResourcePath,
    method: &Method,
    user: User,
) -> Result<Location, Status> {
    let id = path.name.clone().unwrap_or_default();
    let (scheme, name, port) = split(&id).ok_or_else(|| {
        let what = match kind {
            Kind::PodProxy => "pod",
            Kind::NodeProxy => "node",
            _ => "service",
        };
        Status::bad_request(format!("invalid {what} request {id:?}"))
    })?;
    let object = connect(server, ResourcePath { name: Some(name), ..path }, method, user)?;
    let secure = scheme == "https";
    let target = match kind {
        Kind::PodProxy => pod_target(server, &object, &port, secure)?,
        Kind::NodeProxy => return node_location(server, object, &port, secure),
        _ => service_target(server, &object, &port, secure)?,
    };
    Ok(Location::Elsewhere(target))
}

fn node_location(server: &Server, node: Value, port: &str, secure: bool) -> Result<Location, Status> {
    let addresses = node["status"]["addresses"].as_array().map_or(&[][..], Vec::as_slice);
    let mut found = PREFERRED.iter().filter_map(|kind| {
        let address = addresses.iter().find(|address| address["type"] == *kind)?;
        address["address"].as_str()
    });
    let host = found.next().ok_or_else(|| {
        Status::new(500, "", format!("no preferred addresses found; known addresses: {}", go_list(addresses)))
    })?;
    let kubelet = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let kubelet = kubelet.filter(|port| *port > 0).unwrap_or(KUBELET);
    if port.is_empty() || port == kubelet.to_string() {
        return Ok(Location::Kubelet(node));
    }
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let way = if server.node(name).is_some() { Way::Node } else { Way::Nowhere };
    Ok(Location::Elsewhere(Target { way, host: host.to_owned(), port: number(port)?, secure }))
}

/// Addresses as Go prints them.
fn go_list(addresses: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = addresses.iter().map(|a| format!("{{{} {}}}", text(&a["type"]), text(&a["address"])));
    format!("[{}]", all.collect::<Vec<_>>().join(" "))
}

fn number(port: &str) -> Result<u16, Status> {
    let unknown = |_| {
        let text = format!("error trying to reach service: unknown port {port:?}");
        Status::new(503, "ServiceUnavailable", text)
    };
    port.parse().map_err(unknown)
}

/// `name`, `name:port` or `scheme:name:port` (`SplitSchemeNamePort` of the real server).
fn split(id: &str) -> Option<(String, String, String)> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    let known = matches!(scheme, "" | "http" | "https") && !name.is_empty();
    known.then(|| (scheme.to_owned(), name.to_owned(), port.to_owned()))
}

fn pod_target(server: &Server, pod: &Value, port: &str, secure: bool) -> Result<Target, Status> {
    let mut stated = pod["spec"]["containers"].as_array().into_iter().flatten();
    let stated = stated.find_map(|container| container["ports"][0]["containerPort"].as_u64());
    let port = if port.is_empty() { stated.unwrap_or(80).to_string() } else { port.to_owned() };
    if pod["status"]["podIP"].as_str().is_none_or(str::is_empty) {
        return Err(Status::bad_request("address not allowed"));
    }
    let port = number(&port)?;
    Ok(Target::pod(node_of(server, pod)?, pod, port, secure))
}

fn service_target(server: &Server, service: &Value, port: &str, secure: bool) -> Result<Target, Status> {
    let unavailable = |text: String| Status::new(503, "ServiceUnavailable", text);
    let text = |field: &str| service["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let id = if port.is_empty() { name.to_owned() } else { format!("{name}:{port}") };
    let port_name = match port.parse::<i64>() {
        Ok(number) => {
            let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let found = ports.find(|port| port["port"].as_i64() == Some(number));
            let found = found
                .ok_or_else(|| unavailable(format!("no service port {number} found for service {name:?}")))?;
            found["name"].as_str().unwrap_or_default().to_owned()
        }
        Err(_) => port.to_owned(),
    };
    // A service that no controller has looked at yet counts as absent.
    let absent = |_| Status::not_found("", "services", name);
    let endpoints = read(server, "endpoints", namespace, name).map_err(absent)?;
    let subsets = endpoints["subsets"].as_array().filter(|subsets| !subsets.is_empty());
    let subsets =
        subsets.ok_or_else(|| unavailable(format!("no endpoints available for service {name:?}")))?;
    for subset in subsets {
        let mut ports = subset["ports"].as_array().into_iter().flatten();
        let port = ports.find(|port| port["name"].as_str().unwrap_or_default() == port_name);
        let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let mut addresses = subset["addresses"].as_array().into_iter().flatten();
        // Only pods of the service's own namespace are proxied to.
        let pod = addresses.find_map(|address| {
            let target = &address["targetRef"];
            let own = target["kind"] == "Pod" && target["namespace"] == namespace;
            read(server, "pods", namespace, target["name"].as_str().filter(|_| own)?).ok()
        });
        if let (Some(port), Some(pod)) = (port, pod) {
            return Ok(Target::pod(node_of(server, &pod)?, &pod, port, secure));
        }
    }
    Err(unavailable(format!("no endpoints available for service {id:?}")))
}

/// An object of the core group, as the server itself sees it.
fn read(server: &Server, resource: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let request = Request {
        verb: Verb::Get,
        version: "v1".into(),
        resource: resource.into(),
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        ..Request::default()
    };
    match server.request(&request)?.reply {
        Reply::Object(stored) => Ok(stored.value()),
        _ => Err(Status::internal("there is no object to connect to")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_a_scheme_and_a_port() {
        let split = |id| split(id).map(|(scheme, name, port)| [scheme, name, port].join("|"));
        assert_eq!(split("web").as_deref(), Some("|web|"));
        assert_eq!(split("web:http").as_deref(), Some("|web|http"));
        assert_eq!(split("https:web:443").as_deref(), Some("https|web|443"));
        assert_eq!(split("http:web:").as_deref(), Some("http|web|"));
        for wrong in ["", ":80", "ftp:web:21", "a:b:c:d"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
