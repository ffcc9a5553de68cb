//! Questions about identity and permission, answered and not kept.
//!
//! What is refused follows `pkg/apis/authorization/validation` and the registries of `pkg/registry/auth*`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::authorization::{Attributes, Target};
use super::call::Call;
use super::{ApiServer, go_text, meta, tokens};
use crate::patch;
use crate::request::User;
use crate::response::{Reply, Response};
use crate::status::{Cause, Status};

impl ApiServer {
    pub(super) fn review(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let mut review = call.body()?.clone();
        super::body::decode(&self.registry, call, &mut review)?;
        let metadata = meta::of(&mut review)?;
        let named = metadata.keys().any(|field| field != "namespace")
            && call.resource.group == "authorization.k8s.io";
        match call.resource.kind.as_str() {
            "SelfSubjectReview" => {
                metadata.insert("creationTimestamp".into(), json!(meta::time(call.now)));
            }
            "SelfSubjectRulesReview" => {}
            _ => {
                if call.resource.namespaced {
                    metadata.insert("namespace".into(), json!(call.namespace()));
                }
                patch::track_update(
                    call.resource.schema().map(AsRef::as_ref),
                    None,
                    &mut review,
                    &call.applier(),
                );
            }
        }
        if named {
            let fault = format!("Invalid value: {}: must be empty", go_text::meta(&review["metadata"]));
            let cause = Cause::new("FieldValueInvalid", "metadata", fault);
            return Err(Status::invalid(&call.resource.group, "", "", vec![cause]));
        }
        let user = &call.request.user;
        review["status"] = match call.resource.kind.as_str() {
            "SelfSubjectRulesReview" => {
                let status = self.rules_review(user, &review["spec"])?;
                review["spec"] = json!({});
                status
            }
            "SelfSubjectReview" => json!({"userInfo": user_info(user)}),
            "TokenReview" => self.token_review(call.now, &review["spec"])?,
            kind => self.access_review(call, kind, &review)?,
        };
        Ok(Response { code: 201, reply: Reply::Value(review), warnings: Vec::new() })
    }

    fn rules_review(&self, user: &User, spec: &Value) -> Result<Value, Status> {
        let namespace = spec["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (rules, errors) = self.rules_of(user, namespace);
        let (paths, resources): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(super::authorization::Rule::is_about_paths);
        let mut status = json!({"incomplete": false, "nonResourceRules": paths, "resourceRules": resources});
        if !errors.is_empty() {
            status["evaluationError"] = json!(errors.join(", "));
        }
        Ok(status)
    }

    /// SelfSubjectAccessReview, SubjectAccessReview and LocalSubjectAccessReview.
    fn access_review(&self, call: &Call<'_>, kind: &str, review: &Value) -> Result<Value, Status> {
        let spec = &review["spec"];
        let own = kind == "SelfSubjectAccessReview";
        let mut causes = Vec::new();
        let mut invalid = |field: &str, value: &Value, fault: &str| {
            causes.push(Cause::new("FieldValueInvalid", field, format!("Invalid value: {value}: {fault}")));
        };
        let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let shown = json!({"Path": path["path"], "Verb": path["verb"]});
        match (resource.is_object(), path.is_object()) {
            (true, true) => invalid(
                "spec.nonResourceAttributes",
                &shown,
                "cannot be specified in combination with resourceAttributes",
            ),
            (false, false) => invalid(
                "spec.resourceAttributes",
                &Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ),
            _ => {}
        }
        let user = if own { call.request.user.clone() } else { subject(spec) };
        if user.name.is_empty() && user.groups.is_empty() {
            invalid("spec.user", &json!(""), "at least one of user or group must be specified");
        }
        if kind == "LocalSubjectAccessReview" {
            let namespace = resource["namespace"].as_str().unwrap_or_default();
            if resource.is_object() && namespace != call.namespace() {
                let said = json!(namespace);
                invalid("spec.resourceAttributes.namespace", &said, "must match metadata.namespace");
            }
            if path.is_object() {
                invalid("spec.nonResourceAttributes", &shown, "disallowed on this kind of request");
            }
        }
        if !causes.is_empty() {
            // The real server asks its scheme for a kind it has not been told.
            return Err(Status::invalid(&call.resource.group, "", "", causes));
        }
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let target = if resource.is_object() {
            Target::Resource {
                group: text(resource, "group"),
                resource: text(resource, "resource"),
                subresource: text(resource, "subresource"),
                namespace: text(resource, "namespace"),
                name: text(resource, "name"),
            }
        } else {
            Target::Path(text(path, "path"))
        };
        let verb = text(if resource.is_object() { resource } else { path }, "verb");
        let decision = self.decide(&Attributes { user: &user, verb, target });
        let mut status = json!({"allowed": decision.allowed});
        if !decision.reason.is_empty() {
            status["reason"] = json!(decision.reason);
        }
        Ok(status)
    }

    fn token_review(&self, now: Timestamp, spec: &Value) -> Result<Value, Status> {
        let token = spec["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let refused = |why: &str| {
            let error = if why.is_empty() {
                "invalid bearer token".to_owned()
            } else {
                format!("[invalid bearer token, {why}]")
            };
            json!({"error": error, "user": {}})
        };
        Ok(match self.authenticate(now, token, &tokens::texts(&spec["audiences"])) {
            Ok(Some(known)) => json!({"authenticated": true, "audiences": known.audiences,
                "user": user_info(&known.user)}),
            Ok(None) => refused(""),
            Err(why) => refused(&why),
        })
    }
}

/// Whom a SubjectAccessReview asks about.
fn subject(spec: &Value) -> User {
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: spec["user"].as_str().unwrap_or_default().into(),
        uid: spec["uid"].as_str().unwrap_or_default().into(),
        groups: tokens::texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.clone(), tokens::texts(values))).collect(),
        ..User::default()
    }
}

/// A user as reviews and webhooks show one.
pub(crate) fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
