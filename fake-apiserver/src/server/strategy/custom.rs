//! What every custom resource with a scale subresource keeps to.
//!
//! Follows `apiextensions-apiserver/pkg/registry/customresource/validator.go`.

use serde_json::Value;

use crate::registry::Resource;
use crate::schema::cause;
use crate::status::Cause;

/// Numbers of replicas are whole and not negative, the selector is a text.
pub(super) fn scale_faults(resource: &Resource, value: &Value) -> Vec<Cause> {
    let Some(paths) = &resource.scale else { return Vec::new() };
    let mut causes = Vec::new();
    for path in [&paths.spec_replicas, &paths.status_replicas] {
        let at = format!(".{path}");
        match find(value, path) {
            None | Some(Value::Null) => {}
            Some(Value::Number(number)) if number.as_i64().is_some_and(|n| n >= 0) => {}
            Some(number @ Value::Number(n)) if n.is_i64() => {
                causes.push(cause::invalid(&at, number, "should be a non-negative integer"));
            }
            Some(other) => causes.push(wrong_type(&at, other, "int64", &Value::from(0))),
        }
    }
    if let Some(path) = &paths.selector
        && let Some(other) = find(value, path).filter(|found| !found.is_string() && !found.is_null())
    {
        causes.push(wrong_type(&format!(".{path}"), other, "string", &Value::from("")));
    }
    causes
}

fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |at, part| at.get(part))
}

fn wrong_type(at: &str, value: &Value, wanted: &str, zero: &Value) -> Cause {
    let (shown, found) = match value {
        Value::String(text) => (text.clone(), "string"),
        Value::Bool(on) => (on.to_string(), "bool"),
        Value::Number(number) if number.is_f64() => (number.to_string(), "float64"),
        Value::Number(number) => (number.to_string(), "int64"),
        Value::Array(_) => (crate::server::go_text::printed(value), "[]interface {}"),
        other => (crate::server::go_text::printed(other), "map[string]interface {}"),
    };
    cause::invalid(
        at,
        zero,
        &format!("{at} accessor error: {shown} is of the type {found}, expected {wanted}"),
    )
}
