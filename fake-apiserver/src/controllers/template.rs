//! Pods from templates, and whose pods are whose: what the workload controllers have in common.

use std::sync::Arc;

use serde_json::{Value, json};

use super::control_loop::Context;
use super::object::{PODS, array_mut, object_mut};
use super::pod::PodFacts;
use crate::status::Status;
use crate::storage::{GroupResource, LabelSelector, Stored};

/// Who makes pods.
pub(crate) struct Maker<'a> {
    /// The object.
    pub owner: &'a Stored,
    /// The object as JSON.
    pub value: &'a Value,
    /// `apps/v1`.
    pub api_version: &'static str,
    /// `ReplicaSet`.
    pub kind: &'static str,
}

impl Maker<'_> {
    /// A pod of the template, not written yet, with a name ending from the counter.
    pub(crate) fn pod(&self, template: &Value, context: &mut Context<'_, '_>) -> Value {
        // As the API server does with generateName: 63 characters, five of them drawn.
        let mut base = format!("{}-", self.owner.key.name);
        let generate = base.clone();
        base.truncate(58);
        let name = format!("{base}{}", context.suffixes.next());
        self.named_pod(template, &name, Some(&generate))
    }

    /// A pod of the template, not written yet.
    pub(crate) fn named_pod(&self, template: &Value, name: &str, generate_name: Option<&str>) -> Value {
        let mut metadata = json!({"name": name, "namespace": self.owner.key.namespace});
        if let Some(generate) = generate_name {
            metadata["generateName"] = generate.into();
        }
        for field in ["labels", "annotations", "finalizers"] {
            if !template["metadata"][field].is_null() {
                metadata[field] = template["metadata"][field].clone();
            }
        }
        metadata["ownerReferences"] =
            json!([super::object::controller_ref(self.owner, self.api_version, self.kind)]);
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    }

    /// Creates a pod and says so in an Event; a refusal is said, too.
    pub(crate) fn create(&self, pod: Value, context: &mut Context<'_, '_>) -> Result<Arc<Stored>, Status> {
        match context.api.create(&PODS, pod) {
            Ok(pod) => {
                context.normal(self.value, "SuccessfulCreate", &format!("Created pod: {}", pod.key.name));
                Ok(pod)
            }
            Err(status) => {
                if !is_terminating(&status) {
                    context.warning(
                        self.value,
                        "FailedCreate",
                        &format!("Error creating: {}", status.message),
                    );
                }
                Err(status)
            }
        }
    }

    /// Deletes a pod and says so in an Event; one that is gone is a success.
    pub(crate) fn delete(&self, pod: &PodFacts, context: &mut Context<'_, '_>) -> Result<(), Status> {
        let key = &pod.stored.key;
        let options = json!({"preconditions": {"uid": pod.stored.meta.uid}});
        match context.api.delete(&PODS, key, options) {
            Ok(()) => {
                let message = if self.value["kind"] == "StatefulSet" {
                    format!("Delete Pod {} in StatefulSet {} successful", key.name, self.owner.key.name)
                } else {
                    format!("Deleted pod: {}", key.name)
                };
                context.normal(self.value, "SuccessfulDelete", &message);
            }
            Err(status) if matches!(status.code, 404 | 409) => {}
            Err(status) => return Err(status),
        }
        Ok(())
    }

    /// The pods this object manages: those it has, less those that no longer match (released), and those that nobody
    /// manages and that match (adopted).
    pub(crate) fn claim(
        &self,
        selector: &LabelSelector,
        context: &mut Context<'_, '_>,
    ) -> Result<Vec<Arc<PodFacts>>, Status> {
        let mut pods: Vec<Arc<PodFacts>> = Vec::new();
        let mut released = Vec::new();
        for pod in context.observed.controlled_by(&self.owner.meta.uid) {
            if selector.matches(&pod.stored.meta.labels) {
                pods.push(Arc::clone(pod));
            } else if !pod.stored.meta.deleting {
                released.push(Arc::clone(pod));
            }
        }
        for pod in released {
            release(&PODS, &pod.stored, &self.owner.meta.uid, context)?;
        }
        if self.owner.meta.deleting {
            return Ok(pods);
        }
        let adoptable: Vec<Arc<PodFacts>> = context
            .observed
            .orphans(&self.owner.key.namespace)
            .filter(|pod| pod.is_active() && selector.matches(&pod.stored.meta.labels))
            .cloned()
            .collect();
        for pod in adoptable {
            let reference = super::object::controller_ref(self.owner, self.api_version, self.kind);
            adopt(&PODS, &pod.stored, reference, context)?;
            pods.push(pod);
        }
        Ok(pods)
    }
}

/// The namespace of the object is being deleted: nothing more can be made in it.
pub(crate) fn is_terminating(status: &Status) -> bool {
    status.code == 403 && status.details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Adds an ownerReference.
pub(crate) fn adopt(
    resource: &GroupResource,
    object: &Stored,
    reference: Value,
    context: &mut Context<'_, '_>,
) -> Result<Arc<Stored>, Status> {
    let mut value = object.value();
    array_mut(&mut value["metadata"], "ownerReferences").push(reference);
    context.api.update(resource, value)
}

/// Removes the ownerReference to a uid.
fn release(
    resource: &GroupResource,
    object: &Stored,
    uid: &str,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    let mut value = object.value();
    array_mut(&mut value["metadata"], "ownerReferences").retain(|owner| owner["uid"] != uid);
    context.api.update(resource, value).map(drop)
}

/// A template with one more label.
pub(crate) fn with_label(template: &Value, label: &str, value: &str) -> Value {
    let mut template = template.clone();
    object_mut(object_mut(&mut template["metadata"]).entry("labels").or_insert(Value::Null))
        .insert(label.into(), value.into());
    template
}

/// A template without a label that a controller has added.
pub(crate) fn without_label(template: &Value, label: &str) -> Value {
    let mut template = template.clone();
    if template["metadata"]["labels"].is_object() {
        object_mut(&mut template["metadata"]["labels"]).remove(label);
    }
    template
}

/// `spec.selector` of a workload; nothing matches when it cannot be read.
pub(crate) fn selector_of(value: &Value) -> Option<LabelSelector> {
    LabelSelector::from_object(&value["spec"]["selector"]).filter(|selector| !selector.is_empty())
}

/// Puts pods that are to go first in front, by the ReplicaSet controller's order: not bound, then pending, then not
/// ready, then the cheaper to delete, then with more siblings on their node, then ready for a shorter time, then with
/// more restarts, then younger.
pub(crate) fn rank_for_deletion(pods: &mut [Arc<PodFacts>]) {
    use super::pod::Phase;
    let mut on_node: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for pod in pods.iter() {
        *on_node.entry(pod.node.clone()).or_default() += 1;
    }
    let phase = |pod: &PodFacts| match pod.phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        _ => 2,
    };
    pods.sort_by_cached_key(|pod| {
        (
            !pod.node.is_empty(),
            phase(pod),
            pod.ready,
            pod.deletion_cost,
            -on_node.get(&pod.node).copied().unwrap_or_default(),
            std::cmp::Reverse(pod.ready_since),
            -pod.restarts,
            std::cmp::Reverse(pod.created),
            // Kubernetes leaves it open; the youngest by revision is predictable.
            std::cmp::Reverse(pod.stored.key.name.clone()),
        )
    });
}
