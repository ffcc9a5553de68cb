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
    let patch: json_patch::Patch =
        serde_json::from_value(operations.clone()).map_err(|error| error.to_string())?;
    let mut patched = target.clone();
    for operation in patch.0 {
        let Some(lenient) = lenient(&patched, operation) else { continue };
        let one = json_patch::Patch(vec![lenient]);
        json_patch::patch(&mut patched, &one).map_err(|error| why(&one.0[0], &error))?;
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

/// The library of the real server replaces a member of an object that is not there, which the RFC forbids; to others such a member
/// is a null: it can be copied, and tested for being none.
fn lenient(target: &Value, operation: json_patch::PatchOperation) -> Option<json_patch::PatchOperation> {
    use json_patch::PatchOperation as Operation;
    let missing = |path: &str| {
        let parent = path.rsplit_once('/').and_then(|(parent, _)| target.pointer(parent));
        parent.is_some_and(Value::is_object) && target.pointer(path).is_none()
    };
    match operation {
        Operation::Replace(replace) if missing(replace.path.as_str()) => {
            let (path, value) = (replace.path, replace.value);
            Some(Operation::Add(json_patch::AddOperation { path, value }))
        }
        Operation::Copy(copy) if missing(copy.from.as_str()) => {
            Some(Operation::Add(json_patch::AddOperation { path: copy.path, value: Value::Null }))
        }
        Operation::Test(test) if test.value.is_null() && missing(test.path.as_str()) => None,
        other => Some(other),
    }
}

/// The real server keeps the reason to itself (`NewGenericServerResponse` of 422).
fn rejected() -> Status {
    Status::generic(422, "Invalid", "the server rejected our request due to an error in our request")
}
