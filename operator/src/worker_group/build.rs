//! The workers of a group as they should be (compatibility contract §2.2 and §3): one builder for both carriers.

use serde_json::{Value, json};

use super::validate::Valid;
use super::worker::Worker;
use crate::metadata::{self, Map};
use crate::observe::{ChildKind, Resource};
use crate::plugin::{Built, Role, Shape};
use crate::settings::{Carrier, Settings};
use crate::{hash, names, podspec};

/// What every worker of a group is made from.
#[derive(Clone, Debug)]
pub struct Desired {
    /// What carries a worker.
    pub carrier: ChildKind,
    /// Hash of the template: a worker that carries another one was made from an earlier template.
    pub hash: String,
    namespace: String,
    owner: Value,
    labels: Map,
    annotations: Map,
    spec: crate::api::RawPodSpec,
    address: String,
    /// The worker of the name [`Self::placeholder`] as plugins want it, if they want it otherwise.
    edited: Option<Value>,
    placeholder: String,
    /// Plugins leave it open how workers should be: none is outdated.
    unsure: bool,
}

/// Builds the template; cannot fail. The cluster's own labels fill gaps.
pub fn build(resource: &Resource, cluster: &Resource, valid: &Valid, settings: &Settings) -> Desired {
    let worker = &valid.spec.worker;
    let mut fixed = metadata::map([
        (names::CLUSTER_NAME, cluster.name()),
        (names::GROUP_NAME, resource.name()),
        (names::COMPONENT, "worker"),
    ]);
    if settings.istio_label {
        fixed.insert(names::ISTIO_INJECT.into(), "false".into());
    }
    let labels = metadata::layers([
        &metadata::inherited_labels(&cluster.labels),
        &metadata::inherited_labels(&resource.labels),
        &worker.metadata.labels,
        &fixed,
    ]);
    let annotations = metadata::layers([
        &metadata::inherited_annotations(&resource.annotations),
        &worker.metadata.annotations,
    ]);
    let tls = settings.tls_secret(&cluster.annotations).is_some();
    let address = names::scheduler_address(cluster.name(), resource.namespace(), &settings.domain, tls);
    // Of metadata only what the group itself says: a label edited on the cluster does not make workers outdated.
    let hash = hash::of(&json!([worker.metadata, worker.spec, address]));
    Desired {
        carrier: match settings.carrier {
            Carrier::Pod => ChildKind::Pod,
            Carrier::Deployment => ChildKind::Deployment,
        },
        hash,
        namespace: resource.namespace().into(),
        owner: resource.owner_reference(),
        labels,
        annotations,
        spec: worker.spec.clone(),
        address,
        edited: None,
        placeholder: format!("{}-worker-xxxxxxxxxx", resource.name()),
        unsure: false,
    }
}

impl Desired {
    /// The worker as plugins are shown it: one that stands for all.
    pub fn children(&self) -> Vec<Built> {
        vec![Built { role: Role::Worker, object: self.worker(&self.placeholder, 0) }]
    }

    /// The workers as plugins want them.
    #[must_use]
    pub fn shaped(mut self, shape: &Shape) -> Self {
        self.hash = shape.hash(Role::Worker, self.hash);
        self.edited = shape.edited(Role::Worker).cloned();
        self.unsure = shape.unsure;
        self
    }

    /// The worker of that name. `failures`: how many predecessors in a row failed.
    pub fn worker(&self, name: &str, failures: u32) -> Value {
        let mut worker = match &self.edited {
            Some(edited) => renamed(edited, &self.placeholder, name),
            None => self.built(name),
        };
        let annotations = &mut worker["metadata"]["annotations"];
        annotations[names::HASH] = json!(self.hash);
        if failures > 0 {
            annotations[names::FAILURES] = json!(failures.to_string());
        }
        worker
    }

    fn built(&self, name: &str) -> Value {
        let environment = [("DASK_WORKER_NAME", name), ("DASK_SCHEDULER_ADDRESS", self.address.as_str())];
        let spec = podspec::with_environment(&self.spec, &environment);
        match self.carrier {
            ChildKind::Deployment => self.deployment(name, spec),
            _ => json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": self.metadata(name, &self.labels),
                "spec": spec,
            }),
        }
    }

    /// Whether a worker was made from another template, or is carried by another kind of object than the present one.
    pub fn is_outdated(&self, worker: &Worker) -> bool {
        let same = worker.carrier.id.kind == self.carrier
            && worker.carrier.hash.as_deref() == Some(self.hash.as_str());
        !worker.expected() && !same && !self.unsure
    }

    /// Whether plugins leave it open which workers are outdated.
    pub fn unsure(&self) -> bool {
        self.unsure
    }

    fn deployment(&self, name: &str, mut spec: Value) -> Value {
        // A Deployment takes no other policy; the Pod carrier takes the user's as given.
        spec["restartPolicy"] = "Always".into();
        let selector = metadata::map([(names::WORKER_NAME, name)]);
        let labels = metadata::layers([&self.labels, &selector]);
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self.metadata(name, &labels),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": labels, "annotations": self.annotations}, "spec": spec},
            },
        })
    }

    fn metadata(&self, name: &str, labels: &Map) -> Value {
        json!({
            "name": name,
            "namespace": self.namespace,
            "labels": labels,
            "annotations": self.annotations,
            "ownerReferences": [self.owner],
        })
    }
}

/// The same value with another name wherever this one stands.
fn renamed(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(from, to)),
        Value::Array(items) => items.iter().map(|item| renamed(item, from, to)).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), renamed(value, from, to))).collect())
        }
        other => other.clone(),
    }
}
