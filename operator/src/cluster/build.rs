//! The children of a DaskCluster as they should be: scheduler Deployment, scheduler Service, default worker group.
//!
//! Names, labels, annotations and shapes are those of compatibility contract §2.1 and §3.

use serde_json::{Value, json};

use super::validate::Valid;
use crate::metadata::{self, Map};
use crate::observe::Resource;
use crate::plugin::{Built, Role, Shape};
use crate::settings::Settings;
use crate::{api, hash, names};

/// The wanted children.
#[derive(Clone, Debug)]
pub struct Desired {
    /// apps/v1 Deployment.
    pub deployment: Value,
    /// v1 Service.
    pub service: Value,
    /// DaskWorkerGroup.
    pub group: Value,
    /// Hash of what the scheduler's pod is made from.
    pub scheduler_hash: String,
    /// Hash of what its Service is made from.
    pub service_hash: String,
    /// The default group's template: all of `spec.worker` but the number.
    pub template: Value,
    /// Its hash.
    pub template_hash: String,
}

impl Desired {
    /// The children as plugins are shown them.
    pub fn children(&self) -> Vec<Built> {
        let child = |role, object: &Value| Built { role, object: object.clone() };
        vec![
            child(Role::Scheduler, &self.deployment),
            child(Role::Service, &self.service),
            child(Role::WorkerGroup, &self.group),
        ]
    }

    /// The children as plugins want them.
    #[must_use]
    pub fn shaped(mut self, shape: &Shape) -> Self {
        if !shape.edits() {
            return self;
        }
        self.scheduler_hash = shape.hash(Role::Scheduler, self.scheduler_hash);
        self.service_hash = shape.hash(Role::Service, self.service_hash);
        self.deployment = shape.child(Role::Scheduler, self.deployment);
        self.service = shape.child(Role::Service, self.service);
        self.deployment["metadata"]["annotations"][names::HASH] = json!(self.scheduler_hash);
        self.service["metadata"]["annotations"][names::HASH] = json!(self.service_hash);
        if let Some(group) = shape.edited(Role::WorkerGroup) {
            self.group = group.clone();
            self.template = without_number(group["spec"]["worker"].clone());
            self.template_hash = hash::of(&self.template);
            self.group["metadata"]["annotations"][names::FLOWED_TEMPLATE] = json!(self.template_hash);
        }
        self
    }
}

/// Builds the children; cannot fail.
pub fn build(resource: &Resource, valid: &Valid, settings: &Settings) -> Desired {
    let scheduler = &valid.spec.scheduler;
    // Of metadata only what the spec itself says: a label edited on the cluster does not make a scheduler outdated.
    let scheduler_hash = hash::of(&json!([scheduler.metadata, scheduler.spec]));
    let service_hash = hash::of(&json!([scheduler.metadata, scheduler.service]));
    let template = template(resource);
    let template_hash = hash::of(&template);
    Desired {
        deployment: deployment(resource, valid, &scheduler_hash, settings),
        service: service(resource, valid, &service_hash),
        group: group(resource, valid, &template_hash),
        scheduler_hash,
        service_hash,
        template,
        template_hash,
    }
}

/// All of `spec.worker` but the number of workers. Raw, so that fields this build does not know arrive too.
fn template(resource: &Resource) -> Value {
    without_number(api::shared::without_nulls(resource.spec["worker"].clone()))
}

fn without_number(mut worker: Value) -> Value {
    if let Some(worker) = worker.as_object_mut() {
        worker.remove("replicas");
    }
    worker
}

fn deployment(resource: &Resource, valid: &Valid, hash: &str, settings: &Settings) -> Value {
    let scheduler = &valid.spec.scheduler;
    let selector = scheduler_selector(resource.name());
    let mut labels = metadata::layers([
        &metadata::inherited_labels(&resource.labels),
        &scheduler.metadata.labels,
        &selector,
    ]);
    if settings.istio_label {
        labels.insert(names::ISTIO_INJECT.into(), "false".into());
    }
    let annotations = annotations(resource, &scheduler.metadata.annotations);
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(resource, &names::scheduler(resource.name()), &labels, &annotations),
        "spec": {
            "replicas": 1,
            // Never two schedulers at once: the client and every dashboard demand exactly one.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": scheduler.spec.to_value(),
            },
        },
    });
    object["metadata"]["annotations"][names::HASH] = json!(hash);
    object
}

fn service(resource: &Resource, valid: &Valid, hash: &str) -> Value {
    let scheduler = &valid.spec.scheduler;
    let selector = scheduler_selector(resource.name());
    let labels = metadata::layers([
        &metadata::inherited_labels(&resource.labels),
        &scheduler.metadata.labels,
        &selector,
    ]);
    let annotations = annotations(resource, &scheduler.metadata.annotations);
    let mut spec = scheduler.service.to_value();
    // Nobody else fills a missing selector; a given one is never changed.
    if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        spec["selector"] = json!(selector);
    }
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(resource, &names::scheduler(resource.name()), &labels, &annotations),
        "spec": spec,
    });
    object["metadata"]["annotations"][names::HASH] = json!(hash);
    object
}

fn group(resource: &Resource, valid: &Valid, template: &str) -> Value {
    let worker = &valid.spec.worker;
    let fixed = metadata::map([(names::CLUSTER_NAME, resource.name()), (names::COMPONENT, "workergroup")]);
    let labels =
        metadata::layers([&metadata::inherited_labels(&resource.labels), &worker.metadata.labels, &fixed]);
    let mut annotations = annotations(resource, &worker.metadata.annotations);
    annotations.insert(names::FLOWED_REPLICAS.into(), worker.replicas.to_string());
    annotations.insert(names::FLOWED_TEMPLATE.into(), template.to_owned());
    json!({
        "apiVersion": names::API_VERSION,
        "kind": "DaskWorkerGroup",
        "metadata": child_metadata(resource, &names::default_group(resource.name()), &labels, &annotations),
        // Raw, so that fields this build does not know arrive too.
        "spec": {"cluster": resource.name(), "worker": api::shared::without_nulls(resource.spec["worker"].clone())},
    })
}

/// The labels that select a cluster's scheduler: ours alone, since a user's label may change and a selector cannot.
pub fn scheduler_selector(cluster: &str) -> Map {
    metadata::map([(names::CLUSTER_NAME, cluster), (names::COMPONENT, "scheduler")])
}

fn annotations(resource: &Resource, own: &Map) -> Map {
    metadata::layers([&metadata::inherited_annotations(&resource.annotations), own])
}

fn child_metadata(resource: &Resource, name: &str, labels: &Map, annotations: &Map) -> Value {
    json!({
        "name": name,
        "namespace": resource.namespace(),
        "labels": labels,
        "annotations": annotations,
        "ownerReferences": [resource.owner_reference()],
    })
}
