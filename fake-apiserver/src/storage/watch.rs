//! A watch: a cursor into the change log. It holds no events, so a slow watcher costs nothing and falls out of history.

use std::sync::Arc;

use super::Stored;

/// A followed collection: what is selected and how far it has been read.
///
/// The fields are the storage's own; faces only hand it to `ApiServer::poll_watch`.
#[derive(Debug)]
pub struct Watch {
    /// Group and plural of the resource, for instance `("", "pods")`.
    pub resource: (String, String),
    /// Served version the client asked for.
    pub version: String,
    /// Revision up to which events were delivered.
    pub revision: u64,
    /// Seconds until the server ends the watch.
    pub timeout_seconds: Option<u64>,
    /// Bookmarks were asked for.
    pub bookmarks: bool,
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchEventType,
    /// The object after it; for `Deleted` its last state with the revision of the deletion.
    pub object: Arc<Stored>,
}

/// What happened to an object, as the watcher's selector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEventType {
    /// It appeared or began to match.
    Added,
    /// It changed.
    Modified,
    /// It went or ceased to match.
    Deleted,
}
