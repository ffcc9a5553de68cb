//! PATCH in its four forms.

use serde_json::Value;

use super::call::Call;
use super::create::Fields;
use super::{ApiServer, body, convert, meta, strategy};
use crate::patch;
use crate::request::PatchType;
use crate::response::Response;
use crate::status::{Cause, Status};

impl ApiServer {
    pub(super) fn patch(&mut self, call: &Call<'_>, patch_type: PatchType) -> Result<Response, Status> {
        let key = call.key()?;
        let change = call.body()?;
        if patch_type == PatchType::Apply {
            return self.apply(call);
        }
        let old = self.storage.get(&call.resource.storage, &key).cloned();
        let old = old.ok_or_else(|| call.not_found(&key.name))?;
        let old_value = self.decoded(call, &old)?;
        let mut shown = old_value.clone();
        convert::from_storage(&call.resource, &mut shown);
        let mut new = patched(call, patch_type, &shown, change)?;
        let warnings = body::decode(&self.registry, call, &mut new)?;
        body::to_storage(call, &mut new);
        let said = warnings.clone();
        self.update_value(call, &old, &old_value, new, warnings, Fields::Tracked)
            .map_err(|refused| refused.warned(said))
    }

    fn apply(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        if call.request.params.field_manager.as_deref().unwrap_or_default().is_empty() {
            let cause = Cause::new(
                "FieldValueRequired",
                "fieldManager",
                "Required value: is required for apply patch",
            );
            return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
        }
        let mut applied = call.body()?.clone();
        check_applied_type(call, &applied)?;
        let warnings = body::decode(&self.registry, call, &mut applied)?;
        let named = applied["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
        place_applied(call, &mut applied, &key)?;
        let schema = call.resource.schema().map(AsRef::as_ref);
        let Some(old) = self.storage.get(&call.resource.storage, &key).cloned() else {
            if call.request.subresource.is_some() && !strategy::creates_on_update(call) {
                return Err(call.not_found(&key.name));
            }
            if let Some(uid) = applied["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty()) {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(call.conflict(&key.name, &why));
            }
            if !named {
                return Err(Status::bad_request(format!(
                    "the name of the object ({} based on URL) was undeterminable: name must be provided",
                    key.name
                )));
            }
            let mut new = patch::apply(schema, None, &applied, &call.applier())?;
            body::decode_outcome(call, &mut new)?;
            body::to_storage(call, &mut new);
            return self.create_value(call, new, warnings, Fields::Applied);
        };
        let old_value = self.decoded(call, &old)?;
        let mut shown = old_value.clone();
        convert::from_storage(&call.resource, &mut shown);
        let mut new = patch::apply(schema, Some(&shown), &applied, &call.applier())?;
        self.mind_other_versions(call, &shown, &mut new, true)?;
        body::decode_outcome(call, &mut new)?;
        body::to_storage(call, &mut new);
        self.update_value(call, &old, &old_value, new, warnings, Fields::Applied)
    }
}

fn patched(call: &Call<'_>, patch_type: PatchType, shown: &Value, change: &Value) -> Result<Value, Status> {
    match patch_type {
        PatchType::Json => patch::json(shown, change),
        PatchType::Merge => Ok(patch::merge(shown, change)),
        PatchType::Strategic | PatchType::Apply => match call.resource.schema() {
            Some(schema) if call.resource.custom.is_none() => patch::strategic(schema, shown, change),
            _ => Err(Status::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
        },
    }
}

/// What is applied says what it is.
fn check_applied_type(call: &Call<'_>, applied: &Value) -> Result<(), Status> {
    let text = |field: &str| applied[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version == call.request.api_version() && kind == call.resource.kind {
        return Ok(());
    }
    let slash = if api_version.contains('/') { "" } else { "/" };
    Err(Status::bad_request(format!("invalid object type: {slash}{api_version}, Kind={kind}")))
}

/// What is applied names the object of the URL and carries none of the server's own fields.
fn place_applied(call: &Call<'_>, applied: &mut Value, key: &crate::storage::Key) -> Result<(), Status> {
    let metadata = meta::of(applied)?;
    if metadata.get("managedFields").is_some_and(|fields| fields.as_array().is_none_or(|f| !f.is_empty())) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    metadata.remove("managedFields");
    match metadata.get("name").and_then(Value::as_str) {
        Some(name) if name != key.name => {
            return Err(Status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                key.name
            )));
        }
        _ => drop(metadata.insert("name".into(), key.name.clone().into())),
    }
    match metadata.get("namespace").and_then(Value::as_str) {
        Some(namespace) if call.resource.namespaced && namespace != key.namespace => {
            Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ))
        }
        _ => Ok(()),
    }
}
