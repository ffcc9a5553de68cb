//! Subresources of pods: binding and log.

use std::fmt::Write;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::call::Call;
use super::create::Fields;
use super::{ApiServer, meta};
use crate::controllers::LogLine;
use crate::face::LogOptions;
use crate::response::{Reply, Response};
use crate::status::Status;

/// Annotation whose text is the log of a simulated pod.
pub const LOG_ANNOTATION: &str = "fake-apiserver/log";

impl ApiServer {
    /// `pods/binding`: puts a pod on a node.
    pub(super) fn bind(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let binding = call.body()?.clone();
        let name = binding["metadata"]["name"].as_str().unwrap_or_default();
        let key = if call.resource.plural == "bindings" {
            crate::storage::Key::new(call.namespace(), name)
        } else {
            call.key()?
        };
        if key.name != name {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        let pods = self.registry.get("", "v1", "pods").cloned().ok_or_else(super::no_such_resource)?;
        let call = Call { now: call.now, request: call.request, resource: pods };
        // The real server passes on what its validation says, and nothing else.
        let kind = binding["target"]["kind"].as_str().unwrap_or_default();
        if !matches!(kind, "" | "Node") {
            let said =
                format!("target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\"");
            return Err(Status::new(500, "", said));
        }
        let node = binding["target"]["name"].as_str().unwrap_or_default();
        if node.is_empty() {
            return Err(Status::new(500, "", "target.name: Required value"));
        }
        let old = self.storage.get(&super::PODS, &key).cloned().ok_or_else(|| call.not_found(&key.name))?;
        let mut value = old.value();
        if old.meta.deleting {
            return Err(call.conflict(
                &key.name,
                &format!("pod {} is being deleted, cannot be assigned to a host", key.name),
            ));
        }
        if let Some(taken) = value["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
            return Err(
                call.conflict(&key.name, &format!("pod {} is already assigned to node {taken:?}", key.name))
            );
        }
        value["spec"]["nodeName"] = json!(node);
        for (name, text) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
            value["metadata"]["annotations"][name] = text.clone();
        }
        let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": meta::time(call.now)});
        let mut conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(scheduled);
        value["status"]["conditions"] = json!(conditions);
        if !call.request.params.dry_run {
            self.put(&call, value);
        }
        Ok(success(201))
    }

    /// `pods/log` of a pod without a real node: the text of its annotation, or what the simulation knows.
    pub(super) fn log(&self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        let pod = self.storage.get(&super::PODS, &key).ok_or_else(|| call.not_found(&key.name))?.value();
        let container = self.log_container(&pod, call.request.params.container.as_deref())?;
        let status = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        let status = status.chain(pod["status"]["initContainerStatuses"].as_array().into_iter().flatten());
        let status =
            status.chain(pod["status"]["ephemeralContainerStatuses"].as_array().into_iter().flatten());
        let status = status.clone().find(|status| status["name"] == container).cloned().unwrap_or_default();
        let state = &status["state"];
        let options = &call.request.params.log;
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let kept = |previous: bool| self.built_in.as_ref().and_then(|b| b.log(uid, &container, previous));
        // Where there is no node, there is nobody to ask.
        let silent = !pod["metadata"]["annotations"][LOG_ANNOTATION].is_string();
        if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() && silent {
            return Ok(Response { code: 204, reply: Reply::Text(Bytes::new()), warnings: Vec::new() });
        }
        if options.previous && kept(true).is_none() {
            let message =
                format!("previous terminated container {container:?} in pod {:?} not found", key.name);
            return Err(Status::bad_request(message));
        }
        let begun = state["running"].is_object() || state["terminated"].is_object() || kept(false).is_some();
        if !begun {
            let reason = state["waiting"]["reason"].as_str().unwrap_or("ContainerCreating");
            return Err(Status::bad_request(format!(
                "container {container:?} in pod {:?} is waiting to start: {reason}",
                key.name
            )));
        }
        let mut lines = kept(options.previous).unwrap_or_default();
        if let Some(text) = pod["metadata"]["annotations"][LOG_ANNOTATION].as_str() {
            let at = lines.first().map_or(call.now, |line| line.at);
            lines = text.lines().map(|text| LogLine { at, text: text.into() }).collect();
        }
        Ok(Response { code: 200, reply: Reply::Text(render(lines, options, call.now)), warnings: Vec::new() })
    }

    /// The container whose log is meant.
    ///
    /// # Errors
    /// 400 when there are several and none is named, or when there is none of that name.
    pub fn log_container(&self, pod: &Value, asked: Option<&str>) -> Result<String, Status> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let names = |field: &str| -> Vec<String> {
            let containers = pod["spec"][field].as_array().into_iter().flatten();
            containers.filter_map(|c| c["name"].as_str()).map(str::to_owned).collect()
        };
        let (containers, init) = (names("containers"), names("initContainers"));
        let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
        match asked.filter(|name| !name.is_empty()).or(default) {
            Some(asked)
                if containers
                    .iter()
                    .chain(&init)
                    .chain(&names("ephemeralContainers"))
                    .any(|c| c == asked) =>
            {
                Ok(asked.to_owned())
            }
            Some(asked) => Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))),
            None if containers.len() == 1 => Ok(containers[0].clone()),
            None => {
                let mut said = format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    containers.join(" ")
                );
                if !init.is_empty() {
                    let _ = write!(said, " or one of the init containers: [{}]", init.join(" "));
                }
                Err(Status::bad_request(said))
            }
        }
    }

    /// `namespaces/finalize`: sets `spec.finalizers`; a namespace that waits for none goes.
    pub(super) fn finalize(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        let old =
            self.storage.get(&super::NAMESPACES, &key).cloned().ok_or_else(|| call.not_found(&key.name))?;
        let old_value = old.value();
        let mut new = call.body()?.clone();
        let warnings = super::body::decode(&self.registry, call, &mut new)?;
        // The status is another endpoint's.
        new["status"] = old_value["status"].clone();
        if new["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            new["spec"] = json!({});
        }
        self.update_value(call, &old, &old_value, new, warnings, Fields::Tracked)
    }
}

/// The lines that were asked for, as text.
fn render(mut lines: Vec<LogLine>, options: &LogOptions, now: Timestamp) -> Bytes {
    let since = options.since_seconds.and_then(|s| now.checked_sub(SignedDuration::from_secs(s)).ok());
    let since = options.since_time.as_deref().and_then(|time| time.parse().ok()).or(since);
    if let Some(since) = since {
        lines.retain(|line| line.at >= since);
    }
    let first = options.tail_lines.map_or(0, |tail| lines.len().saturating_sub(tail));
    let mut text = String::new();
    for line in &lines[first..] {
        if options.timestamps {
            let _ = write!(text, "{:.9} ", line.at);
        }
        let _ = writeln!(text, "{}", line.text);
    }
    if let Some(limit) = options.limit_bytes {
        let end = (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
    }
    Bytes::from(text)
}

fn success(code: u16) -> Response {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code});
    Response { code, reply: Reply::Value(status), warnings: Vec::new() }
}
