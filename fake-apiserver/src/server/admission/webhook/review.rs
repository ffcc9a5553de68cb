//! AdmissionReview: the question, and what an answer may be.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/webhook/request`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::Operation;
use crate::registry::Resource;
use crate::request::Verb;
use crate::server::call::Call;
use crate::server::user_info;
use crate::status::{Cause, Status};

/// What a webhook is asked.
pub(in crate::server::admission) struct Question<'a> {
    pub(in crate::server::admission) call: &'a Call<'a>,
    /// The version the webhook wants.
    pub(in crate::server::admission) resource: &'a Resource,
    pub(in crate::server::admission) operation: Operation,
    /// Null for a deletion.
    pub(in crate::server::admission) object: Value,
    /// Null for a creation.
    pub(in crate::server::admission) old: Value,
    /// Whether the one who is asked may change the object.
    pub(in crate::server::admission) mutates: bool,
}

impl Question<'_> {
    /// `request` of the AdmissionReview, without its uid.
    pub(in crate::server::admission) fn request(&self) -> Value {
        let request = self.call.request;
        let scales = request.subresource.as_deref() == Some("scale");
        let kind = |of: &Resource| {
            if scales {
                return json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
            }
            json!({"group": of.group, "version": of.version, "kind": of.kind})
        };
        let resource =
            |of: &Resource| json!({"group": of.group, "version": of.version, "resource": of.plural});
        let mut object = self.object.clone();
        if self.operation == Operation::Update && request.verb == Verb::Update && self.mutates {
            // What the server knows of the old object is filled in after the mutating webhooks have been asked.
            let sent = request.body.as_ref().map(|body| &body["metadata"]);
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.retain(|field, _| {
                    let filled = matches!(
                        field.as_str(),
                        "uid" | "resourceVersion" | "creationTimestamp" | "generation"
                    );
                    !filled || sent.is_some_and(|sent| !sent[field].is_null())
                });
            }
        }
        if self.operation == Operation::Create
            && self.mutates
            && self.resource.has_status()
            && self.resource.custom.is_none()
            && object["status"].is_null()
        {
            // Go has one where nothing was said.
            object["status"] = json!({});
        }
        let mut name = request.name.clone();
        if self.operation == Operation::Create {
            let generated = |asked: &Value| asked["metadata"]["name"].as_str().unwrap_or_default().is_empty();
            let said = request.body.as_ref().is_some_and(|body| !generated(body)) || request.name.is_some();
            if !said && object["metadata"]["uid"].is_null() {
                // Names are made up after the mutating webhooks have been asked.
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.remove("name");
                }
            }
            name = name.or_else(|| {
                request.body.as_ref()?["metadata"]["name"]
                    .as_str()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            });
        }
        let mut question = json!({
            "kind": kind(self.resource),
            "resource": resource(self.resource),
            "requestKind": kind(&self.call.resource),
            "requestResource": resource(&self.call.resource),
            "operation": self.operation.name(),
            "userInfo": user_info(&request.user),
            "object": object,
            "oldObject": self.old,
            "dryRun": request.params.dry_run,
            "options": self.options(),
        });
        if let Some(subresource) = &request.subresource {
            question["subResource"] = json!(subresource);
            question["requestSubResource"] = json!(subresource);
        }
        if let Some(name) = name {
            question["name"] = json!(name);
        }
        let namespace = match &request.namespace {
            Some(namespace) => Some(namespace.clone()),
            // A namespace lies within itself.
            None if self.call.resource.plural == "namespaces" && self.call.resource.group.is_empty() => {
                question["name"].as_str().map(str::to_owned)
            }
            None => None,
        };
        if let Some(namespace) = namespace {
            question["namespace"] = json!(namespace);
        }
        question
    }

    fn options(&self) -> Value {
        let params = &self.call.request.params;
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if let Some(manager) = &params.field_manager {
            options["fieldManager"] = json!(manager);
        }
        if params.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if self.operation == Operation::Delete {
            for (field, value) in self.call.request.body.iter().filter_map(Value::as_object).flatten() {
                if !["kind", "apiVersion"].contains(&field.as_str()) {
                    options[field] = value.clone();
                }
            }
        }
        options
    }
}

