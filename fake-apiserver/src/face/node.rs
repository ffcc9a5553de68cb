//! What the API server asks of the kubelet of a node: requests that it passes on instead of answering itself.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::status::Status;

/// Lines of a log as they are written; ends when the container has ended or the log was not followed.
pub type LogStream = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// The kubelet of one node, as the API server sees it.
///
/// The server resolves the pod and picks the default container before it asks.
pub trait NodeProxy: Send + Sync + 'static {
    /// Opens the log of a container. A refusal is a [`Status`] (400 for a container that waits to start, 404 for none).
    fn log(&self, target: PodContainer, options: LogOptions)
    -> BoxFuture<'static, Result<LogStream, Status>>;
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
