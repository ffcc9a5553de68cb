//! Namespaces: the node's own, and the sandbox of each pod.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::helper::channel::{AsyncChannel, Channel};
use super::helper::{CHECK, NetworkOrder, Reply, SANDBOX, SandboxOrder};
use super::network::{Links, NodeNetwork};
use super::process::Spawner;

/// Why this machine cannot be a node; one sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// How long a sandbox may take to make a socket.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);

const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Turns this process into a node: from here on its network is the node's, in which pods and cluster IPs can be reached,
/// and its mounts are its own.
///
/// The contract:
///
/// 1. [`maybe_run_helper`](super::maybe_run_helper) was called before.
/// 2. The process has one thread: call this before any runtime is started. A user namespace cannot be entered otherwise.
/// 3. What is to be reached from outside (the API listener) is bound before, as a `std::net::TcpListener`:
///    a socket stays in the network in which it was made. What is to be reached by pods is bound after.
///
/// As root the process keeps its user; otherwise it becomes root in a user namespace of its own.
/// Everything is tried in a child process first, so after a refusal this process is unchanged
/// and can go on with the simulated kubelet.
pub fn enter_node_namespaces() -> Result<NodeNetwork, Unsupported> {
    check_machine().map_err(|message| Unsupported(explain(&message)))?;
    unshare_node().map_err(|message| Unsupported(explain(&message)))?;
    Ok(NodeNetwork::default())
}

fn explain(message: &str) -> String {
    let restricted = fs::read_to_string(APPARMOR).is_ok_and(|text| text.trim() == "1");
    if restricted && !geteuid().is_root() {
        return format!(
            "pods as local processes need user namespaces, which AppArmor restricts on this machine ({message}): \
             run as root, or allow them with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        );
    }
    if geteuid().is_root() {
        format!("pods as local processes need Linux namespaces, which are refused here: {message}")
    } else {
        format!("pods as local processes need root or user namespaces, which are refused here: {message}")
    }
}

fn check_machine() -> Result<(), String> {
    let (mut ours, theirs) = Channel::pair().map_err(|error| error.to_string())?;
    let child = StdCommand::new("/proc/self/exe").arg(CHECK).stdin(Stdio::from(theirs)).spawn();
    let mut child = child.map_err(|error| format!("cannot start a helper process: {error}"))?;
    let reply = ours.receive::<Reply>();
    child.wait().map_err(|error| error.to_string())?;
    match reply {
        Ok(Some(Reply::Ready)) => Ok(()),
        Ok(Some(Reply::Failed { message })) => Err(message),
        _ => Err("the check ended without an answer; does the program call maybe_run_helper first?".into()),
    }
}

/// Gives this process namespaces of its own: network and mounts, and a user namespace unless it is root.
pub(super) fn unshare_node() -> Result<(), String> {
    let (user, group) = (geteuid(), getegid());
    let mut spaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if !user.is_root() {
        spaces |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(spaces).map_err(|error| format!("cannot make the node's namespaces: {error}"))?;
    if !user.is_root() {
        let write = |path: &str, text: String| {
            fs::write(path, text).map_err(|error| format!("cannot write {path}: {error}"))
        };
        write("/proc/self/setgroups", "deny".into())?;
        write("/proc/self/uid_map", format!("0 {user} 1"))?;
        write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|error| format!("cannot make mounts private: {error}"))
}

/// A pod's network namespace, with its address. Gone when dropped.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// The process that holds the namespace; killed when dropped.
    holder: Child,
    door: SandboxDoor,
    link: String,
    /// The pod's address.
    pub(super) address: Ipv4Addr,
}

impl Sandbox {
    /// Makes the namespace and connects it to the node. `link` is the link's name on the node, at most 15 bytes.
    pub(super) async fn create(
        spawner: &Spawner,
        helper: &Path,
        links: &Links,
        network: &NodeNetwork,
        link: &str,
        address: Ipv4Addr,
    ) -> Result<Self, String> {
        let (mut channel, theirs) = AsyncChannel::pair().map_err(|error| error.to_string())?;
        let mut command = Command::new(helper);
        command.arg(SANDBOX).stdin(Stdio::from(theirs)).kill_on_drop(true);
        let holder = spawner.spawn(command).await.map_err(|error| error.to_string())?;
        expect_ready(&mut channel).await?;
        let process = holder.id().ok_or("the sandbox ended early")?;
        let peer = format!("p{link}");
        links.connect_pod(link, &peer, process).await.map_err(|error| error.to_string())?;
        let order =
            NetworkOrder { link: peer, address, prefix: network.pod_prefix, gateway: network.node_address };
        let order = SandboxOrder::Configure(order);
        channel.send(&order).await.map_err(|error| error.to_string())?;
        expect_ready(&mut channel).await?;
        let door = SandboxDoor(Arc::new(Mutex::new(channel)));
        Ok(Self { holder, door, link: link.to_owned(), address })
    }

    /// A way into the namespace, which may outlive it.
    pub(super) fn door(&self) -> SandboxDoor {
        self.door.clone()
    }

    /// The process in whose network namespace the containers run.
    pub(super) fn process(&self) -> Option<u32> {
        self.holder.id()
    }

    /// Ends the namespace and waits until it is gone.
    pub(super) async fn remove(mut self, links: &Links) {
        links.remove(&self.link).await;
        // Killing fails only when it has ended already.
        let _ = self.holder.kill().await;
    }
}

/// Makes sockets within a pod's network namespace.
#[derive(Clone, Debug)]
pub(super) struct SandboxDoor(Arc<Mutex<AsyncChannel>>);

impl SandboxDoor {
    /// A new TCP socket; it belongs to the pod's network wherever it is used.
    pub(super) async fn socket(&self) -> Result<TcpSocket, String> {
        let door = self.clone();
        // A task of its own: an order whose answer nobody waited for would be answered to the next.
        let made = tokio::spawn(async move {
            let mut channel = door.0.lock().await;
            channel.send(&SandboxOrder::Socket).await.map_err(|error| error.to_string())?;
            expect_ready(&mut channel).await?;
            channel.receive_file().await.map_err(|error| error.to_string())
        });
        let made = timeout(SOCKET_TIMEOUT, made).await.map_err(|_| "the pod's sandbox does not answer")?;
        let socket = made.map_err(|error| error.to_string())??;
        Ok(TcpSocket::from_std_stream(socket.into()))
    }
}

async fn expect_ready(channel: &mut AsyncChannel) -> Result<(), String> {
    match channel.receive::<Reply>().await {
        Ok(Some(Reply::Ready)) => Ok(()),
        Ok(Some(Reply::Failed { message })) => Err(message),
        Ok(_) => Err("the sandbox ended early".into()),
        Err(error) => Err(error.to_string()),
    }
}
