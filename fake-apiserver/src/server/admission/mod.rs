//! Admission: what the server adds to what clients send, and has against it.
//!
//! | file | plugin of kube-apiserver |
//! |---|---|
//! | [`limit_range`] | LimitRanger |
//! | [`service_account`] | ServiceAccount |
//! | [`priority`] | Priority |
//! | [`toleration`] | DefaultTolerationSeconds |
//! | [`node_taint`] | TaintNodesByCondition |
//! | [`runtime_class`] | RuntimeClass |
//! | [`claim_resize`] | PersistentVolumeClaimResize |
//! | [`policy`] | ValidatingAdmissionPolicy |
//! | [`webhook`] | MutatingAdmissionWebhook, ValidatingAdmissionWebhook |
//! | [`matching`] | which requests policies and webhooks are for |
//! | [`quota`] | ResourceQuota |
//!
//! Plugins first change the object ([`ApiServer::admit`]), then its kind's rules are checked, then plugins that only
//! look have their say ([`ApiServer::validate_admission`]), in the order of `pkg/kubeapiserver/options/plugins.go`.

mod claim_resize;
mod limit_range;
mod matching;
mod node_taint;
mod policy;
mod priority;
mod quota;
mod runtime_class;
mod service_account;
mod toleration;
mod webhook;

use serde_json::Value;

pub(super) use policy::Policies;
pub(super) use priority::Classes;
pub(super) use quota::QuotaStatus;
pub(super) use webhook::{Calls, Webhooks};
pub use webhook::{Conversation, Destination, Progress, WebhookCall};

use super::call::Call;
use super::{ApiServer, NODES, PODS};
use crate::status::Status;

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

impl ApiServer {
    /// What admission adds to a new object.
    pub(super) fn admit(&self, call: &Call<'_>, value: &mut Value) -> Result<(), Status> {
        if call.resource.storage == PODS && value["spec"].is_object() {
            self.default_limits(call, value);
            self.admit_account(call, value)?;
            self.admit_priority(call, value)?;
            toleration::admit(value);
            self.admit_runtime_class(call, value)?;
        }
        if call.resource.storage == NODES {
            node_taint::admit(value);
        }
        Ok(())
    }

    /// What admission adds to an object that takes the place of another.
    pub(super) fn admit_update(call: &Call<'_>, value: &mut Value) {
        let whole = call.request.subresource.is_none();
        if call.resource.storage == PODS && whole && value["spec"].is_object() {
            toleration::admit(value);
        }
    }

    /// What admission has against a new object as it would be stored.
    pub(super) fn validate_admission(&mut self, call: &Call<'_>, value: &Value) -> Result<(), Status> {
        self.check_limits(call, value)?;
        self.check_priority_class(call, value, None)?;
        Self::check_overhead(call, value)?;
        self.check_quota(call, value, None)
    }

    /// What admission has against an object that takes the place of another.
    pub(super) fn validate_admission_of_update(
        &mut self,
        call: &Call<'_>,
        value: &Value,
        old: &Value,
    ) -> Result<(), Status> {
        if call.request.subresource.as_deref().is_some_and(|subresource| subresource != "resize") {
            return Ok(());
        }
        self.check_priority_class(call, value, Some(old))?;
        self.check_claim_size(call, value, old)?;
        self.check_quota(call, value, Some(old))
    }
}

/// Several faults as Go joins them: one alone, more in brackets.
fn aggregate(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
