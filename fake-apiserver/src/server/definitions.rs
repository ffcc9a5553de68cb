//! CustomResourceDefinitions: what is written is served at once; deletion takes the custom resources along.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::delete::Options;
use super::{ApiServer, DEFINITIONS, meta};
use crate::patch::{self, Applier};
use crate::registry::Registry;
use crate::request::{Request, Verb};
use crate::storage::{Key, Stored};

const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The status a definition begins with.
pub(super) fn begin(value: &mut Value) {
    let stored = value["spec"]["versions"].as_array().into_iter().flatten().filter(|v| v["storage"] == true);
    let stored: Vec<Value> = stored.map(|version| version["name"].clone()).take(1).collect();
    value["status"] =
        json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": stored});
}

/// Remembers the version that is stored from now on.
pub(super) fn remember_stored(value: &mut Value) {
    let mut versions = value["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    let stored = value["spec"]["versions"].as_array().into_iter().flatten().find(|v| v["storage"] == true);
    if let Some(stored) = stored.map(|version| version["name"].clone())
        && !versions.contains(&stored)
    {
        versions.push(stored);
        value["status"]["storedVersions"] = json!(versions);
    }
}

/// The status of a definition that is served, keeping the times of conditions that have not changed.
pub(super) fn accept(value: &mut Value, now: &str) {
    let names = value["spec"]["names"].clone();
    remember_stored(value);
    let versions = value["status"]["storedVersions"].clone();
    let said = [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ];
    let mut conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for (kind, reason, message) in said {
        if !conditions.iter().any(|condition| condition["type"] == kind) {
            conditions.push(json!({"type": kind, "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": now}));
        }
    }
    value["status"] = json!({"acceptedNames": names, "conditions": conditions, "storedVersions": versions});
}

impl ApiServer {
    /// Serves a definition as it is written now.
    pub(super) fn definition_written(&mut self, call: &Call<'_>, object: &Arc<Stored>, value: &Value) {
        let unchanged = self
            .registry
            .resources()
            .any(|resource| resource.custom.as_ref().is_some_and(|c| c.definition == object.key.name))
            && self.served_specs.get(&object.key.name) == Some(&value["spec"]);
        if unchanged {
            return;
        }
        self.editions += 1;
        self.forget_conversions();
        if let Ok(resources) = Registry::custom(value, self.editions) {
            self.registry.set_custom(&object.key.name, resources);
            self.served_specs.insert(object.key.name.clone(), value["spec"].clone());
        }
        let has_status = value["status"]["conditions"].as_array().is_some_and(|c| !c.is_empty());
        if !has_status || value["status"]["acceptedNames"] != value["spec"]["names"] {
            // The second write is the one that the naming and establishing controllers make.
            let mut accepted = value.clone();
            accept(&mut accepted, &meta::time(call.now));
            let by = Applier {
                manager: "kube-apiserver".into(),
                subresource: "status".into(),
                reset: vec![vec!["spec".into()]],
                ..call.applier()
            };
            patch::track_update(call.resource.schema().map(AsRef::as_ref), Some(value), &mut accepted, &by);
            self.put(call, accepted);
        }
    }

    /// The first sign of a deletion: the custom resources go first, then the definition.
    pub(super) fn definition_deleted(&mut self, call: &Call<'_>, object: &Arc<Stored>) {
        let Some(resource) = self.custom_of(object) else { return };
        let request = Request { verb: Verb::Delete, ..Request::default() };
        let inner = Call { now: call.now, request: &request, resource };
        let keys: Vec<Key> = self
            .storage
            .collection(&inner.resource.storage)
            .map(|objects| objects.iter().map(|object| object.key.clone()).collect())
            .unwrap_or_default();
        for key in keys {
            // Objects with finalizers stay until those are removed; the definition waits for them.
            let _ = self.delete_object(&inner, &key, &Options::default());
        }
        self.finish_definition(&inner);
    }

    /// Removes a definition that is being deleted once its last custom resource has gone.
    pub(super) fn finish_definition(&mut self, call: &Call<'_>) {
        let Some(custom) = &call.resource.custom else { return };
        if self.storage.collection(&call.resource.storage).is_some_and(|objects| !objects.is_empty()) {
            return;
        }
        let key = Key::new("", &custom.definition);
        let Some(definition) = self.storage.get(&DEFINITIONS, &key).filter(|d| d.meta.deleting).cloned()
        else {
            return;
        };
        let Some(resource) = self.registry.preferred(&DEFINITIONS.group, &DEFINITIONS.resource).cloned()
        else {
            return;
        };
        let mut value = definition.value();
        let rest: Vec<&String> = definition.meta.finalizers.iter().filter(|f| *f != CLEANUP).collect();
        value["metadata"]["finalizers"] = json!(rest);
        let inner = Call { now: call.now, request: call.request, resource };
        if rest.is_empty() {
            self.remove(&inner, value);
        } else {
            self.put(&inner, value);
        }
    }

    /// The definition has gone: its resources are served no more.
    pub(super) fn definition_removed(&mut self, last: &Arc<Stored>) {
        self.registry.set_custom(&last.key.name, Vec::new());
        self.served_specs.remove(&last.key.name);
    }

    /// One of the resources of a definition: served, or as it would be, since objects may be kept that no version serves any more.
    fn custom_of(&self, object: &Arc<Stored>) -> Option<Arc<crate::registry::Resource>> {
        let mut custom = self.registry.resources();
        let name = &object.key.name;
        if let Some(served) = custom.find(|r| r.custom.as_ref().is_some_and(|c| c.definition == *name)) {
            return Some(Arc::clone(served));
        }
        let mut value = object.value();
        for version in value["spec"]["versions"].as_array_mut().into_iter().flatten() {
            version["served"] = json!(true);
        }
        Registry::custom(&value, self.editions).ok()?.into_iter().next().map(Into::into)
    }
}

/// A definition that begins to go waits for its custom resources.
pub(super) fn begin_delete(value: &mut Value, now: &str) {
    let terminating = |condition: &Value| condition["type"] == "Terminating";
    if let Some(conditions) = value["status"]["conditions"].as_array_mut()
        && !conditions.iter().any(terminating)
    {
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        conditions.push(json!({"type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
            "message": message, "lastTransitionTime": now}));
    }
    let mut finalizers = value["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if value["metadata"]["deletionTimestamp"].is_null() && !finalizers.iter().any(|f| f == CLEANUP) {
        finalizers.push(json!(CLEANUP));
        value["metadata"]["finalizers"] = json!(finalizers);
    }
}
