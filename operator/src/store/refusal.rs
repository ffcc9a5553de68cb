//! From `metav1.Status` to [`StoreError`]: one table for every implementation.

use std::time::Duration;

use super::{
    Cause, StoreError,
    error::{Missing, ObjectName},
};

/// A refusal of the API server, whoever carried it.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) message: String,
    /// `details.kind`: plural or kind of what the refusal is about.
    pub(super) kind: String,
    /// `details.name`.
    pub(super) name: String,
    /// Reason, field and message of each cause.
    pub(super) causes: Vec<(String, Cause)>,
    pub(super) retry_after_seconds: u32,
}

impl Refusal {
    /// What the caller can do about it. Codes and reasons are those of `k8s.io/apimachinery/pkg/api/errors`.
    pub(super) fn into_error(self, object: ObjectName) -> StoreError {
        let message = self.message.clone();
        match self.code {
            409 if self.reason == "AlreadyExists" => StoreError::AlreadyExists { object },
            // The server lost a race with itself while it counted a quota; the request was fine.
            409 if self.kind == "resourcequotas" => self.transient(object),
            409 => StoreError::Conflict { object, message },
            403 if self.has_cause("NamespaceTerminating") => StoreError::Terminating { object },
            403 => StoreError::Forbidden { object, quota: message.contains("exceeded quota"), message },
            404 => StoreError::NotFound { object, missing: self.missing(), message },
            410 => StoreError::Gone { object, message },
            // Another object has the name now: the content is fine, the caller's view is old.
            422 if self.causes.iter().any(|(_, cause)| cause.field == "metadata.uid") => {
                StoreError::Conflict { object, message }
            }
            400 | 413 | 422 => StoreError::Invalid { object, causes: self.causes_or_message() },
            // Server-side apply to a built-in kind whose schema does not know a field answers 500, and always will.
            500 if message.contains("typed patch object") => {
                StoreError::Invalid { object, causes: self.causes_or_message() }
            }
            401 | 408 | 429 | 500 | 502..=504 => self.transient(object),
            code => StoreError::Unsupported { object, code, message },
        }
    }

    fn has_cause(&self, reason: &str) -> bool {
        self.causes.iter().any(|(given, _)| given == reason)
    }

    /// The path itself is unknown when the server names nothing that it looked for.
    fn missing(&self) -> Missing {
        match (self.name.is_empty(), self.kind.as_str()) {
            (true, _) => Missing::Endpoint,
            (false, "namespaces") => Missing::Namespace,
            (false, _) => Missing::Object,
        }
    }

    fn causes_or_message(self) -> Vec<Cause> {
        if self.causes.is_empty() {
            return vec![Cause { field: String::new(), message: self.message }];
        }
        self.causes.into_iter().map(|(_, cause)| cause).collect()
    }

    fn transient(self, object: ObjectName) -> StoreError {
        let wait = u64::from(self.retry_after_seconds);
        StoreError::Transient {
            object,
            message: self.message,
            retry_after: (wait > 0).then(|| Duration::from_secs(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, reason: &str, message: &str) -> StoreError {
        let refusal = Refusal { code, reason: reason.into(), message: message.into(), ..Refusal::default() };
        refusal.into_error(ObjectName { kind: "Pod".into(), namespace: "ns".into(), name: "x".into() })
    }

    #[test]
    fn a_name_that_is_taken_is_no_conflict() {
        assert_eq!(error(409, "AlreadyExists", "").reason(), "AlreadyExists");
        assert_eq!(error(409, "Conflict", "").reason(), "Conflict");
    }

    #[test]
    fn a_quota_is_told_from_a_missing_right() {
        let quota = "pods \"x\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1";
        assert_eq!(error(403, "Forbidden", quota).reason(), "QuotaExceeded");
        assert_eq!(
            error(403, "Forbidden", "User \"u\" cannot create resource \"pods\"").reason(),
            "Forbidden"
        );
    }

    #[test]
    fn a_field_that_apply_does_not_know_is_invalid_though_the_server_says_500() {
        let said = "failed to create typed patch object (ns/x; /v1, Kind=Pod): .spec.new: field not declared in schema";
        assert_eq!(error(500, "InternalError", said).reason(), "Invalid");
        assert_eq!(error(500, "InternalError", "etcd is away").reason(), "Transient");
    }

    #[test]
    fn every_message_names_the_object_and_begins_with_it() {
        for code in [400, 401, 403, 404, 405, 409, 410, 422, 429, 500, 503] {
            let said = error(code, "", "why").to_string();
            assert!(said.starts_with("Pod ns/x"), "{said}");
        }
    }
}
