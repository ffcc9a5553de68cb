//! One request on its way through the server: what every verb needs to know, looked up once.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::meta;
use crate::patch::Applier;
use crate::registry::Resource;
use crate::request::{Request, Verb};
use crate::response::{Reply, Response};
use crate::status::Status;
use crate::storage::{Key, Stored};

/// A request, the resource it is about and its time.
pub(super) struct Call<'a> {
    pub(super) now: Timestamp,
    pub(super) request: &'a Request,
    pub(super) resource: Arc<Resource>,
}

impl Call<'_> {
    /// The namespace objects of this request live in; empty for cluster scope.
    pub(super) fn namespace(&self) -> &str {
        if self.resource.namespaced { self.request.namespace.as_deref().unwrap_or("default") } else { "" }
    }

    /// The object the request names.
    pub(super) fn key(&self) -> Result<Key, Status> {
        let name = self.request.name.as_deref().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Status::bad_request("name must be provided"))?;
        Ok(Key::new(self.namespace(), name))
    }

    /// The body, for verbs that cannot do without.
    pub(super) fn body(&self) -> Result<&Value, Status> {
        let body = self.request.body.as_ref();
        body.ok_or_else(|| Status::bad_request("the request has no body"))
    }

    /// Who writes, as the managed fields name it.
    pub(super) fn applier(&self) -> Applier {
        let manager = self.request.params.field_manager.clone();
        Applier {
            manager: manager.filter(|m| !m.is_empty()).unwrap_or_else(|| self.request.user.agent.clone()),
            force: self.request.params.force,
            api_version: self.resource.api_version(),
            time: meta::time(self.now),
            subresource: self.request.subresource.clone().unwrap_or_default(),
            reset: self.reset_fields(),
        }
    }

    pub(super) fn not_found(&self, name: &str) -> Status {
        Status::not_found(&self.resource.group, &self.resource.plural, name)
    }

    pub(super) fn conflict(&self, name: &str, why: &str) -> Status {
        Status::conflict(&self.resource.group, &self.resource.plural, name, why)
    }

    pub(super) fn forbidden(&self, name: &str, why: &str) -> Status {
        Status::forbidden(&self.resource.group, &self.resource.plural, name, why)
    }

    pub(super) fn invalid(&self, name: &str, causes: Vec<crate::status::Cause>) -> Status {
        // Of a kind that is served in two groups, the one it is kept in is named.
        Status::invalid(&self.resource.storage.group, &self.resource.kind, name, causes)
    }

    /// A 200, or a 201 for a create, with an object.
    pub(super) fn answer(&self, object: Arc<Stored>, warnings: Vec<String>) -> Response {
        let code = if self.request.verb == Verb::Create { 201 } else { 200 };
        Response { code, reply: Reply::Object(object), warnings }
    }

    fn reset_fields(&self) -> Vec<Vec<String>> {
        let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
        match self.request.subresource.as_deref() {
            // Who asks for a certificate cannot change what was asked for.
            None if self.resource.group == "certificates.k8s.io" => vec![path(&["status"]), path(&["spec"])],
            None if self.resource.has_status() => vec![path(&["status"])],
            Some("status") if self.resource.custom.is_some() => {
                let kept = ["labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp"];
                let metadata = kept.iter().map(|field| path(&["metadata", field]));
                std::iter::once(path(&["spec"])).chain(metadata).collect()
            }
            Some("status") if self.resource.plural == "deployments" => {
                vec![path(&["spec"]), path(&["metadata", "labels"])]
            }
            Some("status" | "approval") => vec![path(&["spec"])],
            _ => Vec::new(),
        }
    }
}
