//! A watch: a cursor into the change log. It holds no changes, so a slow watcher costs nothing and falls out of history.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{GroupResource, Selection, Stored};

/// A followed collection: what is selected and how far it has been read.
///
/// The fields are the server's own; faces only hand it to `ApiServer::poll_watch`.
#[derive(Debug)]
pub struct Watch {
    /// What is followed.
    pub resource: GroupResource,
    /// Group that was asked in; differs from the resource's only for kinds stored once and served twice.
    pub group: String,
    /// Version that was asked in.
    pub version: String,
    /// Which objects are followed.
    pub selection: Selection,
    /// Revision up to which events were delivered.
    pub revision: u64,
    /// Objects that are still to be sent as the initial state.
    pub initial: VecDeque<Arc<Stored>>,
    /// A bookmark that marks the end of the initial state is still to be sent.
    pub end_bookmark: bool,
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
    /// The object after it; for `Deleted` its last state with the revision of the deletion; for `Bookmark` an
    /// object that has only `metadata.resourceVersion`.
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
    /// Nothing: the revision up to which the watcher is up to date.
    Bookmark,
}

impl WatchEventType {
    /// As it is written on the wire: `ADDED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
        }
    }
}
