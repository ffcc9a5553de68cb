//! Conversion webhooks: custom resources that are kept in one version and served in another.
//!
//! A conversion is a fact about an object, not about a request: it is asked for once and remembered by what the object says, so
//! that reads, writes and watches of the same object need no other. As with admission webhooks the state machine never waits:
//! what it does not know comes out as data ([`ApiServer::needed_conversion`]), and the request is entered again. Whatever a
//! write needs is asked for before anything is changed.
//!
//! Follows `k8s.io/apiextensions-apiserver/pkg/apiserver/conversion`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::admission::{Destination, WebhookCall};
use super::call::Call;
use super::{ApiServer, convert, meta};
use crate::patch;
use crate::registry::Resource;
use crate::status::Status;
use crate::storage::Stored;

/// Conversions that are remembered; with more, all are asked for anew.
const MOST: usize = 50_000;
/// Seconds a conversion may take.
const TIMEOUT_SECONDS: u64 = 30;
/// The versions of a review, of which a definition names the one to use first.
const REVIEWS: [(&str, &str); 2] =
    [("v1", "apiextensions.k8s.io/v1"), ("v1beta1", "apiextensions.k8s.io/v1beta1")];

/// An object and the version that it is wanted in.
type Question = (String, String);

/// What is known, and what is missing.
#[derive(Debug, Default)]
pub(super) struct Conversions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<Question, Value>,
    needed: Vec<Needed>,
    asked: u64,
}

/// One object that is to be converted.
#[derive(Debug)]
struct Needed {
    resource: Arc<Resource>,
    wanted: String,
    object: Value,
}

/// The object as far as its conversion depends on it: the server restores all other metadata.
fn question(object: &Value, wanted: &str) -> Question {
    let mut asked = object.clone();
    let kept = ["name", "namespace", "labels", "annotations"];
    if let Some(metadata) = asked.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| kept.contains(&field.as_str()));
    }
    (wanted.to_owned(), asked.to_string())
}

impl ApiServer {
    /// An object as it is served under `resource`.
    pub(super) fn show(&self, resource: &Arc<Resource>, object: &Arc<Stored>) -> Result<Arc<Stored>, Status> {
        match self.show_if_known(resource, object) {
            Some(shown) => Ok(shown),
            None => Err(self.missing(resource, &api_version(&object.value()))),
        }
    }

    /// The same, or nothing where it must be converted first.
    pub(super) fn show_if_known(
        &self,
        resource: &Arc<Resource>,
        object: &Arc<Stored>,
    ) -> Option<Arc<Stored>> {
        if hook(resource).is_none() {
            return Some(convert::present(resource, object));
        }
        let value = object.value();
        if value["apiVersion"] == *resource.api_version() && resource.edition() == object.edition {
            return Some(Arc::clone(object));
        }
        let mut shown = self.converted(resource, value, &resource.api_version())?;
        convert::from_storage(resource, &mut shown);
        Some(Arc::new(Stored::from_value(&shown, &resource.selectable_fields, resource.edition())))
    }

    /// A stored object in the version of the request, which its rules are asked in.
    pub(super) fn decoded(&self, call: &Call<'_>, object: &Arc<Stored>) -> Result<Value, Status> {
        let resource = &call.resource;
        if hook(resource).is_none() {
            return Ok(object.value());
        }
        let mut value = self.show(resource, object)?.value();
        value["apiVersion"] = json!(resource.storage_api_version);
        Ok(value)
    }

    /// What a request has made, as it is stored; everything that the answer needs is known then.
    pub(super) fn encoded(&self, call: &Call<'_>, mut value: Value) -> Result<Value, Status> {
        let resource = &call.resource;
        if hook(resource).is_none() || resource.api_version() == resource.storage_api_version {
            return Ok(value);
        }
        value["apiVersion"] = json!(resource.api_version());
        let mut stored = self.in_version(resource, value, &resource.storage_api_version)?;
        self.complete_as_stored(resource, &mut stored);
        self.in_version(resource, stored.clone(), &resource.api_version())?;
        Ok(stored)
    }

    /// What a dry run answers: an object that was stored and read back.
    pub(super) fn as_if_stored(&self, call: &Call<'_>, mut value: Value) -> Result<Value, Status> {
        let resource = &call.resource;
        if hook(resource).is_some() {
            let stored = self.encoded(call, value)?;
            value = self.in_version(resource, stored, &resource.api_version())?;
        }
        convert::from_storage(resource, &mut value);
        Ok(value)
    }

