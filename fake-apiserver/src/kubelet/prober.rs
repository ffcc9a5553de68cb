//! Asking a container how it is: HTTP, TCP and commands, for probes and lifecycle hooks.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container as Spec, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::container;
use super::helper::ExecOrder;
use super::process::Spawner;

/// Bytes of an answer that are kept for messages.
const BODY_MAX: usize = 10 << 10;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// Run a command: exit code 0 is success.
    Exec(ExecAction),
    /// Get a page: status 200 to 399 is success.
    Http(HTTPGetAction),
    /// Connect.
    Tcp(TCPSocketAction),
    /// Wait so many seconds (hooks only).
    Sleep(u64),
    /// Something this kubelet cannot ask.
    Unknown(&'static str),
}

impl From<&Probe> for Question {
    fn from(probe: &Probe) -> Self {
        if let Some(exec) = &probe.exec {
            Self::Exec(exec.clone())
        } else if let Some(get) = &probe.http_get {
            Self::Http(get.clone())
        } else if let Some(tcp) = &probe.tcp_socket {
            Self::Tcp(tcp.clone())
        } else if probe.grpc.is_some() {
            Self::Unknown("gRPC probes are not supported by the process kubelet")
        } else {
            Self::Unknown("missing probe handler")
        }
    }
}

impl From<&LifecycleHandler> for Question {
    fn from(hook: &LifecycleHandler) -> Self {
        if let Some(exec) = &hook.exec {
            Self::Exec(exec.clone())
        } else if let Some(get) = &hook.http_get {
            Self::Http(get.clone())
        } else if let Some(tcp) = &hook.tcp_socket {
            Self::Tcp(tcp.clone())
        } else if let Some(sleep) = &hook.sleep {
            Self::Sleep(u64::try_from(sleep.seconds).unwrap_or(0))
        } else {
            Self::Unknown("missing hook handler")
        }
    }
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub(super) struct Respondent {
    pub(super) spawner: Spawner,
    pub(super) helper: std::path::PathBuf,
    /// A command's surroundings; its own words are filled in.
    pub(super) exec: ExecOrder,
    pub(super) address: Ipv4Addr,
    pub(super) spec: Spec,
}

/// Asks once. An error is the message of an `Unhealthy` event.
pub(super) async fn ask(question: &Question, whom: &Respondent, limit: Duration) -> Result<(), String> {
    match question {
        Question::Exec(action) => run(action, whom, limit).await,
        Question::Http(action) => match timeout(limit, get(action, whom)).await {
            Ok(answer) => answer,
            Err(_) => {
                Err("Get: context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into())
            }
        },
        Question::Tcp(action) => {
            let address = target(action.host.as_deref(), &action.port, whom)?;
            match timeout(limit, TcpStream::connect(&address)).await {
                Ok(connected) => connected.map(drop).map_err(|error| format!("dial tcp {address}: {error}")),
                Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
            }
        }
        Question::Sleep(seconds) => {
            tokio::time::sleep(Duration::from_secs(*seconds)).await;
            Ok(())
        }
        Question::Unknown(why) => Err((*why).to_owned()),
    }
}

async fn run(action: &ExecAction, whom: &Respondent, limit: Duration) -> Result<(), String> {
    let order = ExecOrder { argv: action.command.clone().unwrap_or_default(), ..whom.exec.clone() };
    match container::exec(&whom.spawner, Path::new(&whom.helper), &order, limit).await? {
        (0, _) => Ok(()),
        (code, output) if output.trim().is_empty() => Err(format!("command exited with {code}")),
        (_, output) => Err(output),
    }
}

fn port(port: &IntOrString, spec: &Spec) -> Result<u16, String> {
    match port {
        IntOrString::Int(number) => {
            u16::try_from(*number).map_err(|_| format!("invalid port number: {number}"))
        }
        IntOrString::String(name) => {
            let named = spec.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name));
            let number = named.map(|port| port.container_port).or_else(|| name.parse().ok());
            let number = number.and_then(|number| u16::try_from(number).ok());
            number.ok_or_else(|| format!("couldn't find port: {name:?}"))
        }
    }
}

fn target(host: Option<&str>, wanted: &IntOrString, whom: &Respondent) -> Result<String, String> {
    let port = port(wanted, &whom.spec)?;
    Ok(match host.filter(|host| !host.is_empty()) {
        Some(host) => format!("{host}:{port}"),
        None => SocketAddr::from((whom.address, port)).to_string(),
    })
}

async fn get(action: &HTTPGetAction, whom: &Respondent) -> Result<(), String> {
    let address = target(action.host.as_deref(), &action.port, whom)?;
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
    let said = |error: &dyn std::fmt::Display| format!("Get \"{scheme}://{address}{path}\": {error}");
    if scheme != "http" {
        return Err(said(&"HTTPS probes are not supported by the process kubelet"));
    }
    let stream =
        TcpStream::connect(&address).await.map_err(|error| said(&format!("dial tcp {address}: {error}")))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    let connection = tokio::spawn(connection);
    let mut request = http::Request::get(&path);
    let headers = action.http_headers.iter().flatten();
    let mut named: Vec<(&str, &str)> =
        headers.map(|header| (header.name.as_str(), header.value.as_str())).collect();
    for (name, value) in [("Host", address.as_str()), ("User-Agent", "kube-probe/1.33"), ("Accept", "*/*")] {
        if !named.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
            named.push((name, value));
        }
    }
    for (name, value) in named {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| said(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
    let status = answer.status().as_u16();
    let body = http_body_util::Limited::new(answer.into_body(), BODY_MAX).collect().await;
    connection.abort();
    if (200..400).contains(&status) {
        return Ok(());
    }
    let body = body.map(http_body_util::Collected::to_bytes).ok();
    tracing::debug!(%address, status, ?body, "probe failed");
    Err(format!("HTTP probe failed with statuscode: {status}"))
}
