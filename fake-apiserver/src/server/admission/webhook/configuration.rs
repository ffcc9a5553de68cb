//! The webhooks that are set up, and which requests they are for.
//!
//! Follows `k8s.io/apiserver/pkg/admission/plugin/webhook/{generic,predicates,matchconditions}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::Operation;
use crate::registry::{Registry, Resource};
use crate::schema::Condition;
use crate::server::NAMESPACES;
use crate::server::call::Call;
use crate::status::Status;
use crate::storage::{GroupResource, Key, LabelSelector, Storage};

const GROUP: &str = "admissionregistration.k8s.io";
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
    rules: Vec<Rule>,
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
    conditions: Vec<(String, Condition)>,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: String,
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
        let texts = |value: &Value| crate::server::tokens::texts(value);
        let client = &webhook["clientConfig"];
        let service = &client["service"];
        let destination = if service.is_object() {
            let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
            let path = text(&service["path"]);
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            Destination::Service {
                namespace: text(&service["namespace"]),
                name: text(&service["name"]),
                port,
                path,
            }
        } else {
            Destination::Url(text(&client["url"]))
        };
        let selector = |field: &str| LabelSelector::from_object(&webhook[field]).unwrap_or_default();
        let rules = webhook["rules"].as_array().into_iter().flatten().map(|rule| Rule {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            scope: rule["scope"].as_str().unwrap_or("*").into(),
        });
        let conditions = webhook["matchConditions"].as_array().into_iter().flatten();
        let conditions = conditions.map(|condition| {
            let expression = text(&condition["expression"]);
            (expression.clone(), Condition::compile(&expression))
        });
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
            rules: rules.collect(),
            equivalent: webhook["matchPolicy"] != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
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
        // The configurations themselves are never sent to webhooks.
        if call.resource.group == GROUP {
            return None;
        }
        let subresource = call.request.subresource.as_deref().unwrap_or_default();
        let means =
            |resource: &Resource| self.rules.iter().any(|rule| rule.means(resource, subresource, operation));
        if means(&call.resource) {
            return Some(Arc::clone(&call.resource));
        }
        let same = |other: &&Arc<Resource>| other.storage == call.resource.storage && means(other);
        if self.equivalent { registry.resources().find(same).cloned() } else { None }
    }

    /// Whether the selectors mean the object.
    pub(super) fn selects(
        &self,
        storage: &Storage,
        call: &Call<'_>,
        value: Option<&Value>,
        old: Option<&Value>,
    ) -> bool {
        if !self.namespaces.is_empty() {
            let labels = if call.resource.storage == NAMESPACES {
                value.or(old).map(labels)
            } else if call.resource.namespaced {
                storage.get(&NAMESPACES, &Key::new("", call.namespace())).map(|n| n.meta.labels.clone())
            } else {
                None
            };
            if labels.is_some_and(|labels| !self.namespaces.matches(&labels)) {
                return false;
            }
        }
        self.objects.is_empty()
            || [value, old].into_iter().flatten().any(|object| self.objects.matches(&labels(object)))
    }

    /// Whether all match conditions hold.
    ///
    /// # Errors
    /// 403 when one cannot be told and failures count.
    pub(super) fn conditions_hold(&self, call: &Call<'_>, request: &Value) -> Result<bool, Status> {
        let mut errors = Vec::new();
        for (text, condition) in &self.conditions {
            let variables =
                [("object", &request["object"]), ("oldObject", &request["oldObject"]), ("request", request)];
            match condition.holds(&variables) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => errors.push(format!("expression '{text}' resulted in error: {error}")),
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

impl Rule {
    fn means(&self, resource: &Resource, subresource: &str, operation: Operation) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|known| known == "*" || known == wanted);
        let scope = match self.scope.as_str() {
            "Namespaced" => resource.namespaced,
            "Cluster" => !resource.namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, operation.name())
            && has(&self.groups, &resource.group)
            && has(&self.versions, &resource.version)
            && self.resources.iter().any(|known| {
                let (of, sub) = known.split_once('/').unwrap_or((known, ""));
                (of == "*" || of == resource.plural)
                    && (sub == subresource || (sub == "*" && known.contains('/')))
            })
    }
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