    /// Who owns fields of another version loses those that change there; an apply is refused for them instead, unless it is forced.
    pub(super) fn mind_other_versions(
        &self,
        call: &Call<'_>,
        old: &Value,
        new: &mut Value,
        applies: bool,
    ) -> Result<(), Status> {
        let resource = &call.resource;
        if hook(resource).is_none() {
            return Ok(());
        }
        let own = resource.api_version();
        let said = |value: &Value| {
            let mut value = value.clone();
            value["apiVersion"] = json!(own);
            value
        };
        let (old, changed) = (said(old), said(new));
        let entries = new["metadata"]["managedFields"].as_array().into_iter().flatten();
        let versions: BTreeSet<String> = entries
            .filter_map(|entry| entry["apiVersion"].as_str())
            .filter(|version| *version != own)
            .map(str::to_owned)
            .collect();
        for version in versions {
            let name = version.rsplit('/').next().unwrap_or_default();
            let Some(other) = self.registry.get(&resource.group, name, &resource.plural) else { continue };
            let schema = other.schema().map(AsRef::as_ref);
            let before = self.in_version(other, old.clone(), &version)?;
            let after = self.in_version(other, changed.clone(), &version)?;
            if applies && !call.request.params.force {
                let conflict = patch::conflict(schema, &before, &after, &version, new);
                conflict.map_or(Ok(()), Err)?;
            }
            patch::lose(schema, &before, &after, &version, new);
        }
        Ok(())
    }

    /// Has everything asked for that showing these objects needs.
    pub(super) fn prepare(&self, resource: &Arc<Resource>, objects: &[Arc<Stored>]) -> Result<(), Status> {
        if hook(resource).is_none() {
            return Ok(());
        }
        let shown: Vec<_> = objects.iter().map(|object| self.show(resource, object)).collect();
        shown.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    /// An object in another version, or the way out of the request.
    fn in_version(&self, resource: &Arc<Resource>, object: Value, wanted: &str) -> Result<Value, Status> {
        let version = api_version(&object);
        self.converted(resource, object, wanted).ok_or_else(|| self.missing(resource, &version))
    }

    /// An object in another version, if that is known; what is not is noted.
    fn converted(&self, resource: &Arc<Resource>, object: Value, wanted: &str) -> Option<Value> {
        if object["apiVersion"] == wanted {
            return Some(object);
        }
        let asked = question(&object, wanted);
        let mut state = self.conversions.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut known) = state.known.get(&asked).cloned() else {
            state.needed.push(Needed { resource: Arc::clone(resource), wanted: wanted.to_owned(), object });
            return None;
        };
        restore(&object, &mut known);
        Some(known)
    }

    /// The way out of a request to whoever can ask, or why it ends here.
    fn missing(&self, resource: &Resource, version: &str) -> Status {
        if let Some(way_out) = self.calls.way_out() {
            return way_out;
        }
        self.conversions.state.lock().unwrap_or_else(PoisonError::into_inner).needed.clear();
        failed(version, &resource.kind, "failed: this request is handled where nothing can be called")
    }

    /// The next call of a conversion webhook that requests or watches wait for.
    pub fn needed_conversion(&mut self) -> Option<WebhookCall> {
        let state = self.conversions.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let needed = std::mem::take(&mut state.needed);
        let first = needed.first()?;
        let (resource, wanted) = (Arc::clone(&first.resource), first.wanted.clone());
        state.asked += 1;
        let uid = meta::uid((1 << 45) + state.asked);
        let same = needed
            .into_iter()
            .filter(|other| other.wanted == wanted && other.resource.storage == resource.storage);
        let objects = same.map(|needed| {
            let mut object = needed.object;
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                // What is stored says nothing of its version.
                metadata.remove("resourceVersion");
            }
            object
        });
        let request =
            json!({"uid": uid, "desiredAPIVersion": wanted, "objects": objects.collect::<Vec<_>>()});
        let webhook = hook(&resource)?;
        let client = &webhook["clientConfig"];
        let versions = webhook["conversionReviewVersions"].as_array().into_iter().flatten();
        let api_version = versions
            .filter_map(|version| REVIEWS.iter().find(|(known, _)| version == known))
            .map(|(_, api_version)| *api_version)
            .next()?;
        Some(WebhookCall {
            webhook: format!("conversion_webhook_for_{}", resource.custom.as_ref()?.definition),
            destination: Destination::read(client),
            ca_bundle: client["caBundle"]
                .as_str()
                .and_then(|pem| BASE64.decode(pem).ok())
                .unwrap_or_default(),
            timeout_seconds: TIMEOUT_SECONDS,
            review: json!({"kind": "ConversionReview", "apiVersion": api_version, "request": request,
                "response": {"uid": "", "convertedObjects": null, "result": {"metadata": {}}}}),
        })
    }

    /// Takes the answer to such a call in.
    ///
    /// # Errors
    /// 500 with the real server's words when there is no answer, or not what was asked for.
    pub fn take_conversion(
        &mut self,
        call: &WebhookCall,
        answer: Result<Value, String>,
    ) -> Result<(), Status> {
        let request = &call.review["request"];
        let objects = request["objects"].as_array().map_or(&[][..], Vec::as_slice);
        let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
        let first = objects.first().unwrap_or(&Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let refuse = |why: &str| failed(&text(&first["apiVersion"]), &text(&first["kind"]), why);
        let answer = answer.map_err(|why| {
            let why = why.strip_prefix("failed to call webhook: ").unwrap_or(&why);
            refuse(&format!("failed: {why}"))
        })?;
        let converted = of_answer(&answer, &call.review).map_err(|why| refuse(&format!("failed: {why}")))?;
        if converted.len() != objects.len() {
            let why = format!("returned {} objects, expected {}", converted.len(), objects.len());
            return Err(refuse(&why));
        }
        let state = self.conversions.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.known.len() + objects.len() > MOST {
            state.known.clear();
        }
        for (object, converted) in objects.iter().zip(converted) {
            check(object, &converted, wanted).map_err(|why| refuse(&why))?;
            state.known.insert(question(object, wanted), converted);
        }
        Ok(())
    }

    /// Forgets all: the definition says something else now.
    pub(super) fn forget_conversions(&mut self) {
        self.conversions = Conversions::default();
    }
}

