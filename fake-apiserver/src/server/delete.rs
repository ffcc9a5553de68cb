//! DELETE of one object and of collections: preconditions, propagation, grace, finalizers.
//!
//! Follows `k8s.io/apiserver/pkg/registry/rest/delete.go` and `generic/registry/store.go`.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::admission::Operation;
use super::call::Call;
use super::{ApiServer, NAMESPACES, meta, strategy};
use crate::response::{List, Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::{Key, Stored};

/// DeleteOptions, from the body and the query; the body wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    grace: Option<i64>,
    policy: Option<String>,
    orphan: Option<bool>,
    uid: Option<String>,
    resource_version: Option<String>,
    dry_run: bool,
}

/// What a DELETE has done.
pub(super) enum Outcome {
    /// The object is gone; its last state.
    Gone(Arc<Stored>),
    /// The object waits for its finalizers or for its grace to pass.
    Pending(Arc<Stored>),
}

impl Outcome {
    fn object(&self) -> &Arc<Stored> {
        match self {
            Self::Gone(object) | Self::Pending(object) => object,
        }
    }
}

impl Options {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, Status> {
        let params = &call.request.params;
        let empty = Value::Null;
        let body = call.request.body.as_ref().unwrap_or(&empty);
        if let Some(kind) = body["kind"].as_str().filter(|kind| !matches!(*kind, "" | "DeleteOptions")) {
            let version = body["apiVersion"].as_str().unwrap_or_default();
            return Err(Status::bad_request(format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:111\""
            )));
        }
        let options = Self {
            grace: body["gracePeriodSeconds"].as_i64().or(params.grace_period_seconds),
            policy: body["propagationPolicy"]
                .as_str()
                .map(str::to_owned)
                .or_else(|| params.propagation_policy.clone()),
            orphan: body["orphanDependents"].as_bool(),
            uid: body["preconditions"]["uid"].as_str().map(str::to_owned),
            resource_version: body["preconditions"]["resourceVersion"].as_str().map(str::to_owned),
            dry_run: params.dry_run
                || body["dryRun"].as_array().is_some_and(|all| all.iter().any(|v| v == "All")),
        };
        let invalid = |reason: &str, field: &str, fault: String| {
            let mut status = Status::invalid("meta.k8s.io", "DeleteOptions", "", Vec::new());
            status.message = format!("DeleteOptions.meta.k8s.io \"\" is invalid: {field}: {fault}");
            status.details.causes = vec![Cause::new(reason, field, fault)];
            status
        };
        let dry_run = body["dryRun"].as_array().map_or(&[][..], Vec::as_slice);
        if dry_run.iter().any(|value| value != "All") {
            let said: Vec<String> = dry_run.iter().map(Value::to_string).collect();
            let fault = format!("Unsupported value: [{}]: supported values: \"All\"", said.join(","));
            return Err(invalid("FieldValueNotSupported", "dryRun", fault));
        }
        match options.policy.as_deref() {
            None | Some("Foreground" | "Background" | "Orphan") => {}
            Some(other) => {
                let known = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
                let fault = format!("Unsupported value: {other:?}: {known}");
                return Err(invalid("FieldValueNotSupported", "propagationPolicy", fault));
            }
        }
        if options.policy.is_some() && options.orphan.is_some() {
            let fault = "orphanDependents and deletionPropagation cannot be both set".to_owned();
            let policy = options.policy.as_deref().unwrap_or_default();
            let fault = format!("Invalid value: {policy:?}: {fault}");
            return Err(invalid("FieldValueInvalid", "propagationPolicy", fault));
        }
        Ok(options)
    }

    /// Whether nothing is to be changed.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// After a write of the server's own between the check and the deletion.
    pub(super) fn without_version(self) -> Self {
        Self { resource_version: None, ..self }
    }

    fn orphans(&self, finalizers: &[String]) -> bool {
        match (self.orphan, self.policy.as_deref()) {
            (Some(orphan), _) => orphan,
            (None, Some(policy)) => policy == "Orphan",
            (None, None) => finalizers.iter().any(|f| f == "orphan"),
        }
    }

    fn waits_for_dependents(&self, finalizers: &[String]) -> bool {
        match (self.orphan, self.policy.as_deref()) {
            (Some(_), _) => false,
            (None, Some(policy)) => policy == "Foreground",
            (None, None) => finalizers.iter().any(|f| f == "foregroundDeletion"),
        }
    }
}

