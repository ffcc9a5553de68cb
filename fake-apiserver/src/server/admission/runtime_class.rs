//! What a RuntimeClass adds to its pods: overhead and where they may run.
//!
//! Follows `plugin/pkg/admission/runtimeclass`.

use serde_json::{Map, Value};

use crate::server::call::Call;
use crate::server::{ApiServer, PODS};
use crate::status::Status;
use crate::storage::{GroupResource, Key};

const RUNTIME_CLASSES: GroupResource = GroupResource::new("node.k8s.io", "runtimeclasses");

impl ApiServer {
    pub(super) fn admit_runtime_class(&self, call: &Call<'_>, pod: &mut Value) -> Result<(), Status> {
        let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let rejected = |why: &str| call.forbidden(&pod_name, &format!("pod rejected: {why}"));
        let spec = &mut pod["spec"];
        let Some(name) = spec["runtimeClassName"].as_str().filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        let class = self.storage.get(&RUNTIME_CLASSES, &Key::new("", name));
        let class = class.ok_or_else(|| rejected(&format!("RuntimeClass {name:?} not found")))?.value();
        let own = spec["overhead"].as_object().is_some_and(|overhead| !overhead.is_empty());
        match class["overhead"]["podFixed"].as_object() {
            Some(fixed) if own && spec["overhead"].as_object() != Some(fixed) => {
                return Err(rejected("Pod's Overhead doesn't match RuntimeClass's defined Overhead"));
            }
            Some(fixed) => spec["overhead"] = Value::Object(fixed.clone()),
            None if own => {
                return Err(rejected("Pod Overhead set without corresponding RuntimeClass defined Overhead"));
            }
            None => {}
        }
        let scheduling = &class["scheduling"];
        if let Some(wanted) = scheduling["nodeSelector"].as_object().filter(|wanted| !wanted.is_empty()) {
            let mut selector: Map<String, Value> =
                spec["nodeSelector"].as_object().cloned().unwrap_or_default();
            for (label, value) in wanted {
                match selector.get(label) {
                    Some(said) if said != value => {
                        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                        let why = format!(
                            "conflict: runtimeClass.scheduling.nodeSelector[{label}] = {}; pod.spec.nodeSelector[{label}] = {}",
                            text(value),
                            text(said)
                        );
                        return Err(call.forbidden(&pod_name, &why));
                    }
                    _ => drop(selector.insert(label.clone(), value.clone())),
                }
            }
            spec["nodeSelector"] = Value::Object(selector);
        }
        if let Some(wanted) = scheduling["tolerations"].as_array().filter(|wanted| !wanted.is_empty()) {
            let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
            for toleration in wanted {
                if !tolerations.contains(toleration) {
                    tolerations.push(toleration.clone());
                }
            }
            spec["tolerations"] = Value::Array(tolerations);
        }
        Ok(())
    }

    /// 403 for an overhead that no class accounts for.
    pub(super) fn check_overhead(call: &Call<'_>, pod: &Value) -> Result<(), Status> {
        let spec = &pod["spec"];
        let named = spec["runtimeClassName"].as_str().is_some_and(|name| !name.is_empty());
        if call.resource.storage != PODS || named || spec["overhead"].as_object().is_none_or(Map::is_empty) {
            return Ok(());
        }
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        Err(call.forbidden(name, why))
    }
}
