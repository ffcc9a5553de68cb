//! `Status`: how the API server says no.
//!
//! Reasons, codes and message forms are those of `k8s.io/apimachinery/pkg/api/errors`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A refusal, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine readable reason, for instance `NotFound`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What was refused, and each cause.
    pub details: Box<Details>,
    /// With a 410 for a continue token: a token that goes on without consistency.
    pub continue_token: Option<String>,
    /// A reason in somebody else's words, which wins: an admission webhook's.
    pub other_reason: Option<Box<str>>,
    /// What the client should know besides (`Warning` headers).
    pub warnings: Vec<String>,
    /// Made of an HTTP code and nothing else (`NewGenericServerResponse`): has details even where they are empty.
    pub generic: bool,
}

/// The object a [`Status`] speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// Object name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind or plural resource, as the real server sends it in this case.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Object uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One entry for each field that was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// `Retry-After`, seconds; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it so
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// One refused field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// For instance `FieldValueInvalid`, `FieldValueRequired`, `FieldManagerConflict`; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    pub message: String,
    /// Field path in the form of field.Path: `spec.containers[0].name`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl Cause {
    /// A cause from its three parts.
    pub fn new(reason: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), field: field.into() }
    }
}

impl Status {
    /// A status without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Box::default(),
            continue_token: None,
            other_reason: None,
            warnings: Vec::new(),
            generic: false,
        }
    }

    /// What the server says of an HTTP code alone: `details` is there, and empty.
    pub fn generic(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { generic: true, ..Self::new(code, reason, message) }
    }

    /// 404 for an object: `pods "x" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::of(404, "NotFound", group, resource, name, "not found")
    }

    /// 409 for a second create: `pods "x" already exists`.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::of(409, "AlreadyExists", group, resource, name, "already exists")
    }

    /// 409 for a stale write or a failed precondition.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let mut status = Self::of(409, "Conflict", group, resource, name, "");
        status.message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(resource, group));
        status
    }

    /// 422 with one cause for each refused field: `Pod "x" is invalid: …`.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Self {
        // Causes that are found twice are listed twice and said once.
        let mut said: Vec<String> = Vec::new();
        for text in causes.iter().map(|c| format!("{}: {}", c.field, c.message)) {
            if !said.contains(&text) {
                said.push(text);
            }
        }
        let list = if said.len() == 1 { said[0].clone() } else { format!("[{}]", said.join(", ")) };
        let mut status = Self::of(422, "Invalid", group, kind, name, "");
        status.message = format!("{} {name:?} is invalid: {list}", qualified(kind, group));
        status.details.causes = causes;
        status
    }

    /// 403: `pods "x" is forbidden: …`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let mut status = Self::of(403, "Forbidden", group, resource, name, "");
        status.message = format!("{} {name:?} is forbidden: {why}", qualified(resource, group));
        status
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 405.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::generic(405, "MethodNotAllowed", message)
    }

    /// 410: a resource version or continue token that history no longer covers.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// 501: something this server does not model, with the reason.
    pub fn not_modelled(what: impl Into<String>) -> Self {
        Self::new(501, "NotImplemented", what)
    }

    /// The body clients receive.
    pub fn to_value(&self) -> Value {
        let mut value = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        let reason = self.other_reason.as_deref().unwrap_or(self.reason);
        if !reason.is_empty() {
            value["reason"] = Value::from(reason);
        }
        if let Some(token) = &self.continue_token {
            value["metadata"]["continue"] = Value::from(token.as_str());
        }
        if (self.generic || *self.details != Details::default())
            && let Ok(details) = serde_json::to_value(&*self.details)
        {
            value["details"] = details;
        }
        value
    }

    /// The same as text, byte for byte as Go writes it: clients show it as it comes, and compare it.
    pub fn to_text(&self) -> String {
        let metadata = match &self.continue_token {
            Some(token) => serde_json::json!({"continue": token}),
            None => serde_json::json!({}),
        };
        let reason = self.other_reason.as_deref().unwrap_or(self.reason);
        let said = self.generic || *self.details != Details::default();
        let written = Written {
            kind: "Status",
            api_version: "v1",
            metadata,
            status: "Failure",
            message: &self.message,
            reason,
            details: said.then_some(&*self.details),
            code: self.code,
        };
        let mut text = serde_json::to_string(&written).unwrap_or_default();
        for (char, escaped) in [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026")] {
            text = text.replace(char, escaped);
        }
        text.push('\n');
        text
    }

    /// Adds what was said of the request before it was refused, if nothing else was.
    pub(crate) fn warned(mut self, warnings: Vec<String>) -> Self {
        if self.warnings.is_empty() {
            self.warnings = warnings;
        }
        self
    }

    fn of(code: u16, reason: &'static str, group: &str, kind: &str, name: &str, said: &str) -> Self {
        Self {
            code,
            reason,
            message: format!("{} {name:?} {said}", qualified(kind, group)),
            details: Box::new(Details {
                name: name.into(),
                group: group.into(),
                kind: kind.into(),
                ..Details::default()
            }),
            continue_token: None,
            other_reason: None,
            warnings: Vec::new(),
            generic: false,
        }
    }
}

/// The fields of a Status in the order of the Go type.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Value,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

/// `deployments.apps`, or `pods` for the core group.
fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.into() } else { format!("{resource}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_as_go_writes_it() {
        let status = Status::already_exists("apps", "deployments", "a<b");
        let expected = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
            \"message\":\"deployments.apps \\\"a\\u003cb\\\" already exists\",\"reason\":\"AlreadyExists\",\
            \"details\":{\"name\":\"a\\u003cb\",\"group\":\"apps\",\"kind\":\"deployments\"},\"code\":409}\n";
        assert_eq!(status.to_text(), expected);
        assert_eq!(serde_json::from_str::<Value>(&status.to_text()).ok(), Some(status.to_value()));
    }
}