impl ApiServer {
    pub(super) fn delete(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        let options = Options::read(call)?;
        let mut warnings: Vec<String> = call.resource.deprecation.iter().cloned().collect();
        warnings.extend(self.admit_delete(call, &key, &options)?);
        if let Some(old) = self.storage.get(&call.resource.storage, &key).cloned() {
            self.prepare(&call.resource, &[old])?;
        }
        let outcome = self.delete_object(call, &key, &options)?;
        let resource = &call.resource;
        let accepted = options.orphan == Some(false);
        match &outcome {
            Outcome::Gone(object) if !strategy::returns_deleted(resource) => {
                let mut details = json!({"name": key.name, "kind": resource.plural, "uid": object.meta.uid});
                if !resource.group.is_empty() {
                    details["group"] = json!(resource.group);
                }
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                    "details": details});
                Ok(Response { code: 200, reply: Reply::Value(status), warnings })
            }
            outcome => {
                let mut response = call.answer(self.show(resource, outcome.object())?, warnings);
                if matches!(outcome, Outcome::Pending(_)) && accepted {
                    response.code = 202;
                }
                Ok(response)
            }
        }
    }

    /// Asks policies and webhooks about the deletion of an object that may be deleted; returns warnings.
    fn admit_delete(&mut self, call: &Call<'_>, key: &Key, options: &Options) -> Result<Vec<String>, Status> {
        if !self.has_webhooks() && !self.has_policies() {
            return Ok(Vec::new());
        }
        let Some(old) = self.storage.get(&call.resource.storage, key).cloned() else { return Ok(Vec::new()) };
        check_preconditions(call, &old, options)?;
        let old = old.value();
        let warnings = self.validate_by_policies(call, Operation::Delete, None, Some(&old))?;
        self.ask_about_deletion(call, &old)?;
        Ok(warnings)
    }

    pub(super) fn delete_collection(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let options = Options::read(call)?;
        let selection = Self::selection(call)?;
        let found: Vec<Arc<Stored>> = self
            .storage
            .collection(&call.resource.storage)
            .map(|collection| collection.select(&selection, None).cloned().collect())
            .unwrap_or_default();
        // Everybody is asked before anything is deleted.
        let mut warnings: Vec<String> = call.resource.deprecation.iter().cloned().collect();
        if self.has_webhooks() || self.has_policies() {
            for object in &found {
                let old = object.value();
                warnings.extend(self.validate_by_policies(call, Operation::Delete, None, Some(&old))?);
                self.ask_about_deletion(call, &old)?;
            }
        }
        self.prepare(&call.resource, &found)?;
        let mut items = Vec::with_capacity(found.len());
        for object in found {
            match self.delete_object(call, &object.key, &options) {
                // As they were when they were listed.
                Ok(_) => items.push(self.show(&call.resource, &object)?),
                Err(gone) if gone.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        let list = List {
            kind: call.resource.list_kind.clone(),
            api_version: call.resource.api_version(),
            items,
            resource_version: self.storage.revision(),
            continue_token: None,
            remaining: None,
            built_in: call.resource.custom.is_none(),
        };
        Ok(Response { code: 200, reply: Reply::List(list), warnings })
    }

    pub(super) fn delete_object(
        &mut self,
        call: &Call<'_>,
        key: &Key,
        options: &Options,
    ) -> Result<Outcome, Status> {
        let resource = &call.resource;
        let old = self.storage.get(&resource.storage, key).cloned();
        let old = old.ok_or_else(|| call.not_found(&key.name))?;
        check_preconditions(call, &old, options)?;
        strategy::check_delete(call, key)?;
        let mut value = old.value();
        let grace = strategy::grace(resource, &value, options.grace);
        strategy::begin_delete(call, &mut value);
        let had = value["metadata"]["finalizers"].as_array().into_iter().flatten();
        let had: Vec<String> = had.filter_map(Value::as_str).map(str::to_owned).collect();
        let finalizers = finalizers(&had, options);
        let now_at = meta::time(call.now);
        let metadata = meta::of(&mut value)?;
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        } else {
            metadata.insert("finalizers".into(), json!(finalizers));
        }
        if old.meta.deleting {
            let left = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or_default();
            if grace < left {
                // A second request may shorten the grace; the time counts from the first.
                let end = call.now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(call.now);
                metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
                metadata.insert("deletionTimestamp".into(), json!(meta::time(end)));
            }
        } else {
            let end = call.now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(call.now);
            let at = if grace == 0 { now_at } else { meta::time(end) };
            metadata.insert("deletionTimestamp".into(), json!(at));
            metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
            if old.meta.generation > 0 && resource.storage != super::DEFINITIONS {
                metadata.insert("generation".into(), json!(old.meta.generation + 1));
            }
        }
        let left = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or_default();
        if resource.storage == NAMESPACES || resource.storage == super::DEFINITIONS {
            metadata.remove("deletionGracePeriodSeconds");
        }
        let waits = !finalizers.is_empty() || left > 0 || strategy::holds_own_finalizers(resource, &value);
        // What knows no grace and goes at once never shows a deletion time.
        let shows = old.meta.deleting || strategy::is_graceful(resource);
        if options.dry_run {
            let last = Stored::from_value(&value, &resource.selectable_fields, old.edition);
            return Ok(match (waits, shows) {
                (true, _) => Outcome::Pending(old),
                (false, true) => Outcome::Gone(Arc::new(last)),
                (false, false) => Outcome::Gone(old),
            });
        }
        if !waits {
            let last = if shows { value } else { old.value() };
            return Ok(Outcome::Gone(self.remove(call, last)));
        }
        if value == old.value() {
            return Ok(Outcome::Pending(old));
        }
        let object = self.put(call, value);
        self.after_deletion_began(call, &object);
        match self.storage.get(&resource.storage, key) {
            Some(object) => Ok(Outcome::Pending(Arc::clone(object))),
            // A definition is gone at once where nothing is left of its kind; the real server takes a moment for that.
            None if resource.storage == super::DEFINITIONS => Ok(Outcome::Pending(object)),
            None => Ok(Outcome::Gone(object)),
        }
    }
}

/// 409 when the object is not the one that was meant.
pub(super) fn check_preconditions(call: &Call<'_>, old: &Stored, options: &Options) -> Result<(), Status> {
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != old.meta.uid) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            old.meta.uid
        );
        return Err(Status::conflict(&call.resource.group, &call.resource.kind, &old.key.name, &why));
    }
    let current = old.meta.resource_version.to_string();
    if let Some(version) = options.resource_version.as_deref().filter(|version| *version != current) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({current}). The object might have been modified"
        );
        return Err(Status::conflict(&call.resource.group, &call.resource.kind, &old.key.name, &why));
    }
    Ok(())
}

/// The finalizers after a delete: propagation is asked of the garbage collector through them.
fn finalizers(had: &[String], options: &Options) -> Vec<String> {
    let (orphan, foreground) = (options.orphans(had), options.waits_for_dependents(had));
    let mut finalizers: Vec<String> =
        had.iter().filter(|f| *f != "orphan" && *f != "foregroundDeletion").cloned().collect();
    if orphan {
        finalizers.push("orphan".into());
    }
    if foreground {
        finalizers.push("foregroundDeletion".into());
    }
    finalizers
}
