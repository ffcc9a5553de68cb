//! Whether the Python operator still runs. Both at once would undo each other's work (compatibility contract §10.2, 1).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::plan::Target;
use crate::store::{Event, ObjectKey};

/// Name of the image and of the chart, which are the same for both operators.
const NAME: &str = "dask-kubernetes-operator";
/// Label of the chart's objects, unless its user has chosen another name.
pub(super) const LABEL: &str = "app.kubernetes.io/name=dask-kubernetes-operator";
/// The Python module of the controller.
const MODULE: &str = "dask_kubernetes.operator";
/// The file by which kopf runs plugins without the Python operator, be it in that one's image.
const PLUGINS: &str = "kopf_plugins.py";
/// So long after it wrote something kopf may still be there.
const RECENT: SignedDuration = SignedDuration::from_mins(2);

/// The Python operator's Deployments that want pods, in words.
pub fn deployments(all: &[DynamicObject]) -> Vec<String> {
    all.iter().filter(|deployment| is_python(&deployment.data)).map(said).collect()
}

/// Those that are known to want pods, so that each is told of once for each time it comes to want them.
#[derive(Debug, Default)]
pub struct Present(BTreeSet<ObjectKey>);

impl Present {
    /// What is to be said after an event of a Deployment.
    pub fn arrived(&mut self, event: Event) -> Option<String> {
        let (deployment, exists) = match event {
            Event::InitApply(deployment) | Event::Apply(deployment) => (deployment, true),
            Event::Delete(deployment) => (deployment, false),
            Event::Init | Event::InitDone => return None,
        };
        let key = ObjectKey::of(&deployment);
        if !exists || !is_python(&deployment.data) {
            self.0.remove(&key);
            return None;
        }
        self.0.insert(key).then(|| said(&deployment))
    }
}

/// It has the chart's image or runs its module; unlike this operator's, its chart asks no `/readyz`.
fn is_python(data: &Value) -> bool {
    let wanted = data["spec"]["replicas"].as_u64().unwrap_or(1);
    let containers = data.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    wanted > 0 && containers.into_iter().flatten().any(runs_python)
}

fn runs_python(container: &Value) -> bool {
    let words =
        ["command", "args"].into_iter().flat_map(|field| container[field].as_array().into_iter().flatten());
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    if words.iter().any(|word| word.ends_with(PLUGINS)) {
        return false;
    }
    let by_module = words.iter().any(|word| word.contains(MODULE));
    let image = container["image"].as_str().unwrap_or_default();
    let repository = image.rsplit('/').next().unwrap_or_default();
    let named = repository.split(['@', ':']).next() == Some(NAME);
    by_module || named && container.pointer("/readinessProbe/httpGet/path") != Some(&"/readyz".into())
}

fn said(deployment: &DynamicObject) -> String {
    let metadata = &deployment.metadata;
    let (namespace, name) =
        (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
    format!(
        "the Python operator runs as deployment {namespace}/{name}: stop it with \
         `kubectl scale deployment {name} --namespace {namespace} --replicas 0`"
    )
}

/// What kopf has written a moment ago, the latest of each kind of object: wherever it runs, it leaves its name.
pub fn traces(objects: &BTreeMap<Target, Value>, now: Timestamp) -> Vec<String> {
    let written = |(target, object): (&Target, &Value)| {
        let entries = object["metadata"]["managedFields"].as_array()?;
        let of_kopf = entries.iter().filter(|entry| entry["manager"] == "kopf");
        let latest: Timestamp = of_kopf.filter_map(|entry| entry["time"].as_str()?.parse().ok()).max()?;
        let ago = now.duration_since(latest);
        (ago < RECENT).then(|| (ago, target.to_string()))
    };
    let latest = objects.iter().filter_map(written).min();
    let said = |(ago, target): (SignedDuration, String)| {
        format!("kopf has written {target} {} s ago: the Python operator may still run", ago.as_secs().max(0))
    };
    latest.map(said).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(container: &Value, replicas: u32, expected: bool) {
        let spec = json!({"replicas": replicas, "template": {"spec": {"containers": [container]}}});
        assert_eq!(is_python(&json!({"spec": spec})), expected, "{spec}");
    }

    #[test]
    fn the_python_operator_is_told_from_this_one_and_from_others() {
        let image = "ghcr.io/dask/dask-kubernetes-operator:2026.3.0";
        check(&json!({"image": image}), 1, true);
        check(&json!({"image": image}), 0, false);
        let ours = json!({"image": image, "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}}});
        check(&ours, 1, false);
        let own_build = json!({"image": "registry/team/controller@sha256:0", "args": ["run", "-m", "dask_kubernetes.operator.controller"]});
        check(&own_build, 1, true);
        check(&json!({"image": "ghcr.io/dask/dask-kubernetes-operator-docs:1"}), 1, false);
        let plugins = json!({"image": image, "command": ["python", "-m", "kopf", "run"], "args": ["/kopf-plugins/kopf_plugins.py"]});
        check(&plugins, 1, false);
    }
}
