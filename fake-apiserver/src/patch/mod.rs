//! The four ways to change an object by PATCH, and the ownership of fields.

use serde_json::Value;

use crate::schema::Schema;
use crate::status::Status;

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

/// JSON patch, RFC 6902.
///
/// # Errors
/// 422 when an operation fails, 413 for more than 10,000 operations, 400 for something that is not a patch.
pub fn json(target: &Value, _operations: &Value) -> Result<Value, Status> {
    Ok(target.clone())
}

/// JSON merge patch, RFC 7386.
pub fn merge(target: &Value, _patch: &Value) -> Value {
    target.clone()
}

/// Strategic merge patch.
///
/// # Errors
/// 400 for a directive that makes no sense, 422 for a list item without its merge key.
pub fn strategic(_schema: &Schema, target: &Value, _patch: &Value) -> Result<Value, Status> {
    Ok(target.clone())
}

/// Server-side apply: `live` as it becomes when `applied` is what the manager wants.
///
/// The result carries `metadata.managedFields`. When nothing changes, the result equals `live`.
///
/// # Errors
/// 409 with one `FieldManagerConflict` cause for each field that another manager owns with another value.
pub fn apply(
    _schema: Option<&Schema>,
    _live: Option<&Value>,
    applied: &Value,
    _by: &Applier,
) -> Result<Value, Status> {
    Ok(applied.clone())
}

/// Records the ownership of fields that a create, update or patch other than apply has changed.
///
/// `old` is `None` on create. `new.metadata.managedFields` is what the client sent; it is replaced.
pub fn track_update(_schema: Option<&Schema>, _old: Option<&Value>, _new: &mut Value, _by: &Applier) {}
