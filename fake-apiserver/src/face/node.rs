//! What the API server asks of the kubelet of a node: requests that it passes on instead of answering itself.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::status::Status;

/// Lines of a log as they are written; ends when the container has ended or the log was not followed.
pub type LogStream = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// Bytes in both directions; closed when dropped.
pub type Connection = Box<dyn Duplex>;

/// What a [`Connection`] can do.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The kubelet of one node, as the API server sees it.
///
/// The server resolves the pod and picks the default container before it asks.
pub trait NodeProxy: Send + Sync + 'static {
    /// Opens the log of a container. A refusal is a [`Status`] (400 for a container that waits to start, 404 for none).
    fn log(&self, target: PodContainer, options: LogOptions)
    -> BoxFuture<'static, Result<LogStream, Status>>;

    /// Connects to a TCP port of a pod. A refusal is a sentence for the user.
    fn dial(&self, pod: PodIdentity, door: Door, port: u16)
    -> BoxFuture<'static, Result<Connection, String>>;

    /// Runs a command in a running container. A refusal is a sentence for the user, in the words of the runtime.
    fn exec(
        &self,
        target: PodContainer,
        command: Vec<String>,
        streams: Streams,
    ) -> BoxFuture<'static, Result<Session, String>>;

    /// Joins the streams of a running container's own process.
    fn attach(&self, target: PodContainer, streams: Streams) -> BoxFuture<'static, Result<Session, String>>;
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid: another pod of the same name is another pod.
    pub uid: String,
}

/// One container of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodContainer {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod: another pod of the same name has another log.
    pub uid: String,
    /// Name of the container.
    pub container: String,
}

/// Which of a pod's addresses is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Its loopback address, within its network namespace: what a port-forward reaches.
    Loopback,
    /// Its address in the cluster: what a proxy reaches.
    Address,
}

/// Which streams a client wants to have of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; with a terminal it is part of standard output.
    pub stderr: bool,
    /// The process gets a terminal.
    pub tty: bool,
}

/// The size of a terminal in characters (`TerminalSize` of the remote command protocol).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A process with its streams. Dropping it ends a process that was started for it.
pub struct Session {
    /// Standard input; shutting it down is the end of the input.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Standard error.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Where the terminal's size goes.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code, after the process has ended; 0 for an attached one.
    pub ended: BoxFuture<'static, Result<i32, String>>,
}

/// PodLogOptions of the core API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on sending lines as they are written.
    pub follow: bool,
    /// The run before the present one.
    pub previous: bool,
    /// Only lines of the last so many seconds.
    pub since_seconds: Option<i64>,
    /// Only lines after this time (RFC 3339).
    pub since_time: Option<String>,
    /// Only the last so many lines.
    pub tail_lines: Option<usize>,
    /// At most so many bytes.
    pub limit_bytes: Option<usize>,
    /// Each line begins with its time (RFC 3339 with nanoseconds).
    pub timestamps: bool,
}
