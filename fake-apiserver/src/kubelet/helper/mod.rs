//! The helper processes of the kubelet: this same program, started again with a hidden first argument.
//!
//! What must happen between fork and exec (joining namespaces, mounting) cannot be done there without `unsafe`;
//! a single-threaded helper does it in plain code and then starts the container's program.
//!
//! | helper | what it is |
//! |---|---|
//! | [`sandbox`] | keeps a pod's network namespace alive and configures it from inside |
//! | [`container`] | one for each container: joins the sandbox, starts the init process, passes signals and the exit code on |
//! | [`init`] | process 1 of the container's process namespace: mounts, then starts or becomes the program |
//! | [`exec`] | runs one more command inside a running container: probes, hooks, and what users ask for |
//! | [`program`] | begins a session, with a terminal if wanted, and becomes a program |
//! | [`check`] | tries everything once, to learn whether this machine can be a node |
//!
//! Every helper is given its orders as frames on its standard input, a socket; when the kubelet dies the socket ends
//! and the kernel kills the helper (`PR_SET_PDEATHSIG`), which kills the container's process namespace.

pub(super) mod channel;
mod check;
pub(super) mod container;
mod exec;
mod init;
mod program;
pub(super) mod sandbox;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::mounts::Mount;
use channel::Channel;
pub(super) use container::KILL;

pub(super) const SANDBOX: &str = "kubelet-pod-sandbox";
pub(super) const CONTAINER: &str = "kubelet-pod-container";
const INIT: &str = "kubelet-pod-init";
pub(super) const EXEC: &str = "kubelet-pod-exec";
const PROGRAM: &str = "kubelet-pod-program";
pub(super) const CHECK: &str = "kubelet-node-check";

/// What one container needs, from the kubelet to the helper.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ContainerOrder {
    /// The process whose network namespace is joined; `None` for the node's own network.
    pub(super) sandbox: Option<u32>,
    /// Host name.
    pub(super) hostname: String,
    /// What is mounted where, beside the host's own files.
    pub(super) mounts: Vec<Mount>,
    /// An empty directory on which file systems are built before they are moved into place.
    pub(super) staging: PathBuf,
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// Where the program starts; made when it does not exist.
    pub(super) working_dir: PathBuf,
    /// Whether a small init is process 1 and passes signals on to the program's process group (as `tini -g`).
    pub(super) init: bool,
    /// What it reads from, sent after the order; its output is the helper's own unless it has a terminal.
    pub(super) files: Files,
}

/// A command to run inside a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ExecOrder {
    /// The container's process 1, as the node sees it.
    pub(super) process: i32,
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// Where the program starts.
    pub(super) working_dir: PathBuf,
    /// The streams that are sent after the order; `None` for a command whose output is the helper's own.
    pub(super) files: Option<Files>,
}

/// Which open files follow an order, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Files {
    /// A terminal, which is all three streams; then there are no others.
    pub(super) terminal: bool,
    /// Standard input.
    pub(super) stdin: bool,
    /// Standard output.
    pub(super) stdout: bool,
    /// Standard error.
    pub(super) stderr: bool,
}

/// A program that a session of its own becomes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ProgramOrder {
    /// The program's file.
    pub(super) program: PathBuf,
    /// Its name and arguments.
    pub(super) argv: Vec<String>,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// Where it starts.
    pub(super) working_dir: PathBuf,
    /// Its streams.
    pub(super) files: Files,
}

/// How a pod's network is set up, from the kubelet to the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NetworkOrder {
    /// Name of the link that was moved into the namespace.
    pub(super) link: String,
    /// The pod's address.
    pub(super) address: std::net::Ipv4Addr,
    /// Length of the network's prefix.
    pub(super) prefix: u8,
    /// The node's address in that network.
    pub(super) gateway: std::net::Ipv4Addr,
}

/// What is asked of a sandbox, one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum SandboxOrder {
    /// Set the network up; answered with `Ready`.
    Configure(NetworkOrder),
    /// Make a TCP socket, which belongs to the network in which it was made; answered with `Ready` and the socket.
    Socket,
}

/// What helpers say to who started them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The helper waits for its next order.
    Ready,
    /// The program runs; the process is the container's process 1.
    Started {
        /// Process number in the namespace of the reader.
        process: i32,
    },
    /// It did not come to that; in the words of a container runtime.
    Failed {
        /// For people.
        message: String,
    },
}

/// Runs this process as one of the kubelet's helpers, if its first argument says so, and then does not return.
///
/// Every program that embeds a kubelet calls this first in `main`, before it starts threads.
pub fn maybe_run_helper() {
    let Some(role) = std::env::args_os().nth(1) else { return };
    let Some(run) = role_of(&role) else { return };
    let code = match Channel::from_stdin() {
        Ok(channel) => run(channel),
        Err(error) => {
            eprintln!("this is an internal command of the kubelet: {error}");
            1
        }
    };
    // The destructors of a helper have nothing to do that the end of the process does not.
    std::process::exit(i32::from(code));
}

fn role_of(role: &OsString) -> Option<fn(Channel) -> u8> {
    Some(match role.to_str()? {
        SANDBOX => sandbox::run,
        CONTAINER => container::run,
        INIT => init::run,
        EXEC => exec::run,
        PROGRAM => program::run,
        CHECK => check::run,
        _ => return None,
    })
}

/// The exit code a shell or container runtime reports: the program's own, or 128 plus the signal.
fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128_u8.saturating_add(signal as u8),
        (None, None) => 255,
    }
}

/// Used where a helper ends by an error that has nobody left to hear it.
const LOST: u8 = 255;
