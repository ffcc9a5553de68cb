//! Compares answers with what kube-apiserver 1.36.3 gave where webhooks were asked; tests/differences does so for everything
//! else.
//!
//! Uids, versions, times and addresses are left out on both sides.

use std::sync::LazyLock;

use fake_apiserver::request::{FieldValidation, PatchType, Request, User, Verb};
use fake_apiserver::response::{Reply, Response};
use fake_apiserver::status::Status;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One request and what the real server answered.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Step {
    verb: String,
    api_version: String,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
    patch: Option<String>,
    #[serde(default)]
    query: Map<String, Value>,
    body: Option<Value>,
    /// Who asks; the administrator if nobody is named.
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    warnings: Option<String>,
    code: u16,
    /// Null where only the code counts.
    answer: Value,
}

impl Step {
    /// The request that was recorded.
    pub(crate) fn request(&self) -> Request {
        let patch_type = match self.patch.as_deref() {
            Some("merge") => PatchType::Merge,
            Some("json") => PatchType::Json,
            Some("strategic") => PatchType::Strategic,
            _ => PatchType::Apply,
        };
        let verb = match self.verb.as_str() {
            "get" if self.name.is_none() => Verb::List,
            "list" => Verb::List,
            "watch" => Verb::Watch,
            "deletecollection" => Verb::DeleteCollection,
            "get" => Verb::Get,
            "create" => Verb::Create,
            "update" => Verb::Update,
            "delete" => Verb::Delete,
            _ => Verb::Patch(patch_type),
        };
        let mut request = Request::new(verb, &self.api_version, &self.resource);
        request.namespace.clone_from(&self.namespace);
        request.name.clone_from(&self.name);
        request.subresource.clone_from(&self.subresource);
        request.body.clone_from(&self.body);
        if let Some(user) = &self.user {
            request.user = impersonated(user, &self.groups);
        }
        request.user.agent = "recorder".into();
        let text =
            |key: &str| self.query.get(key).and_then(Value::as_str).map(|text| text.replace("%20", " "));
        request.params.field_manager = text("fieldManager");
        request.params.field_selector = text("fieldSelector");
        request.params.label_selector = text("labelSelector");
        request.params.resource_version = text("resourceVersion");
        request.params.resource_version_match = text("resourceVersionMatch");
        request.params.continue_token = text("continue");
        if text("fieldValidation").is_some() {
            request.params.field_validation = FieldValidation::Strict;
        }
        request.params.dry_run = text("dryRun").is_some();
        request.params.grace_period_seconds =
            text("gracePeriodSeconds").and_then(|seconds| seconds.parse().ok());
        request
    }
}

/// Whom the recorder was, with the groups such a user has.
fn impersonated(user: &str, groups: &[String]) -> User {
    let mut groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let own;
    if let Some((namespace, _)) = user.strip_prefix("system:serviceaccount:").and_then(|u| u.split_once(':'))
    {
        own = format!("system:serviceaccounts:{namespace}");
        groups.extend(["system:serviceaccounts", own.as_str()]);
    }
    if user == User::ANONYMOUS { User::anonymous() } else { User::new(user, &groups) }
}

/// Leaves out what no two servers agree on.
fn normal(value: &Value) -> Value {
    const OWN: [&str; 9] = [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "lastTransitionTime",
        "time",
        "clusterIP",
        "clusterIPs",
        "nodePort",
    ];
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, value)| {
                !OWN.contains(&key.as_str()) || **value == "None" || **value == json!(["None"])
            });
            let mut map: Map<String, Value> = kept.map(|(key, value)| (key.clone(), normal(value))).collect();
            // Some real validations run twice; their causes are listed twice.
            if let Some(Value::Array(causes)) = map.get_mut("causes") {
                causes.dedup();
            }
            for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
                if let Some(value) = map.get_mut(key) {
                    *value = json!("UID");
                }
            }
            Value::Object(map)
        }
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::String(text) => json!(in_order(&without_uids(text))),
        other => other.clone(),
    }
}

fn without_uids(text: &str) -> String {
    static PATTERNS: LazyLock<[Regex; 2]> = LazyLock::new(|| {
        ["[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "kube-api-access-[a-z0-9]{5}"]
            .map(|pattern| Regex::new(pattern).unwrap())
    });
    let text = PATTERNS[0].replace_all(text, "UID");
    PATTERNS[1].replace_all(&text, "kube-api-access-XXXXX").into_owned()
}

/// Go's maps have no order, and so have lists of faults that are made from them.
fn in_order(text: &str) -> String {
    match text.split_once(" is forbidden: [").and_then(|(head, list)| Some((head, list.strip_suffix(']')?))) {
        Some((head, list)) => {
            let mut faults: Vec<&str> = list.split(", ").collect();
            faults.sort_unstable();
            format!("{head} is forbidden: [{}]", faults.join(", "))
        }
        None => text.to_owned(),
    }
}

fn differences(path: &str, real: &Value, ours: &Value, found: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(real), Value::Object(ours)) => {
            for key in real.keys().chain(ours.keys().filter(|key| !real.contains_key(*key))) {
                let (real, ours) =
                    (real.get(key).unwrap_or(&Value::Null), ours.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path}.{key}"), real, ours, found);
            }
        }
        (Value::Array(real), Value::Array(ours)) if real.len() == ours.len() => {
            for (index, (real, ours)) in real.iter().zip(ours).enumerate() {
                differences(&format!("{path}[{index}]"), real, ours, found);
            }
        }
        _ if real == ours => {}
        _ => found.push(format!("{path}\n    real {real}\n    ours {ours}")),
    }
}

impl Step {
    /// What is different between the recorded answer and ours.
    pub(crate) fn compare(&self, answer: Result<Response, Status>) -> Vec<String> {
        let mut warnings = Vec::new();
        let (code, ours) = match answer {
            Ok(response) => {
                warnings = response.warnings;
                match response.reply {
                    Reply::Object(object) => (response.code, object.value()),
                    Reply::Value(value) => (response.code, value),
                    Reply::List(list) => (response.code, json!({"kind": list.kind})),
                    other => panic!("{other:?}"),
                }
            }
            Err(status) => (status.code, status.to_value()),
        };
        let mut found = Vec::new();
        differences("code", &json!(self.code), &json!(code), &mut found);
        if !self.answer.is_null() {
            found.extend(compare(&self.answer, &ours));
        }
        if let Some(real) = &self.warnings {
            let ours: Vec<String> = warnings.iter().map(|text| format!("299 - {text:?}")).collect();
            differences("warnings", &json!(real), &json!(ours.join("\n")), &mut found);
        }
        found
    }
}

/// What is different between two values, but for what no two servers agree on.
pub(crate) fn compare(real: &Value, ours: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differences("", &normal(real), &normal(ours), &mut found);
    found
}
