//! `ControllerRevisions`, by `pkg/apis/apps/validation`.

use serde_json::Value;

use super::rules::{Rows, Rule};
use crate::schema::cause;
use crate::status::Cause;

pub(super) const TABLE: Rows = &[("revision", Rule::Natural)];
/// What is asked of new ones.
pub(super) const CREATE: Rows = &[("revision", Rule::Natural), ("data", Rule::Own(data))];

fn data(data: &Value, path: &str, causes: &mut Vec<Cause>) {
    if data.is_null() {
        causes.push(cause::required(path, "data is mandatory"));
    } else if !data.is_object() {
        causes.push(cause::required(path, "data must be a valid JSON object"));
    }
}
