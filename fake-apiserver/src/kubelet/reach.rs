//! What the API server asks of this node: logs, connections to pods, commands in containers.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::attach::Own;
use super::exec::Place;
use super::log_reader;
use super::logs::LogBook;
use super::sandbox::SandboxDoor;
use crate::face::{
    Connection, Door, LogOptions, LogStream, NodeProxy, PodContainer, PodIdentity, Session, Streams,
};
use crate::status::Status;

/// How long a pod may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);

/// The kubelet as the API server sees it.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) logs: Arc<LogBook>,
    pods: Mutex<BTreeMap<String, Pod>>,
}

/// What can be reached of a pod, by its uid.
#[derive(Debug)]
struct Pod {
    address: Ipv4Addr,
    /// `None` for a pod in the node's own network.
    door: Option<SandboxDoor>,
    /// The running containers, by name.
    containers: BTreeMap<String, Running>,
}

/// What can be reached of a running container.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// Where commands run.
    pub(super) place: Place,
    /// The streams of its own process.
    pub(super) own: Own,
}

impl Reach {
    pub(super) fn new(logs: Arc<LogBook>) -> Self {
        Self { logs, pods: Mutex::default() }
    }

    /// The pod has a network.
    pub(super) fn open(&self, uid: &str, address: Ipv4Addr, door: Option<SandboxDoor>) {
        self.lock().insert(uid.to_owned(), Pod { address, door, containers: BTreeMap::new() });
    }

    /// The pod has none any more.
    pub(super) fn close(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// A container runs.
    pub(super) fn started(&self, uid: &str, container: &str, running: Running) {
        if let Some(pod) = self.lock().get_mut(uid) {
            pod.containers.insert(container.to_owned(), running);
        }
    }

    /// It runs no more.
    pub(super) fn ended(&self, uid: &str, container: &str) {
        if let Some(pod) = self.lock().get_mut(uid) {
            pod.containers.remove(container);
        }
    }

    fn running(&self, target: &PodContainer) -> Result<Running, String> {
        let pods = self.lock();
        let found = pods.get(&target.uid).and_then(|pod| pod.containers.get(&target.container));
        found.cloned().ok_or_else(|| format!("container not found ({:?})", target.container))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeProxy for Reach {
    fn log(
        &self,
        target: PodContainer,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, Status>> {
        std::future::ready(log_reader::open(&self.logs, &target, &options)).boxed()
    }

    fn dial(
        &self,
        pod: PodIdentity,
        door: Door,
        port: u16,
    ) -> BoxFuture<'static, Result<Connection, String>> {
        let found = self.lock().get(&pod.uid).map(|pod| (pod.address, pod.door.clone()));
        async move {
            let (address, sandbox) = found.ok_or_else(|| format!("pod {:?} does not run", pod.name))?;
            match door {
                Door::Loopback => {
                    let socket = match sandbox {
                        Some(sandbox) => sandbox.socket().await?,
                        None => TcpSocket::new_v4().map_err(|error| error.to_string())?,
                    };
                    let connected = connect(socket, Ipv4Addr::LOCALHOST, port).await;
                    connected.map_err(|why| {
                        format!(
                            "failed to execute portforward in network namespace of pod {:?}: failed to connect to \
                             localhost:{port} inside namespace {:?}: {why}",
                            pod.name, pod.uid
                        )
                    })
                }
                Door::Address => {
                    let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
                    connect(socket, address, port).await
                }
            }
        }
        .boxed()
    }

    fn exec(
        &self,
        target: PodContainer,
        command: Vec<String>,
        streams: Streams,
    ) -> BoxFuture<'static, Result<Session, String>> {
        let running = self.running(&target);
        async move { running?.place.run(command, streams).await }.boxed()
    }

    fn attach(&self, target: PodContainer, streams: Streams) -> BoxFuture<'static, Result<Session, String>> {
        let running = self.running(&target);
        std::future::ready(running.and_then(|running| running.own.join(streams))).boxed()
    }
}

/// In the words of Go's dialer, which users know.
async fn connect(socket: TcpSocket, address: Ipv4Addr, port: u16) -> Result<Connection, String> {
    let address = SocketAddr::from((address, port));
    let why = match timeout(CONNECT, socket.connect(address)).await {
        Ok(Ok(stream)) => {
            // What is written is meant to arrive at once.
            let _ = stream.set_nodelay(true);
            return Ok(Box::new(stream));
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connect: connection refused".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "i/o timeout".to_owned(),
    };
    Err(format!("dial tcp {address}: {why}"))
}