/// What a webhook has answered.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    allowed: bool,
    status: Value,
    /// JSON patch operations.
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
}

impl Verdict {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// Why it is none, in the words of the real server.
    pub(super) fn read(body: &Value, uid: &str, mutates: bool) -> Result<Self, String> {
        const INVALID: &str = "received invalid webhook response:";
        if !body.is_object() {
            return Err(format!(
                "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go \
                 value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
                 \"json:\\\"kind,omitempty\\\"\" }}",
                crate::schema::go_name(body)
            ));
        }
        let said = |field: &str| body[field].as_str().filter(|text| !text.is_empty());
        // What says nothing of its type is taken for what was asked for.
        let (version, kind) =
            (said("apiVersion").unwrap_or("admission.k8s.io/v1"), said("kind").unwrap_or("AdmissionReview"));
        if version == "admission.k8s.io/v1beta1" && kind == "AdmissionReview" {
            return Err(
                "failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): \
                        unknown conversion"
                    .into(),
            );
        }
        if version != "admission.k8s.io/v1" || kind != "AdmissionReview" {
            return Err(format!(
                "{INVALID} expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, \
                 Kind={kind}"
            ));
        }
        let response = &body["response"];
        if !response.is_object() {
            return Err(format!("{INVALID} webhook response was absent"));
        }
        if !mutates && response["patch"].as_str().is_some_and(|patch| !patch.is_empty()) {
            return Err(format!("{INVALID} validating webhook may not return response.patch"));
        }
        let said = response["uid"].as_str().unwrap_or_default();
        if said != uid {
            return Err(format!("{INVALID} expected response.uid={uid:?}, got {said:?}"));
        }
        let patch = match response["patch"].as_str().filter(|patch| !patch.is_empty() && mutates) {
            None => None,
            Some(patch) => {
                match response["patchType"].as_str() {
                    Some("JSONPatch") => {}
                    None => {
                        return Err(
                            "received invalid webhook response: webhook returned response.patch but not \
                                    response.patchType"
                                .into(),
                        );
                    }
                    Some(other) => return Err(format!("unsupported patch type {other:?}")),
                }
                let bytes =
                    BASE64.decode(patch).map_err(|error| format!("the patch is no base64: {error}"))?;
                Some(
                    serde_json::from_slice(&bytes)
                        .map_err(|error| format!("the patch is no JSON: {error}"))?,
                )
            }
        };
        Ok(Self {
            allowed: response["allowed"] == true,
            status: response["status"].clone(),
            patch,
            warnings: crate::server::tokens::texts(&response["warnings"]),
        })
    }

    /// The refusal, if it is one.
    pub(super) fn allowed(self, webhook: &str) -> Result<Self, Status> {
        if self.allowed {
            return Ok(self);
        }
        let text = |field: &str| self.status[field].as_str().filter(|text| !text.is_empty());
        let why = match (text("message"), text("reason")) {
            (Some(message), _) => format!("denied the request: {message}"),
            (None, Some(reason)) => format!("denied the request: {reason}"),
            (None, None) => "denied the request without explanation".into(),
        };
        let code = self.status["code"]
            .as_u64()
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| *code >= 400);
        let mut status = Status::new(code.unwrap_or(400), "", format!("admission webhook {webhook:?} {why}"));
        status.other_reason = text("reason").map(Into::into);
        if let Ok(details) = serde_json::from_value(self.status["details"].clone()) {
            status.details = Box::new(details);
        }
        Err(status)
    }
}

/// 500, as the real server says that a webhook could not be used.
pub(super) fn internal(why: &str) -> Status {
    let mut status = Status::internal(format!("Internal error occurred: {why}"));
    status.details.causes.push(Cause::new("", "", why));
    status
}
