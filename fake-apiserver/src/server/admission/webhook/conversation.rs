//! How a synchronous state machine asks the outside: it stops, says whom to ask, and is asked again with the answer.
//!
//! A request that needs a call changes nothing and ends with [`Progress::Call`]. Whoever drives the server makes the call
//! and enters the same request again; the answers so far are given again in their order, as long as the questions are
//! the same. If the world has changed meanwhile, so that a question is another, later answers no longer count.

use jiff::Timestamp;
use serde_json::Value;

use super::configuration::WebhookCall;
use crate::request::Request;
use crate::response::Response;
use crate::server::{ApiServer, meta};
use crate::status::Status;

/// Calls for one request; more means that the world changes faster than webhooks answer.
const MAX_CALLS: usize = 200;
/// Marks the way out of a request that needs a call; never leaves this module.
const NEEDS_CALL: u16 = 0;

/// The answers one request has got so far.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    answers: Vec<(Value, Result<Value, String>)>,
    /// Answers of conversion webhooks, which count for more than this request.
    converted: Vec<(WebhookCall, Result<Value, String>)>,
    calls: usize,
    /// When the request was entered first: its objects get their times then, however long webhooks take to answer.
    begun: Option<Timestamp>,
}

impl Conversation {
    /// Takes the answer to a call in: the body, or why there is none.
    pub fn answer(&mut self, call: &WebhookCall, answer: Result<Value, String>) {
        self.calls += 1;
        if call.review["kind"] == "ConversionReview" {
            self.converted.push((call.clone(), answer));
            return;
        }
        self.answers.push((call.question(), answer));
    }
}

/// How far a request has come.
#[derive(Debug)]
pub enum Progress {
    /// It is answered.
    Done(Box<Response>),
    /// This call is to be made, and the request to be entered again with its answer.
    Call(Box<WebhookCall>),
}

/// What happens to calls while a request is handled.
#[derive(Debug, Default)]
pub(in crate::server) enum Calls {
    /// Nobody can make any: they count as failed.
    #[default]
    Impossible,
    /// Webhooks are not asked: the writes of the server's own controllers.
    Skipped,
    /// They come out as data.
    Possible {
        conversation: Conversation,
        at: usize,
        needed: Option<Box<WebhookCall>>,
        warnings: Vec<String>,
    },
}

impl Calls {
    pub(in crate::server) fn are_skipped(&self) -> bool {
        matches!(self, Self::Skipped)
    }

    /// The way out of a request that waits for something else than these calls, if anybody can make any.
    pub(in crate::server) fn way_out(&self) -> Option<Status> {
        matches!(self, Self::Possible { .. }).then(|| Status::new(NEEDS_CALL, "", ""))
    }

    /// The uid of the next question, about this revision of everything.
    pub(super) fn next_uid(&self, revision: u64) -> String {
        let at = if let Self::Possible { at, .. } = self { *at } else { 0 };
        meta::uid((1 << 46) + (revision << 16) + at as u64)
    }

    pub(super) fn warn(&mut self, texts: &[String]) {
        if let Self::Possible { warnings, .. } = self {
            warnings.extend_from_slice(texts);
        }
    }

    /// The answer to a call, or the way out to whoever can make it.
    pub(super) fn ask(&mut self, call: WebhookCall) -> Result<Result<Value, String>, Status> {
        let Self::Possible { conversation, at, needed, .. } = self else {
            return Ok(Err(
                "failed to call webhook: this request is handled where nothing can be called".into()
            ));
        };
        match conversation.answers.get(*at) {
            Some((question, answer)) if *question == call.question() => {
                *at += 1;
                return Ok(answer.clone());
            }
            _ => conversation.answers.truncate(*at),
        }
        *needed = Some(Box::new(call));
        Err(Status::new(NEEDS_CALL, "", ""))
    }
}

impl ApiServer {
    /// Handles one request as far as it goes without calls that `conversation` has no answers to.
    pub fn converse(
        &mut self,
        now: Timestamp,
        request: &Request,
        conversation: &mut Conversation,
    ) -> Result<Progress, Status> {
        for (call, answer) in conversation.converted.drain(..) {
            self.take_conversion(&call, answer)?;
        }
        if !self.has_webhooks() && !self.registry.has_conversions() {
            return self.handle(now, request).map(|response| Progress::Done(Box::new(response)));
        }
        if conversation.calls > MAX_CALLS {
            return Err(Status::internal(format!(
                "the object changed with each of {MAX_CALLS} calls of admission webhooks; try again"
            )));
        }
        let now = *conversation.begun.get_or_insert(now);
        let names = self.names;
        let before = std::mem::replace(
            &mut self.calls,
            Calls::Possible {
                conversation: std::mem::take(conversation),
                at: 0,
                needed: None,
                warnings: Vec::new(),
            },
        );
        let result = self.handle(now, request);
        let Calls::Possible { conversation: kept, needed, warnings, .. } =
            std::mem::replace(&mut self.calls, before)
        else {
            return result.map(|response| Progress::Done(Box::new(response)));
        };
        let was_asked = !kept.answers.is_empty();
        *conversation = kept;
        if result.as_ref().is_err_and(|status| status.code != NEEDS_CALL) && was_asked {
            // Somebody has seen the uid of what was not made: it is nobody else's.
            self.uids += 1;
        }
        let unfinished = result.as_ref().is_err_and(|status| status.code == NEEDS_CALL);
        let needed = needed.or_else(|| self.needed_conversion().filter(|_| unfinished).map(Box::new));
        if let Some(call) = needed {
            // A name that was made up is made up again.
            self.names = names;
            return Ok(Progress::Call(call));
        }
        match result {
            Ok(mut response) => {
                response.warnings.extend(warnings);
                Ok(Progress::Done(Box::new(response)))
            }
            Err(mut status) => {
                status.warnings.extend(warnings);
                Err(status)
            }
        }
    }

    /// Handles a request without asking webhooks.
    pub(in crate::server) fn handle_without_webhooks(
        &mut self,
        now: Timestamp,
        request: &Request,
    ) -> Result<Response, Status> {
        let before = std::mem::replace(&mut self.calls, Calls::Skipped);
        let result = self.handle(now, request);
        self.calls = before;
        result
    }
}