/// The webhook that converts objects of this resource.
fn hook(resource: &Resource) -> Option<&Arc<Value>> {
    resource.custom.as_ref()?.conversion.as_ref()
}

fn api_version(object: &Value) -> String {
    object["apiVersion"].as_str().unwrap_or_default().to_owned()
}

fn failed(api_version: &str, kind: &str, why: &str) -> Status {
    Status::new(500, "", format!("conversion webhook for {api_version}, Kind={kind} {why}"))
}

/// The objects of an answer that says it has succeeded.
fn of_answer(answer: &Value, review: &Value) -> Result<Vec<Value>, String> {
    let said = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    // Of the older version neither this nor the uid is looked at.
    let strict = review["apiVersion"] == REVIEWS[0].1;
    if strict && (answer["kind"] != review["kind"] || answer["apiVersion"] != review["apiVersion"]) {
        return Err(format!(
            "expected webhook response of {}, Kind=ConversionReview, got {}, Kind={}",
            REVIEWS[0].1,
            said("apiVersion"),
            said("kind")
        ));
    }
    let (response, uid) = (&answer["response"], &review["request"]["uid"]);
    if response.is_null() {
        return Err("no response provided".into());
    }
    if strict && response["uid"] != *uid {
        let got = response["uid"].as_str().unwrap_or_default();
        return Err(format!("expected response.uid={uid}, got {got:?}"));
    }
    let status = response["result"]["status"].as_str().unwrap_or_default();
    if status != "Success" {
        return Err(match response["result"]["message"].as_str().filter(|message| !message.is_empty()) {
            Some(message) => message.to_owned(),
            None => format!("response.result.status was '{status}', not 'Success'"),
        });
    }
    Ok(response["convertedObjects"].as_array().cloned().unwrap_or_default())
}

/// Whether the answer is the same object in the version that was asked for.
fn check(object: &Value, converted: &Value, wanted: &str) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let got = text(&converted["apiVersion"]);
    if got != wanted {
        return Err(format!(
            "returned invalid object at index 0: invalid groupVersion (expected {wanted}, received {got})"
        ));
    }
    let (expected, got) = (text(&object["kind"]), text(&converted["kind"]));
    if expected != got {
        return Err(format!(
            "returned invalid object at index 0: invalid kind (expected {expected}, received {got})"
        ));
    }
    for (field, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (expected, got) = (text(&object["metadata"][field]), text(&converted["metadata"][field]));
        if expected != got {
            return Err(format!("returned invalid object: must have the same {name}: {expected} != {got}"));
        }
    }
    if !converted["metadata"].is_object() {
        return Err("returned invalid metadata: missing metadata in converted object".into());
    }
    for field in ["labels", "annotations"] {
        let entries = &converted["metadata"][field];
        if !entries.is_null() && !entries.as_object().is_some_and(|all| all.values().all(Value::is_string)) {
            return Err(format!(
                "returned invalid metadata: metadata.{field} must be a map of strings in converted object"
            ));
        }
    }
    Ok(())
}

/// Only labels and annotations are the webhook's to change.
fn restore(object: &Value, converted: &mut Value) {
    let mut metadata = object["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        metadata.remove(field);
        let entries = converted["metadata"].get_mut(field).map(Value::take);
        if let Some(entries) =
            entries.filter(|entries| entries.as_object().is_some_and(|all| !all.is_empty()))
        {
            metadata.insert(field.into(), entries);
        }
    }
    converted["metadata"] = Value::Object(metadata);
}
