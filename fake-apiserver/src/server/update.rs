//! PUT and the second half of PATCH: an existing object becomes another.

use std::sync::Arc;

use serde_json::{Value, json};

use super::admission::Operation;
use super::call::Call;
use super::create::Fields;
use super::{ApiServer, body, meta, strategy};
use crate::patch;
use crate::request::Verb;
use crate::response::{Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::Stored;

impl ApiServer {
    pub(super) fn update(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        let mut value = call.body()?.clone();
        let warnings = body::decode(&self.registry, call, &mut value)?;
        body::to_storage(call, &mut value);
        let Some(old) = self.storage.get(&call.resource.storage, &key).cloned() else {
            if strategy::creates_on_update(call) {
                return self.create_value(call, value, warnings, Fields::Tracked);
            }
            return Err(call.not_found(&key.name).warned(warnings));
        };
        let old_value = self.decoded(call, &old)?;
        let said = warnings.clone();
        self.update_value(call, &old, &old_value, value, warnings, Fields::Tracked)
            .map_err(|refused| refused.warned(said))
    }

    /// Writes `new`, decoded and in the storage version, over `old`.
    pub(super) fn update_value(
        &mut self,
        call: &Call<'_>,
        old: &Arc<Stored>,
        old_value: &Value,
        mut new: Value,
        mut warnings: Vec<String>,
        fields: Fields,
    ) -> Result<Response, Status> {
        let resource = &call.resource;
        let name = old.key.name.as_str();
        check_identity(call, old, &mut new)?;
        let deletion = meta::unsaid_deletion(&new["metadata"]);
        let mut causes = meta::keep(&old_value["metadata"], meta::of(&mut new)?);
        strategy::prepare_update(call, &mut new, old_value);
        if let (Some(_), Some(schema)) = (&resource.custom, resource.schema()) {
            schema.default(&mut new);
        }
        Self::admit_update(call, &mut new);
        // As on the real server: what admission and allocators add belongs to nobody.
        strategy::complete(resource, &mut new);
        let scaled = resource.scale.as_ref().filter(|_| call.request.subresource.as_deref() == Some("scale"));
        match scaled {
            _ if fields == Fields::Applied => {}
            Some(paths) => patch::track_scale(old_value, &mut new, &paths.spec_replicas, &call.applier()),
            None => {
                // What the server itself says of a deletion is not there yet: whoever owns it loses it to those who do not say it.
                let kept = meta::withhold(meta::of(&mut new)?, &deletion);
                self.track(call, Some(old_value), &mut new);
                meta::of(&mut new)?.extend(kept);
                self.mind_other_versions(call, old_value, &mut new, false)?;
            }
        }
        strategy::settle(call, &mut new, old_value);
        self.mutate(call, Operation::Update, &mut new, Some(old_value))?;
        strategy::complete(resource, &mut new);
        strategy::work_out(call, &mut new, Some(old_value))?;
        self.check_escalation(call, &new, Some(old_value))?;
        let lasting = call.request.subresource.is_none();
        let said = if lasting { strategy::lasting_warnings(resource, &new) } else { Vec::new() };
        if new == *old_value && !self.has_webhooks() && !self.has_policies() {
            warnings.extend(said);
            return Ok(call.answer(self.show(resource, old)?, warnings));
        }
        causes.extend(super::create::faults(call, &new, Some(old_value))?);
        if !causes.is_empty() {
            let mut status = call.invalid(name, causes);
            status.warnings = warnings;
            return Err(status);
        }
        warnings.extend(said);
        warnings.extend(self.validate_by_policies(call, Operation::Update, Some(&new), Some(old_value))?);
        self.validate_by_webhooks(call, Operation::Update, Some(&new), Some(old_value))?;
        self.validate_admission_of_update(call, &new, old_value)?;
        super::create::drop_empty(call, &mut new);
        let of_status = call.request.subresource.as_deref() == Some("status");
        let counts = resource.counts_generation && !of_status;
        if counts && strategy::desired_state_differs(resource, &new, old_value) {
            new["metadata"]["generation"] = json!(old.meta.generation + 1);
            warnings.extend(strategy::update_warnings(resource, &new));
        }
        self.assign(call, &mut new)?;
        if same_but_for_times(old_value, &new) {
            return Ok(call.answer(self.show(resource, old)?, warnings));
        }
        if call.request.params.dry_run {
            let new = self.as_if_stored(call, new)?;
            return Ok(Response { code: 200, reply: Reply::Value(new), warnings });
        }
        let finished = finished(resource, &new);
        let new = self.encoded(call, new)?;
        if finished {
            // The write itself is never stored, so that it has no version of its own.
            let last = Stored::from_value(&new, &resource.selectable_fields, old.edition);
            let last = self.show(resource, &Arc::new(last))?;
            self.remove(call, new);
            return Ok(call.answer(last, warnings));
        }
        let object = self.put(call, new);
        Ok(call.answer(self.show(resource, &object)?, warnings))
    }
}

/// Name, namespace, uid and resource version of the body must be those of the object.
fn check_identity(call: &Call<'_>, old: &Stored, new: &mut Value) -> Result<(), Status> {
    let name = old.key.name.as_str();
    let metadata = meta::of(new)?;
    let said = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    if said("name") != name {
        let said = said("name");
        if said.is_empty() {
            return Err(Status::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        return Err(Status::bad_request(format!(
            "the name of the object ({said}) does not match the name on the URL ({name})"
        )));
    }
    if !said("namespace").is_empty() && said("namespace") != old.key.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let (uid, version) = (said("uid"), said("resourceVersion"));
    let patched = matches!(call.request.verb, Verb::Patch(_));
    if patched && !uid.is_empty() && uid != old.meta.uid {
        return Err(call.invalid(name, vec![meta::immutable("metadata.uid", &json!(uid))]));
    }
    if !uid.is_empty() && uid != old.meta.uid {
        return Err(call.conflict(
            name,
            &format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
                 failed: UID in precondition: {uid}, UID in object meta: {}",
                registry_key(call, old),
                old.meta.uid
            ),
        ));
    }
    if version.is_empty() || version == "0" {
        if call.request.verb == Verb::Update && !strategy::updates_unconditionally(&call.resource) {
            let fault = "Invalid value: 0: must be specified for an update";
            let cause = Cause::new("FieldValueInvalid", "metadata.resourceVersion", fault);
            return Err(Status::invalid(&call.resource.group, &call.resource.plural, name, vec![cause]));
        }
    } else if version.parse() != Ok(old.meta.resource_version) {
        if version.parse::<u64>().is_err() {
            let said = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
            return Err(Status::new(500, "", said));
        }
        return Err(call.conflict(
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        ));
    }
    if !old.key.namespace.is_empty() {
        metadata.insert("namespace".into(), json!(old.key.namespace));
    }
    metadata.insert("resourceVersion".into(), json!(old.meta.resource_version.to_string()));
    Ok(())
}

/// Where etcd would keep the object.
fn registry_key(call: &Call<'_>, object: &Stored) -> String {
    let group =
        if call.resource.custom.is_some() { format!("{}/", call.resource.group) } else { String::new() };
    let namespace =
        if call.resource.namespaced { format!("{}/", object.key.namespace) } else { String::new() };
    format!("/registry/{group}{}/{namespace}{}", call.resource.plural, object.key.name)
}

/// Whether two states differ in nothing but the times of their managed fields: such a write is not kept.
fn same_but_for_times(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
    let same = |old: &serde_json::Map<String, Value>, new: &serde_json::Map<String, Value>, but: &str| {
        old.iter().filter(|(k, _)| *k != but).eq(new.iter().filter(|(k, _)| *k != but))
    };
    if !same(old, new, "metadata") {
        return false;
    }
    let (Some(old), Some(new)) = (old["metadata"].as_object(), new["metadata"].as_object()) else {
        return false;
    };
    same(old, new, "managedFields") && {
        let (old, new) = (managers(old), managers(new));
        old.len() == new.len()
            && old.iter().zip(new).all(|(old, new)| match (old.as_object(), new.as_object()) {
                (Some(old), Some(new)) => same(old, new, "time"),
                _ => old == new,
            })
    }
}

fn managers(metadata: &serde_json::Map<String, Value>) -> &[Value] {
    metadata.get("managedFields").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether a deletion that has begun has nothing left to wait for.
fn finished(resource: &crate::registry::Resource, value: &Value) -> bool {
    let metadata = &value["metadata"];
    metadata["deletionTimestamp"].is_string()
        && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() == 0
        && !strategy::holds_own_finalizers(resource, value)
}
