//! The children of a DaskCluster as they should be: scheduler Deployment, scheduler Service, default worker group.
//!
//! Names, labels, annotations and shapes are those of compatibility contract §2.1 and §3.

use serde_json::{Value, json};

use super::validate::Valid;
use crate::metadata::{self, Map};
use crate::observe::Resource;
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
}

/// Builds the children; cannot fail.
pub fn build(resource: &Resource, valid: &Valid, settings: &Settings) -> Desired {
    Desired {
        deployment: deployment(resource, valid, settings),
        service: service(resource, valid),
        group: group(resource, valid),
    }
}

fn deployment(resource: &Resource, valid: &Valid, settings: &Settings) -> Value {
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
    hash::seal(&mut object);
    object
}

fn service(resource: &Resource, valid: &Valid) -> Value {
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
    hash::seal(&mut object);
    object
}

fn group(resource: &Resource, valid: &Valid) -> Value {
    let worker = &valid.spec.worker;
    let fixed = metadata::map([(names::CLUSTER_NAME, resource.name()), (names::COMPONENT, "workergroup")]);
    let labels =
        metadata::layers([&metadata::inherited_labels(&resource.labels), &worker.metadata.labels, &fixed]);
    let mut annotations = annotations(resource, &worker.metadata.annotations);
    annotations.insert(names::FLOWED_REPLICAS.into(), worker.replicas.to_string());
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
