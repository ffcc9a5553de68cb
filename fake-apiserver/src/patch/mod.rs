//! The four ways to change an object by PATCH, and the ownership of fields.

mod apply;
mod compare;
mod field_set;
mod json;
mod managed_fields;
mod merge;
mod scale;
mod strategic;
#[cfg(test)]
mod tests;
mod typed;

pub use apply::apply;
pub(crate) use apply::conflict;
pub use json::json;
pub(crate) use json::json_or_why;
pub use managed_fields::{lose, track_update};
pub use merge::merge;
pub(crate) use scale::{apply_scale, managers_of_scale, track_scale};
pub use strategic::strategic;

/// Who applies or writes, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applier {
    /// Field manager.
    pub manager: String,
    /// Take fields away from other managers (`force=true`); only for apply.
    pub force: bool,
    /// The API version the request speaks, for instance `apps/v1`.
    pub api_version: String,
    /// RFC 3339 time with whole seconds, as `metadata.managedFields[].time` has it.
    pub time: String,
    /// The subresource that is written; empty for the object itself.
    pub subresource: String,
    /// Field paths this endpoint never owns, for instance `["status"]` on the object itself and `["spec"]`,
    /// `["metadata", "labels"]` on a status subresource: `resetFields` of the real server.
    pub reset: Vec<Vec<String>>,
}
