//! Admission webhooks: who is asked about a write, and what becomes of the answers.
//!
//! | file | what it is |
//! |---|---|
//! | [`configuration`] | the webhooks that are set up, and which requests they are for |
//! | [`conversation`] | calls come out as data, answers come in; the state machine stays synchronous |
//! | [`review`] | AdmissionReview: the question, and what an answer may be |
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/webhook`.

mod configuration;
mod conversation;
mod review;

use serde_json::Value;

pub(in crate::server) use configuration::Webhooks;
pub use configuration::{Destination, WebhookCall};
pub(in crate::server) use conversation::Calls;
pub use conversation::{Conversation, Progress};

use configuration::Webhook;
pub(in crate::server::admission) use review::Question;

use review::Verdict;

use super::Operation;
use crate::patch;
use crate::server::call::Call;
use crate::server::{ApiServer, convert, scale, strategy};
use crate::status::Status;

impl ApiServer {
    /// Lets the mutating webhooks change an object that is to be written, in the storage version.
    pub(in crate::server) fn mutate(
        &mut self,
        call: &Call<'_>,
        operation: Operation,
        value: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if self.webhooks.mutating.is_empty() || self.calls.are_skipped() {
            return Ok(());
        }
        let webhooks = std::sync::Arc::clone(&self.webhooks);
        // Each webhook with the object as it left it.
        let mut asked: Vec<Option<Value>> = Vec::new();
        for webhook in &webhooks.mutating {
            let was_asked = self.ask_mutating(call, webhook, operation, value, old)?;
            asked.push(was_asked.then(|| value.clone()));
        }
        for (webhook, left) in webhooks.mutating.iter().zip(asked) {
            // Who has seen another object than this one may ask to look again, once.
            if webhook.reinvoked && left.is_some_and(|left| left != *value) {
                self.ask_mutating(call, webhook, operation, value, old)?;
            }
        }
        Ok(())
    }

    /// Asks the validating webhooks about a write; `value` is what would be stored.
    pub(in crate::server) fn validate_by_webhooks(
        &mut self,
        call: &Call<'_>,
        operation: Operation,
        value: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if self.webhooks.validating.is_empty() || self.calls.are_skipped() {
            return Ok(());
        }
        let webhooks = std::sync::Arc::clone(&self.webhooks);
        for webhook in &webhooks.validating {
            self.ask(call, webhook, operation, value, old)?;
        }
        Ok(())
    }

    /// Whether any webhook may have to be asked.
    pub(in crate::server) fn has_webhooks(&self) -> bool {
        let none = self.webhooks.mutating.is_empty() && self.webhooks.validating.is_empty();
        !none && !self.calls.are_skipped()
    }

    /// Both kinds about a deletion, which nobody can change.
    pub(in crate::server) fn ask_about_deletion(
        &mut self,
        call: &Call<'_>,
        old: &Value,
    ) -> Result<(), Status> {
        if !self.has_webhooks() {
            return Ok(());
        }
        let webhooks = std::sync::Arc::clone(&self.webhooks);
        for webhook in webhooks.mutating.iter().chain(&webhooks.validating) {
            self.ask(call, webhook, Operation::Delete, None, Some(old))?;
        }
        Ok(())
    }

    fn ask_mutating(
        &mut self,
        call: &Call<'_>,
        webhook: &Webhook,
        operation: Operation,
        value: &mut Value,
        old: Option<&Value>,
    ) -> Result<bool, Status> {
        let Some((resource, verdict)) = self.ask(call, webhook, operation, Some(value), old)? else {
            return Ok(false);
        };
        if let Some(operations) = verdict.patch {
            let mut shown = value.clone();
            convert::from_storage(&resource, &mut shown);
            let mut patched =
                patch::json_or_why(&shown, &operations).map_err(|why| review::internal(&why))?;
            if let Some(misfit) = resource.schema().and_then(|schema| schema.misfit(&patched)) {
                return Err(review::internal(misfit.decoder()));
            }
            if let Some(schema) = resource.schema() {
                schema.prune(&mut patched);
            }
            convert::to_storage(&resource, &mut patched);
            strategy::refill(&call.resource, &mut patched);
            *value = patched;
        }
        Ok(true)
    }

    /// Asks one webhook, if it is for this request; the resource says in which version.
    fn ask(
        &mut self,
        call: &Call<'_>,
        webhook: &Webhook,
        operation: Operation,
        value: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<Option<(std::sync::Arc<crate::registry::Resource>, Verdict)>, Status> {
        let Some(resource) = webhook.matched(&self.registry, call, operation) else { return Ok(None) };
        if !webhook.selects(&self.storage, call, value, old) {
            return Ok(None);
        }
        let as_scale = call.request.subresource.as_deref() == Some("scale");
        let shown = |value: &Value| {
            if as_scale && let Some(scale) = scale::shown(&call.resource, value) {
                return scale;
            }
            let mut shown = value.clone();
            convert::from_storage(&resource, &mut shown);
            if let Some(schema) = resource.schema() {
                schema.drop_empty(&mut shown);
            }
            shown
        };
        let question = Question {
            call,
            resource: &resource,
            operation,
            object: value.map(shown).unwrap_or_default(),
            old: old.map(shown).unwrap_or_default(),
            mutates: webhook.mutates,
        };
        let request = question.request();
        let schema = resource.schema().map(AsRef::as_ref);
        if !webhook.conditions_hold(call, &request, schema)? {
            return Ok(None);
        }
        if call.request.params.dry_run && !webhook.may_be_asked_in_a_dry_run {
            let name = &webhook.name;
            return Err(Status::bad_request(format!("admission webhook {name:?} does not support dry run")));
        }
        let uid = self.calls.next_uid(self.storage.revision());
        let answer = self.calls.ask(webhook.call(&request, &uid))?;
        match answer.and_then(|answer| Verdict::read(&answer, &uid, webhook.mutates)) {
            Ok(verdict) => {
                self.calls.warn(&verdict.warnings);
                verdict.allowed(&webhook.name).map(|verdict| Some((resource, verdict)))
            }
            Err(_) if webhook.ignores_failures => Ok(None),
            Err(why) => Err(review::internal(&format!("failed calling webhook {:?}: {why}", webhook.name))),
        }
    }
}
