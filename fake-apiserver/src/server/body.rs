//! A body on its way in: kind and version, null values, fields the schema does not know.

use serde_json::Value;

use super::call::Call;
use super::{convert, go_text, meta};
use crate::registry::{Registry, Resource};
use crate::request::{FieldValidation, PatchType, Verb};
use crate::schema::Misfit;
use crate::status::{Cause, Status};

/// Decodes a body as the real server does, in the version of the request; returns warnings.
pub(super) fn decode(registry: &Registry, call: &Call<'_>, body: &mut Value) -> Result<Vec<String>, Status> {
    check_kind(registry, call, body)?;
    let strict = call.request.params.field_validation == FieldValidation::Strict;
    // What is applied is not decoded into its type: there a field that the schema does not declare is an error, and whatever is
    // said is owned as it is said. What comes of it is decoded.
    let applied = call.request.verb == Verb::Patch(PatchType::Apply);
    let (whole, unknown) = if applied {
        (strict.then(|| Refused::new(call, body)), Vec::new())
    } else {
        into_type(call, body, strict)?
    };
    let mut warnings: Vec<String> = call.resource.deprecation.iter().cloned().collect();
    let faults = call.request.body_faults.iter().cloned();
    let unknown = unknown.into_iter().map(|path| format!("unknown field \"{path}\""));
    let faults: Vec<String> = faults.chain(unknown).collect();
    match whole {
        Some(refused) if !faults.is_empty() => {
            return Err(refused.because(&format!("strict decoding error: {}", faults.join(", "))));
        }
        None if call.request.params.field_validation == FieldValidation::Warn => warnings.extend(faults),
        _ => {}
    }
    Ok(warnings)
}

/// Decodes what has come of an applied configuration and the object that was there.
pub(super) fn decode_outcome(call: &Call<'_>, outcome: &mut Value) -> Result<(), Status> {
    into_type(call, outcome, false).map(drop)
}

/// Decodes a value into the type of its kind; the paths of fields that this has not, and if they may be refused, the value as it
/// was before they were taken out.
fn into_type<'a>(
    call: &'a Call<'a>,
    value: &mut Value,
    strict: bool,
) -> Result<(Option<Refused<'a>>, Vec<String>), Status> {
    let resource = &call.resource;
    if resource.custom.is_none() {
        if let Some(schema) = resource.schema() {
            schema.decode_nulls(value);
        }
        if let Some(misfit) = resource.schema().and_then(|schema| schema.misfit(value)) {
            return Err(Refused::new(call, value).misfit(&resource.kind, &resource.version, &misfit));
        }
        if let Some(schema) = resource.schema() {
            schema.write_quantities(value);
            schema.through_go(value);
        }
    }
    let whole = strict.then(|| Refused::new(call, value));
    let mut unknown =
        meta::decode(meta::of(value)?).map_err(|wrong| Refused::new(call, value).because(&wrong.message))?;
    if let Some(schema) = resource.schema() {
        unknown.extend(schema.prune(value));
    }
    Ok((whole, unknown))
}

/// Brings a decoded body into the version objects are kept in.
pub(super) fn to_storage(call: &Call<'_>, body: &mut Value) {
    convert::to_storage(&call.resource, body);
}

fn is_patch(call: &Call<'_>) -> bool {
    matches!(call.request.verb, Verb::Patch(PatchType::Json | PatchType::Merge | PatchType::Strategic))
}

/// How a body that cannot be decoded is refused: by itself as a bad request, made by a patch as an invalid patch.
struct Refused<'a> {
    call: &'a Call<'a>,
    /// What the patch has made.
    shown: String,
}

impl<'a> Refused<'a> {
    fn new(call: &'a Call<'a>, body: &Value) -> Self {
        let shown = match (call.request.verb, &call.request.body) {
            // A strategic patch is decoded by itself, the result of another one as a whole.
            (Verb::Patch(PatchType::Strategic), Some(patch)) => go_text::printed(patch),
            _ if is_patch(call) => go_text::object(body),
            _ => String::new(),
        };
        Self { call, shown }
    }

    fn because(&self, why: &str) -> Status {
        self.of(&self.call.resource.kind, &self.call.resource.version, why)
    }

    fn of(&self, kind: &str, version: &str, why: &str) -> Status {
        if is_patch(self.call) {
            let fault = format!("Invalid value: {}: {why}", go_text::quoted(&self.shown));
            return Status::invalid("", "", "", vec![Cause::new("FieldValueInvalid", "patch", fault)]);
        }
        let wanted = &self.call.resource.kind;
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {wanted}: {why}"))
    }

    fn misfit(&self, kind: &str, version: &str, misfit: &Misfit) -> Status {
        let strategic = self.call.request.verb == Verb::Patch(PatchType::Strategic);
        self.of(kind, version, if strategic { misfit.converter() } else { misfit.decoder() })
    }
}

/// A body may leave out `apiVersion` and `kind`; what it says must fit the endpoint.
fn check_kind(registry: &Registry, call: &Call<'_>, body: &mut Value) -> Result<(), Status> {
    let resource = &call.resource;
    let wanted = resource.api_version();
    let object = body.as_object_mut().ok_or_else(|| Status::bad_request("the body is not an object"))?;
    let mut said = |field: &str, wanted: &str| match object.get(field).and_then(Value::as_str) {
        None | Some("") => {
            object.insert(field.into(), wanted.into());
            wanted.to_owned()
        }
        Some(said) => said.to_owned(),
    };
    let (api_version, kind) = (said("apiVersion", &wanted), said("kind", &resource.kind));
    if api_version == wanted && kind == resource.kind {
        return Ok(());
    }
    let other_version = || {
        Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        ))
    };
    if resource.custom.is_some() {
        if api_version != wanted {
            return Err(other_version());
        }
        let cause = meta::invalid("kind", &kind, &format!("must be {}", resource.kind));
        let name = object.get("metadata").and_then(|m| m["name"].as_str()).unwrap_or_default();
        return Err(Status::invalid(&resource.group, &kind, name, vec![cause]));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let registered = registry.by_kind(group, version, &kind).filter(|found| found.custom.is_none());
    let refused = Refused::new(call, body);
    let Some(registered) = registered else {
        let why = format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        );
        return Err(refused.of(&kind, version, &why));
    };
    if registered.storage == resource.storage {
        return Err(other_version());
    }
    // It is decoded as what it says it is, and cannot become another kind then.
    if let Some(misfit) = registered.schema().and_then(|schema| schema.misfit(body)) {
        return Err(refused.misfit(&kind, version, &misfit));
    }
    Err(refused.of(&kind, version, &no_conversion(registered, &resource.group, &resource.kind)))
}

/// Kinds that have nothing to do with each other.
pub(super) fn no_conversion(from: &Resource, group: &str, kind: &str) -> String {
    let package = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() };
    format!("converting ({}.{}) to ({package}.{kind}): unknown conversion", from.version, from.kind)
}
