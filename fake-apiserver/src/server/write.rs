//! The end of every write: revision, storage, and what the server itself does because of it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ApiServer;
use super::call::Call;
use crate::registry::Resource;
use crate::request::{Request, User};
use crate::status::Status;
use crate::storage::Stored;

impl ApiServer {
    /// Stores an object under the next revision.
    pub(super) fn put(&mut self, call: &Call<'_>, mut value: Value) -> Arc<Stored> {
        let resource = &call.resource;
        let (edition, fields) = self.complete_as_stored(resource, &mut value);
        value["metadata"]["resourceVersion"] = json!(self.storage.next_revision().to_string());
        let object = Stored::from_value(&value, &fields.selectable_fields, edition);
        let object = self.storage.put(&resource.storage, object);
        self.after_put(call, &object, &value);
        object
    }

    /// Removes an object; the answer and the event carry its last state and the revision of the deletion.
    pub(super) fn remove(&mut self, call: &Call<'_>, mut value: Value) -> Arc<Stored> {
        let resource = &call.resource;
        let (edition, fields) = self.complete_as_stored(resource, &mut value);
        value["metadata"]["resourceVersion"] = json!(self.storage.next_revision().to_string());
        let last = Stored::from_value(&value, &fields.selectable_fields, edition);
        let last = self.storage.remove(&resource.storage, last);
        self.after_remove(call, &last, &value);
        last
    }

    /// A custom resource is read back in the version that is stored, under whose schema it loses and gains fields; the
    /// answer is the edition it is complete under, and that version.
    pub(super) fn complete_as_stored(
        &self,
        resource: &Arc<Resource>,
        value: &mut Value,
    ) -> (u64, Arc<Resource>) {
        if resource.api_version() == resource.storage_api_version {
            return (resource.edition(), Arc::clone(resource));
        }
        let version = resource.storage_api_version.rsplit('/').next().unwrap_or_default();
        let stored = self.registry.get(&resource.group, version, &resource.plural);
        let Some(stored) = stored.filter(|stored| stored.custom.is_some()) else {
            return (0, Arc::clone(resource));
        };
        if let Some(schema) = stored.schema() {
            schema.prune(value);
            schema.default(value);
        }
        (stored.edition(), Arc::clone(stored))
    }

    fn after_put(&mut self, call: &Call<'_>, object: &Arc<Stored>, value: &Value) {
        match (&*call.resource.storage.group, &*call.resource.storage.resource) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => {
                self.definition_written(call, object, value);
            }
            ("", "services") => self.addresses.note(value),
            ("rbac.authorization.k8s.io", kind) => self.role_written(object, value, kind),
            ("scheduling.k8s.io", _) => self.priority_class_changed(),
            ("admissionregistration.k8s.io", _) => self.admission_changed(),
            _ => {}
        }
    }

    fn after_remove(&mut self, call: &Call<'_>, last: &Arc<Stored>, value: &Value) {
        match (&*call.resource.storage.group, &*call.resource.storage.resource) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => self.definition_removed(last),
            ("", "services") => self.addresses.forget(value),
            ("rbac.authorization.k8s.io", kind) => self.role_removed(last, kind),
            ("scheduling.k8s.io", _) => self.priority_class_changed(),
            ("admissionregistration.k8s.io", _) => self.admission_changed(),
            _ if call.resource.custom.is_some() => self.finish_definition(call),
            _ => {}
        }
    }

    fn admission_changed(&mut self) {
        self.webhooks = Arc::new(super::admission::Webhooks::read(&self.storage));
        self.policies = Arc::new(super::admission::Policies::read(&self.storage));
    }

    /// A status that the API server itself writes while it answers a request.
    pub(super) fn write_status(
        &mut self,
        call: &Call<'_>,
        api_version: &str,
        resource: &str,
        value: Value,
    ) -> Result<(), Status> {
        let mut request = Request::update(api_version, resource, value).subresource("status");
        request.user = User { agent: "kube-apiserver".into(), ..User::default() };
        self.handle_without_webhooks(call.now, &request).map(drop)
    }

    /// What follows from the first sign of a deletion.
    pub(super) fn after_deletion_began(&mut self, call: &Call<'_>, object: &Arc<Stored>) {
        if &*call.resource.storage.resource == "customresourcedefinitions" {
            self.definition_deleted(call, object);
        }
    }
}
