use crate::status::Cause;
use serde_json::Value;
pub(super) fn check(_openapi: &Value, _path: &str) -> Vec<Cause> {
    Vec::new()
}
pub(super) fn check_defaults(_openapi: &Value, _path: &str) -> Vec<Cause> {
    Vec::new()
}
