//! The finalizers of claims and volumes: taken off a claim that no pod uses, and off a volume that no claim is bound to.
//!
//! Follows `pkg/controller/volume/{pvcprotection,pvprotection}`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{items, text};
use super::queue::{Queue, Work};
use crate::status::Status;
use crate::storage::{GroupResource, Key, Stored};

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";

/// Lets claims and volumes go that nobody uses.
#[derive(Default)]
pub(crate) struct VolumeProtection {
    /// Claims that are to go.
    leaving: BTreeSet<Key>,
}

fn finalizer(plural: &str) -> &'static str {
    if plural == CLAIMS { "kubernetes.io/pvc-protection" } else { "kubernetes.io/pv-protection" }
}

impl ControlLoop for VolumeProtection {
    fn name(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        let plural = match seen.resource() {
            ("", CLAIMS) => CLAIMS,
            ("", VOLUMES) => VOLUMES,
            ("", "pods") if !self.leaving.is_empty() => {
                if seen.pods.after.as_ref().is_none_or(|pod| pod.has_ended()) {
                    let namespace = &seen.object().key.namespace;
                    for key in self.leaving.iter().filter(|key| key.namespace == *namespace) {
                        queue.add(Work::new(CLAIMS, key), seen.now);
                    }
                }
                return;
            }
            _ => return,
        };
        let protected = |stored: &Stored| {
            stored.meta.deleting && stored.meta.finalizers.iter().any(|f| f == finalizer(plural))
        };
        if seen.change.after.as_deref().is_some_and(protected) {
            if plural == CLAIMS {
                self.leaving.insert(seen.object().key.clone());
            }
            seen.mark(queue, plural);
        } else {
            self.leaving.remove(&seen.object().key);
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let resource = GroupResource::new("", work.about);
        let Some(object) = context.api.get(&resource, &work.key.namespace, &work.key.name) else {
            return Ok(None);
        };
        let mut value = object.value();
        let used = if work.about == CLAIMS {
            is_used(&work.key, context)
        } else {
            value["status"]["phase"] == "Bound"
        };
        if used || !object.meta.deleting {
            return Ok(None);
        }
        let left: Vec<Value> = items(&value["metadata"]["finalizers"])
            .iter()
            .filter(|name| **name != finalizer(work.about))
            .cloned()
            .collect();
        value["metadata"]["finalizers"] = left.into();
        context.api.update(&resource, value)?;
        Ok(None)
    }

    fn reset(&mut self) {
        self.leaving.clear();
    }
}

/// Whether a pod on a node, which has not ended, has the claim among its volumes.
fn is_used(claim: &Key, context: &Context<'_, '_>) -> bool {
    let Some(pods) = context.api.collection(&super::object::PODS) else { return false };
    pods.in_namespace(&claim.namespace).any(|pod| {
        let Some(facts) = context.observed.pod(&pod.key) else { return false };
        if facts.node.is_empty() || facts.has_ended() {
            return false;
        }
        let value = pod.value();
        items(&value["spec"]["volumes"]).iter().any(|volume| {
            let own = format!("{}-{}", pod.key.name, text(&volume["name"]));
            text(&volume["persistentVolumeClaim"]["claimName"]) == claim.name
                || (volume["ephemeral"].is_object() && own == claim.name)
        })
    })
}
