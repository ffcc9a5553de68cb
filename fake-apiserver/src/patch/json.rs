//! JSON patch, RFC 6902.

use serde_json::Value;

use crate::schema::go_name;
use crate::status::Status;

/// As the real server: `maxJSONPatchOperations`.
const MAX_OPERATIONS: usize = 10_000;

/// JSON patch, RFC 6902.
///
/// # Errors
/// 422 when an operation fails or points nowhere, 413 for more than 10,000 operations, 400 for something that is not a
/// patch.
pub fn json(target: &Value, operations: &Value) -> Result<Value, Status> {
    if operations.as_array().is_some_and(|all| all.len() > MAX_OPERATIONS) {
        let said = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.as_array().map_or(0, Vec::len)
        );
        return Err(Status::new(413, "RequestEntityTooLarge", said));
    }
    if !operations.is_array() {
        return Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
            go_name(operations)
        )));
    }
    json_or_why(target, operations).map_err(|_| rejected())
}

/// The same, or why not, as the library of the real server says it.
pub(crate) fn json_or_why(target: &Value, operations: &Value) -> Result<Value, String> {
    let operations = lenient(target, operations);
    let patch: json_patch::Patch = serde_json::from_value(operations).map_err(|error| error.to_string())?;
    let mut patched = target.clone();
    for operation in patch.0 {
        let one = json_patch::Patch(vec![operation.clone()]);
        json_patch::patch(&mut patched, &one).map_err(|error| why(&operation, &error))?;
    }
    Ok(patched)
}

fn why(operation: &json_patch::PatchOperation, error: &json_patch::PatchError) -> String {
    use json_patch::PatchOperation as Operation;
    let path = operation.path().to_string();
    let key = path.rsplit('/').next().unwrap_or_default();
    match operation {
        Operation::Test(_) => format!("testing value {path} failed: test failed"),
        Operation::Remove(_) => {
            format!(
                "error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
            )
        }
        Operation::Replace(_) => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        Operation::Add(_) => {
            format!("add operation does not apply: doc is missing path: \"{path}\": missing value")
        }
        _ => error.to_string(),
    }
}

/// The library of the real server replaces a member of an object that is not there, which the RFC forbids.
fn lenient(target: &Value, operations: &Value) -> Value {
    let mut operations = operations.clone();
    let all = operations.as_array_mut().into_iter().flatten();
    for operation in all.filter(|operation| operation["op"] == "replace") {
        let path = operation["path"].as_str().unwrap_or_default();
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if parent.and_then(|parent| target.pointer(parent)).is_some_and(Value::is_object) {
            operation["op"] = "add".into();
        }
    }
    operations
}

/// The real server keeps the reason to itself (`NewGenericServerResponse` of 422).
fn rejected() -> Status {
    Status::generic(422, "Invalid", "the server rejected our request due to an error in our request")
}
