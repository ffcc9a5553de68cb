//! The webhooks that are set up, and which requests they are for.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/webhook/{generic,predicates,matchconditions}`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::super::matching::{GROUP, Matching};
use super::Operation;
use crate::registry::{Registry, Resource};
use crate::schema::{CelValue, Expression, Schema};
use crate::server::call::Call;
use crate::status::Status;
use crate::storage::{GroupResource, Storage};

const MUTATING: GroupResource = GroupResource::new(GROUP, "mutatingwebhookconfigurations");
const VALIDATING: GroupResource = GroupResource::new(GROUP, "validatingwebhookconfigurations");
/// Seconds a webhook has if nobody says.
const TIMEOUT_SECONDS: u64 = 10;

/// One call that is to be made.
#[derive(Clone, Debug)]
pub struct WebhookCall {
    /// The webhook's name.
    pub webhook: String,
    /// Whom to call.
    pub destination: Destination,
    /// PEM bundle the server's certificate is checked with; empty for none.
    pub ca_bundle: Vec<u8>,
    /// How long it may take.
    pub timeout_seconds: u64,
    /// The AdmissionReview to send.
    pub review: Value,
}

impl WebhookCall {
    /// What makes a question the same as another.
    pub(super) fn question(&self) -> Value {
        json!({"webhook": self.webhook, "review": self.review})
    }
}

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An https URL.
    Url(String),
    /// A service of the cluster.
    Service {
        /// Namespace of the service.
        namespace: String,
        /// Name of the service.
        name: String,
        /// Port of the service.
        port: u16,
        /// Path of the URL, with its leading slash.
        path: String,
    },
}

impl Destination {
    /// Of a `clientConfig`.
    pub(in crate::server) fn read(client: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let service = &client["service"];
        if !service.is_object() {
            return Self::Url(text(&client["url"]));
        }
        let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        let path = text(&service["path"]);
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        Self::Service { namespace: text(&service["namespace"]), name: text(&service["name"]), port, path }
    }
}

/// All webhooks, in the order in which they are asked.
#[derive(Debug, Default)]
pub(in crate::server) struct Webhooks {
    pub(super) mutating: Vec<Webhook>,
    pub(super) validating: Vec<Webhook>,
}

/// One webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) mutates: bool,
    pub(super) reinvoked: bool,
    pub(super) ignores_failures: bool,
    pub(super) may_be_asked_in_a_dry_run: bool,
    destination: Destination,
    ca_bundle: Vec<u8>,
    timeout_seconds: u64,
    matching: Matching,
    conditions: Vec<Expression>,
}

impl Webhooks {
    /// What is set up now, by the names of the configurations.
    pub(in crate::server) fn read(storage: &Storage) -> Self {
        let of = |resource: &GroupResource, mutates: bool| {
            let all = storage.collection(resource).into_iter().flat_map(crate::storage::Collection::iter);
            let webhooks = all.flat_map(|configuration| {
                let value = configuration.value();
                value["webhooks"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|w| Webhook::read(w, mutates))
                    .collect::<Vec<_>>()
            });
            webhooks.collect()
        };
        Self { mutating: of(&MUTATING, true), validating: of(&VALIDATING, false) }
    }
}

impl Webhook {
    fn read(webhook: &Value, mutates: bool) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let client = &webhook["clientConfig"];
        let destination = Destination::read(client);
        let conditions = webhook["matchConditions"].as_array().into_iter().flatten();
        let conditions = conditions.map(|condition| Expression::compile(&text(&condition["expression"])));
        Self {
            name: text(&webhook["name"]),
            mutates,
            reinvoked: webhook["reinvocationPolicy"] == "IfNeeded",
            ignores_failures: webhook["failurePolicy"] == "Ignore",
            may_be_asked_in_a_dry_run: matches!(
                webhook["sideEffects"].as_str(),
                Some("None" | "NoneOnDryRun")
            ),
            destination,
            ca_bundle: client["caBundle"]
                .as_str()
                .and_then(|pem| BASE64.decode(pem).ok())
                .unwrap_or_default(),
            timeout_seconds: webhook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS),
            matching: Matching::read(&webhook["rules"], &Value::Null, webhook),
            conditions: conditions.collect(),
        }
    }

    /// The version of the resource this webhook is to see, if its rules mean the request.
    pub(super) fn matched(
        &self,
        registry: &Registry,
        call: &Call<'_>,
        operation: Operation,
    ) -> Option<Arc<Resource>> {
        self.matching.resource(registry, call, operation, call.request.name.as_deref().unwrap_or_default())
    }

    /// Whether the selectors mean the object.
    pub(super) fn selects(
        &self,
        storage: &Storage,
        call: &Call<'_>,
        value: Option<&Value>,
        old: Option<&Value>,
    ) -> bool {
        self.matching.selects(storage, call, value, old)
    }

    /// Whether all match conditions hold.
    ///
    /// # Errors
    /// 403 when one cannot be told and failures count.
    pub(super) fn conditions_hold(
        &self,
        call: &Call<'_>,
        request: &Value,
        schema: Option<&Schema>,
    ) -> Result<bool, Status> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let variables = vec![
            ("object", CelValue::new(&request["object"], schema)),
            ("oldObject", CelValue::new(&request["oldObject"], schema)),
            ("request", CelValue::new(request, None)),
        ];
        let mut errors = Vec::new();
        for condition in &self.conditions {
            match condition.holds(&variables) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    errors.push(format!("expression '{}' resulted in error: {why}", condition.text()));
                }
            }
        }
        if errors.is_empty() {
            return Ok(true);
        }
        if self.ignores_failures {
            return Ok(false);
        }
        let name = request["name"].as_str().unwrap_or_default();
        Err(call.forbidden(name, &super::super::aggregate(&errors)))
    }

    pub(super) fn call(&self, request: &Value, uid: &str) -> WebhookCall {
        let mut request = request.clone();
        request["uid"] = json!(uid);
        WebhookCall {
            webhook: self.name.clone(),
            destination: self.destination.clone(),
            ca_bundle: self.ca_bundle.clone(),
            timeout_seconds: self.timeout_seconds,
            review: json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}),
        }
    }
}
