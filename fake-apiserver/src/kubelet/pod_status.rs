//! Reporting a pod to the API server, and removing it at its end.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::node::has_code;
use super::pod_worker::PodWorker;
use super::status;

/// What the API server was told last.
#[derive(Debug, Default)]
pub(super) struct Published {
    told: Option<Value>,
    conditions: Vec<PodCondition>,
}

impl PodWorker {
    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.node.client.clone(), self.identity().0)
    }

    /// Tells the API server what has changed. `false` when it must be tried again.
    pub(super) async fn publish(&mut self) -> bool {
        if !self.speaks_for_itself() {
            return true;
        }
        let status =
            status::render(&self.with_own_conditions(), &self.records, &self.around, Timestamp::now());
        let value = as_patch(&status);
        if self.published.told.as_ref() == Some(&value) {
            return true;
        }
        let (_, name, uid) = self.identity();
        let patch = json!({"metadata": {"uid": uid}, "status": value});
        let sent = self.api().patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        match sent {
            Ok(_) => {}
            // It is gone, or another pod has its name: the watch will say so.
            Err(error) if has_code(&error, 404) || has_code(&error, 409) => {}
            Err(error) => {
                tracing::warn!(pod = name, %error, "a pod's status could not be written");
                return false;
            }
        }
        self.published.told = Some(value);
        self.published.conditions = status.conditions.unwrap_or_default();
        true
    }

    /// The pod with the conditions this worker wrote, which the watch may not have delivered yet.
    fn with_own_conditions(&self) -> Pod {
        let mut pod = Pod {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta::default(),
            ..(*self.pod).clone()
        };
        let status = pod.status.get_or_insert_default();
        let all = status.conditions.get_or_insert_default();
        all.retain(|condition| !self.published.conditions.iter().any(|own| own.type_ == condition.type_));
        all.extend(self.published.conditions.iter().cloned());
        pod
    }

    /// Removes the object, now that nothing of the pod is left. `false` when it must be tried again.
    pub(super) async fn remove_object(&self) -> bool {
        let (_, name, uid) = self.identity();
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.api().delete(name, &params).await {
            Ok(_) => true,
            Err(error) if has_code(&error, 404) || has_code(&error, 409) => true,
            Err(error) => {
                tracing::warn!(pod = name, %error, "an ended pod could not be removed");
                false
            }
        }
    }
}

/// A strategic merge keeps what is not named: what a condition no longer says is named as null.
fn as_patch(status: &PodStatus) -> Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(conditions) = value.get_mut("conditions").and_then(Value::as_array_mut) {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            condition.entry("reason").or_insert(Value::Null);
            condition.entry("message").or_insert(Value::Null);
        }
    }
    value
}
