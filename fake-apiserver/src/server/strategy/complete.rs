//! What Go's encoder writes although nobody said it: fields without `omitempty` in their zero value.
//!
//! They belong to no field manager, so they are filled in after ownership has been recorded.

use serde_json::{Value, json};

use super::defaults::items;

/// Completes an object of a built-in kind.
pub(super) fn object(kind: (&str, &str), value: &mut Value) {
    match kind {
        ("", "pods") => {
            if let Some(status) = value.get_mut("status") {
                for condition in items(status, "conditions") {
                    set(condition, "lastProbeTime", Value::Null);
                    set(condition, "lastTransitionTime", Value::Null);
                }
                for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
                    for container in items(status, list) {
                        for state in ["state", "lastState"] {
                            set(container, state, json!({}));
                        }
                        for text in ["name", "image", "imageID"] {
                            set(container, text, json!(""));
                        }
                        set(container, "ready", json!(false));
                        set(container, "restartCount", json!(0));
                    }
                }
            }
        }
        ("", "nodes") => node(value),
        ("autoscaling", _) => {
            if let Some(status) = value.get_mut("status") {
                set(status, "desiredReplicas", json!(0));
                set(status, "currentMetrics", Value::Null);
                for condition in items(status, "conditions") {
                    set(condition, "lastTransitionTime", Value::Null);
                }
            }
        }
        ("", "events") => {
            set(value, "reportingComponent", json!(""));
            set(value, "reportingInstance", json!(""));
            set(value, "source", json!({}));
        }
        ("discovery.k8s.io", "endpointslices") => {
            if value["endpoints"] == json!([]) {
                value["endpoints"] = Value::Null;
            }
            for endpoint in items(value, "endpoints") {
                set(endpoint, "conditions", json!({}));
            }
        }
        ("batch", "cronjobs") => {
            if let Some(template) = value.pointer_mut("/spec/jobTemplate") {
                set(template, "metadata", json!({}));
                template
                    .pointer_mut("/spec/template")
                    .into_iter()
                    .for_each(|t| set(t, "metadata", json!({})));
            }
        }
        ("", "limitranges") => value.get_mut("spec").into_iter().for_each(|s| set(s, "limits", Value::Null)),
        ("storage.k8s.io", "csinodes") => {
            value.get_mut("spec").into_iter().for_each(|spec| set(spec, "drivers", Value::Null));
        }
        ("scheduling.k8s.io", "priorityclasses") => set(value, "value", json!(0)),
        ("resource.k8s.io", "resourceclaims") => {
            if let Some(spec) = value.get_mut("spec") {
                set(spec, "devices", json!({}));
                set(&mut spec["devices"], "requests", Value::Null);
            }
        }
        ("apps", "statefulsets") => {
            conditions(value, &["lastTransitionTime"]);
            if let Some(spec) = value.get_mut("spec") {
                set(spec, "serviceName", json!(""));
                spec.get_mut("template").into_iter().for_each(|t| set(t, "metadata", json!({})));
            }
        }
        ("batch", "jobs") | ("apps", _) | ("", "replicationcontrollers") => {
            let times: &[&str] = match kind.1 {
                "deployments" => &["lastUpdateTime", "lastTransitionTime"],
                "jobs" => &["lastProbeTime", "lastTransitionTime"],
                _ => &["lastTransitionTime"],
            };
            conditions(value, times);
            value.pointer_mut("/spec/template").into_iter().for_each(|t| set(t, "metadata", json!({})));
        }
        _ => {}
    }
}

/// Times of conditions that nobody said.
fn conditions(value: &mut Value, times: &[&str]) {
    let Some(status) = value.get_mut("status") else { return };
    for condition in items(status, "conditions") {
        for time in times {
            set(condition, time, Value::Null);
        }
    }
}

fn node(node: &mut Value) {
    let Some(status) = node.get_mut("status").filter(|status| status.is_object()) else { return };
    set(status, "daemonEndpoints", json!({}));
    set(&mut status["daemonEndpoints"], "kubeletEndpoint", json!({}));
    set(&mut status["daemonEndpoints"]["kubeletEndpoint"], "Port", json!(0));
    set(status, "nodeInfo", json!({}));
    for field in [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ] {
        set(&mut status["nodeInfo"], field, json!(""));
    }
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.entry(field).or_insert(value);
    }
}
