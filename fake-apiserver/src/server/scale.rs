//! The `scale` subresource: autoscaling/v1 Scale over the paths of the kind.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::call::Call;
use super::create::Fields;
use super::{ApiServer, body};
use crate::patch;
use crate::registry::{Resource, ScalePaths, SchemaSource, components};
use crate::request::{PatchType, Verb};
use crate::response::{Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::GroupResource;

/// What a Scale is.
static SCALE: LazyLock<Arc<Resource>> = LazyLock::new(|| {
    Arc::new(Resource {
        group: "autoscaling".into(),
        version: "v1".into(),
        plural: "scales".into(),
        kind: "Scale".into(),
        namespaced: true,
        storage: GroupResource::new("autoscaling", "scales"),
        storage_api_version: "autoscaling/v1".into(),
        schema: SchemaSource::BuiltIn {
            components: Arc::clone(components()),
            definition: "io.k8s.api.autoscaling.v1.Scale".into(),
            built: std::sync::OnceLock::new(),
        },
        ..Resource::default()
    })
});

/// A Scale of an object with the managers of its replicas, as webhooks are shown it.
pub(super) fn shown(resource: &Resource, value: &Value) -> Option<Value> {
    let paths = resource.scale.as_ref()?;
    let mut scale = scale_of(paths, value).ok()?;
    let managers = patch::managers_of_scale(value, &paths.spec_replicas);
    if !managers.is_null() {
        scale["metadata"]["managedFields"] = managers;
    }
    Some(scale)
}

impl ApiServer {
    pub(super) fn scale(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let paths = call.resource.scale.as_ref().ok_or_else(super::no_such_resource)?;
        let key = call.key()?;
        let old = self.storage.get(&call.resource.storage, &key).cloned();
        let old = old.ok_or_else(|| call.not_found(&key.name))?;
        let old_value = self.decoded(call, &old)?;
        let mut shown = scale_of(paths, &old_value)?;
        if call.request.verb == Verb::Get {
            return Ok(answer(shown));
        }
        let managers = patch::managers_of_scale(&old_value, &paths.spec_replicas);
        if !managers.is_null() {
            shown["metadata"]["managedFields"] = managers;
        }
        let mut wanted = match call.request.verb {
            Verb::Update | Verb::Patch(PatchType::Apply) => call.body()?.clone(),
            Verb::Patch(PatchType::Json) => patch::json(&shown, call.body()?)?,
            Verb::Patch(_) => patch::merge(&shown, call.body()?),
            _ => return Err(super::no_such_method()),
        };
        let as_scale = Call { now: call.now, request: call.request, resource: Arc::clone(&SCALE) };
        let warnings = body::decode(&self.registry, &as_scale, &mut wanted)?;
        check_name(call, &wanted, &key.name)?;
        check_version(call, &wanted, &shown)?;
        let mut new = old_value.clone();
        let applies = call.request.verb == Verb::Patch(PatchType::Apply);
        let replicas = if applies {
            let path = &paths.spec_replicas;
            let (managers, replicas) =
                patch::apply_scale(&old_value, &shown, path, &wanted, &call.applier())?;
            new["metadata"]["managedFields"] = json!(managers);
            replicas
        } else {
            wanted["spec"]["replicas"].clone()
        };
        let replicas = if replicas.is_null() { json!(0) } else { replicas };
        // Custom resources are judged by their own rules.
        if replicas.as_i64().is_some_and(|replicas| replicas < 0) && call.resource.custom.is_none() {
            let fault = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            let cause = Cause::new("FieldValueInvalid", "spec.replicas", fault);
            return Err(Status::invalid("autoscaling", "Scale", &key.name, vec![cause]));
        }
        set(&mut new, &paths.spec_replicas, replicas);
        let fields = if applies { Fields::Applied } else { Fields::Tracked };
        let mut response = self.update_value(call, &old, &old_value, new, warnings, fields)?;
        let written = match response.reply {
            Reply::Object(object) => object.value(),
            Reply::Value(value) => value,
            _ => return Err(Status::internal("the answer of a write is an object")),
        };
        response.reply = Reply::Value(scale_of(paths, &written)?);
        Ok(response)
    }
}

fn answer(scale: Value) -> Response {
    Response { code: 200, reply: Reply::Value(scale), warnings: Vec::new() }
}

fn check_name(call: &Call<'_>, wanted: &Value, name: &str) -> Result<(), Status> {
    match wanted["metadata"]["name"].as_str().unwrap_or_default() {
        said if said == name => Ok(()),
        "" if call.request.verb != Verb::Update => Ok(()),
        "" => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        said => Err(Status::bad_request(format!(
            "the name of the object ({said}) does not match the name on the URL ({name})"
        ))),
    }
}

fn check_version(call: &Call<'_>, wanted: &Value, shown: &Value) -> Result<(), Status> {
    let version = wanted["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let name = shown["metadata"]["name"].as_str().unwrap_or_default();
    if version.is_empty() || shown["metadata"]["resourceVersion"] == version {
        return Ok(());
    }
    Err(call.conflict(
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    ))
}

/// The Scale of an object.
fn scale_of(paths: &ScalePaths, value: &Value) -> Result<Value, Status> {
    let metadata = &value["metadata"];
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": metadata["name"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"]},
        "spec": {},
        "status": {"replicas": at(value, &paths.status_replicas).and_then(Value::as_i64).unwrap_or_default()},
    });
    if let Some(namespace) = metadata.get("namespace") {
        scale["metadata"]["namespace"] = namespace.clone();
    }
    match at(value, &paths.spec_replicas).and_then(Value::as_i64) {
        Some(0) => {}
        Some(replicas) => scale["spec"]["replicas"] = json!(replicas),
        None if at(value, &paths.spec_replicas).is_none_or(Value::is_null) => {}
        None => return Err(Status::internal("the spec replicas field is not an integer")),
    }
    match paths.selector.as_ref().and_then(|path| at(value, path)) {
        Some(Value::String(selector)) => scale["status"]["selector"] = json!(selector),
        Some(selector @ Value::Object(_)) => scale["status"]["selector"] = json!(selector_text(selector)),
        _ => {}
    }
    Ok(scale)
}

/// A label selector as text, in the form of `metav1.FormatLabelSelector`.
fn selector_text(selector: &Value) -> String {
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if structured { &selector["matchLabels"] } else { selector };
    let mut parts: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(",");
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.sort();
    parts.join(",")
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |at, part| at.get(part))
}

/// Sets the value at a dotted path, making the objects on the way.
fn set(value: &mut Value, path: &str, to: Value) {
    let mut here = value;
    for part in path.split('.') {
        if !here.is_object() {
            *here = json!({});
        }
        here = &mut here[part];
    }
    *here = to;
}
