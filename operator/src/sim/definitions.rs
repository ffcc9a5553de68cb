//! Definitions of our four kinds as a simulated cluster may have them: ours, or reduced to what the Python operator's store.
//!
//! Whoever installed the Python operator's chart has its definitions until somebody replaces them, because Helm never does.
//! They may also come back under a running operator: going back to the Python operator begins with them.

use fake_apiserver::request::{PatchType, Request, Verb};
use serde_json::{Value, json};

use super::request;
use crate::api::crds::crds;

/// API version of definitions.
pub const API_VERSION: &str = "apiextensions.k8s.io/v1";
/// Their resource.
pub const PLURAL: &str = "customresourcedefinitions";

/// Requests that replace all four definitions by ours.
pub fn ours() -> Vec<Request> {
    crds().iter().map(replace).collect()
}

/// Requests that replace all four definitions by such as the Python operator's chart installs, as far as it makes a difference
/// to us: a status endpoint on DaskJob only, and of the status only the fields that its clients read.
pub fn todays() -> Vec<Request> {
    crds().iter().map(|definition| replace(&reduced(definition.clone()))).collect()
}

/// Requests that replace all four definitions by such as an earlier version of ours might have had: without counts of what is
/// ready.
pub fn older() -> Vec<Request> {
    crds().iter().map(|definition| replace(&without(definition.clone(), "readyWorkers"))).collect()
}

fn without(mut definition: Value, field: &str) -> Value {
    for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"];
        if let Some(properties) = status["properties"].as_object_mut() {
            properties.remove(field);
        }
    }
    definition
}

fn reduced(mut definition: Value) -> Value {
    let kept: &[&str] = match definition["spec"]["names"]["kind"].as_str() {
        Some("DaskCluster") => &["phase"],
        Some("DaskJob") => &["jobStatus", "clusterName", "jobRunnerPodName", "startTime", "endTime"],
        _ => &[],
    };
    let is_job = definition["spec"]["names"]["kind"] == "DaskJob";
    for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten() {
        if !is_job && let Some(subresources) = version["subresources"].as_object_mut() {
            subresources.remove("status");
        }
        if let Some(status) =
            version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"].as_object_mut()
        {
            status.retain(|field, _| kept.contains(&field.as_str()));
        }
    }
    definition
}

fn replace(definition: &Value) -> Request {
    // JSON patch: a merge patch would keep the fields that are to go.
    let body = json!([{"op": "replace", "path": "/spec/versions", "value": definition["spec"]["versions"]}]);
    Request {
        verb: Verb::Patch(PatchType::Json),
        name: definition["metadata"]["name"].as_str().map(Into::into),
        body: Some(body),
        ..request(API_VERSION, PLURAL, None)
    }
}
