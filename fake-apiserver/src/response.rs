//! What the API server answers, before a face has put it into bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::storage::{Stored, Watch};

/// An answer; refusals are [`crate::status::Status`].
#[derive(Debug)]
pub struct Response {
    /// HTTP status code: 200, 201 or 202.
    pub code: u16,
    /// The answer itself.
    pub reply: Reply,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Reply {
    /// A stored object; its bytes are shared, not copied. The bytes are in the version asked for.
    Object(Arc<Stored>),
    /// An object that is not stored as such: Scale, Status, a review, a dry-run result.
    Value(Value),
    /// A page of a collection.
    List(List),
    /// A collection to be followed with [`crate::server::ApiServer::poll_watch`].
    Watch(Watch),
    /// Plain text, for instance a log.
    Text(Bytes),
}

/// A page of a collection.
#[derive(Debug)]
pub struct List {
    /// `PodList`.
    pub kind: String,
    /// `apps/v1`.
    pub api_version: String,
    /// The page's objects, in key order (namespace, then name).
    pub items: Vec<Arc<Stored>>,
    /// The revision the page is consistent with; 0 for what is not stored.
    pub resource_version: u64,
    /// Token for the next page; `None` on the last.
    pub continue_token: Option<String>,
    /// How many objects are left, where the server knows.
    pub remaining: Option<usize>,
    /// A list of a built-in kind: its items say neither `apiVersion` nor `kind`.
    pub built_in: bool,
}
