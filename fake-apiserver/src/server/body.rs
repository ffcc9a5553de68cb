//! A body on its way in: kind and version, null values, fields the schema does not know.

use serde_json::Value;

use super::call::Call;
use super::{convert, meta};
use crate::request::{FieldValidation, PatchType, Verb};
use crate::status::{Cause, Status};

/// Decodes a body as the real server does, in the version of the request; returns warnings.
pub(super) fn decode(call: &Call<'_>, body: &mut Value) -> Result<Vec<String>, Status> {
    check_kind(call, body)?;
    if call.resource.custom.is_none() {
        drop_nulls(body);
    }
    let mut unknown = meta::decode(meta::of(body)?).map_err(|mut wrong| {
        let (kind, version) = (&call.resource.kind, &call.resource.version);
        wrong.message =
            format!("{kind} in version {version:?} cannot be handled as a {kind}: {}", wrong.message);
        wrong
    })?;
    // What is applied is not pruned: a field that the schema does not declare is an error there.
    let applied = call.request.verb == Verb::Patch(PatchType::Apply);
    if let Some(schema) = call.resource.schema().filter(|_| !applied) {
        unknown.extend(schema.prune(body));
    }
    let mut warnings: Vec<String> = call.resource.deprecation.iter().cloned().collect();
    if !unknown.is_empty() {
        match call.request.params.field_validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => {
                warnings.extend(unknown.iter().map(|path| format!("unknown field \"{path}\"")));
            }
            FieldValidation::Strict => return Err(strict(call, body, &unknown)),
        }
    }
    Ok(warnings)
}

/// Brings a decoded body into the version objects are kept in.
pub(super) fn to_storage(call: &Call<'_>, body: &mut Value) {
    convert::to_storage(&call.resource, body);
}

fn strict(call: &Call<'_>, body: &Value, unknown: &[String]) -> Status {
    let said: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    let said = format!("strict decoding error: {}", said.join(", "));
    let (kind, version) = (&call.resource.kind, &call.resource.version);
    if matches!(call.request.verb, Verb::Patch(PatchType::Json | PatchType::Merge | PatchType::Strategic)) {
        let fault = format!("Invalid value: {:?}: {said}", body.to_string());
        return Status::invalid("", "", "", vec![Cause::new("FieldValueInvalid", "patch", fault)]);
    }
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {said}"))
}

/// A body may leave out `apiVersion` and `kind`; what it says must fit the endpoint.
fn check_kind(call: &Call<'_>, body: &mut Value) -> Result<(), Status> {
    let resource = &call.resource;
    let api_version = resource.api_version();
    let object = body.as_object_mut().ok_or_else(|| Status::bad_request("the body is not an object"))?;
    for (field, wanted) in [("apiVersion", api_version.as_str()), ("kind", resource.kind.as_str())] {
        match object.get(field).and_then(Value::as_str) {
            None | Some("") => drop(object.insert(field.into(), wanted.into())),
            Some(said) if said == wanted => {}
            Some(said) if field == "apiVersion" => {
                return Err(Status::bad_request(format!(
                    "the API version in the data ({said}) does not match the expected API version ({wanted})"
                )));
            }
            Some(said) => {
                return Err(Status::bad_request(format!(
                    "the kind in the data ({said}) does not match the expected kind ({wanted})"
                )));
            }
        }
    }
    Ok(())
}

/// Go decodes a null into the zero value, which is then left out.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
