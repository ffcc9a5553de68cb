//! Questions to plugins outside of the operator's process, as data.

use std::sync::Arc;

use jiff::Timestamp;

use super::contract::View;
use super::webhook::Webhook;
use crate::observe::Key;

/// A question to a plugin.
#[derive(Clone, Debug)]
pub struct Question {
    /// The plugin's name.
    pub plugin: String,
    /// How it is reached.
    pub at: Arc<Webhook>,
    /// The parent.
    pub key: Key,
    /// What the plugin is shown.
    pub view: Arc<View>,
    /// What the answer depends on.
    pub about: About,
    /// When it was put.
    pub asked: Timestamp,
}

/// A view in short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Hash of what is wished: the parent, the children as built.
    pub input: String,
    /// Hash of the related objects. What was answered holds until the answer to others comes: they may change all the time.
    pub related: String,
    /// Hash of what there is of the children.
    pub observed: String,
}

/// Why a plugin gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AskError {
    /// CamelCase, from a closed set: it is a label of metrics.
    pub reason: &'static str,
    /// For people; names what was asked and what to do.
    pub message: String,
}

impl AskError {
    /// From its parts.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
