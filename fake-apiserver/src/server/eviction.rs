//! `pods/eviction`: a deletion that PodDisruptionBudgets may refuse.
//!
//! Follows `pkg/registry/core/pod/storage/eviction.go` of Kubernetes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::delete::{Options, check_preconditions};
use super::{ApiServer, BUDGETS, PODS, meta};
use crate::request::Request;
use crate::response::{Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::{LabelSelector, Stored};

/// So many evictions may wait to be seen by the disruption controller.
const DISRUPTED_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

impl ApiServer {
    /// Evicts a pod: takes one from its budget's allowance, says so in the pod's conditions, and deletes it.
    pub(super) fn evict(&mut self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        let said = |body: &Value| body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if call.request.body.as_ref().is_some_and(|body| said(body) != key.name) {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let pod = self.storage.get(&PODS, &key).cloned().ok_or_else(|| call.not_found(&key.name))?;
        let options = call.request.body.as_ref().map(|body| body["deleteOptions"].clone());
        let request = Request { body: options, params: call.request.params.clone(), ..Request::default() };
        let inner = Call { now: call.now, request: &request, resource: call.resource.clone() };
        let options = Options::read(&inner)?;
        if !is_past_disruption(&pod) {
            let mut budgets = self.budgets_of(&pod);
            match (budgets.pop(), budgets.is_empty()) {
                (None, _) => {}
                (Some(budget), true) => self.spend(call, &pod, &budget, options.is_dry_run())?,
                (Some(_), false) => {
                    let text = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                                support.";
                    return Err(Status::new(500, "", text));
                }
            }
        }
        check_preconditions(&inner, &pod, &options)?;
        if !options.is_dry_run() {
            self.announce(call, &pod)?;
        }
        self.delete_object(&inner, &key, &options.without_version())?;
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(Response { code: 201, reply: Reply::Value(status), warnings: Vec::new() })
    }

    fn budgets_of(&self, pod: &Stored) -> Vec<Arc<Stored>> {
        let Some(budgets) = self.storage.collection(&BUDGETS) else { return Vec::new() };
        let selects = |budget: &&Arc<Stored>| {
            LabelSelector::from_object(&budget.value()["spec"]["selector"])
                .is_some_and(|selector| selector.matches(&pod.meta.labels))
        };
        budgets.in_namespace(&pod.key.namespace).filter(selects).cloned().collect()
    }

    /// Takes one disruption from a budget, unless the pod is unhealthy and does not count.
    fn spend(&mut self, call: &Call<'_>, pod: &Stored, budget: &Stored, dry_run: bool) -> Result<(), Status> {
        let mut value = budget.value();
        let count = |field: &str| value["status"][field].as_i64().unwrap_or_default();
        if !crate::controllers::is_ready(&pod.value()) {
            let always = value["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow";
            let healthy = count("desiredHealthy") > 0 && count("currentHealthy") >= count("desiredHealthy");
            if always || healthy {
                return Ok(());
            }
        }
        let name = &budget.key.name;
        if count("observedGeneration") < budget.meta.generation {
            let mut status =
                refusal(format!("The disruption budget {name} is still being processed by the server."));
            status.details.retry_after_seconds = 10;
            return Err(status);
        }
        if value["status"]["disruptedPods"].as_object().is_some_and(|pods| pods.len() > DISRUPTED_MAX) {
            let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
            return Err(Status::forbidden("policy", "poddisruptionbudget", name, why));
        }
        let allowed = count("disruptionsAllowed");
        if allowed <= 0 {
            return Err(refusal(why_not(name, &value["status"])));
        }
        if dry_run {
            return Ok(());
        }
        value["status"]["disruptionsAllowed"] = json!(allowed - 1);
        if !value["status"]["disruptedPods"].is_object() {
            value["status"]["disruptedPods"] = json!({});
        }
        value["status"]["disruptedPods"][&pod.key.name] = json!(meta::time(call.now));
        self.write_status(call, "policy/v1", "poddisruptionbudgets", value)
    }

    /// The condition by which a pod's owner learns that it was evicted.
    fn announce(&mut self, call: &Call<'_>, pod: &Stored) -> Result<(), Status> {
        let mut value = pod.value();
        let mut conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|condition| condition["type"] != "DisruptionTarget");
        conditions.push(
            json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastProbeTime": null,
            "lastTransitionTime": meta::time(call.now)}),
        );
        value["status"]["conditions"] = json!(conditions);
        self.write_status(call, "v1", "pods", value)
    }
}

/// A pod that has ended, is ending, or never began disrupts nothing by its end.
fn is_past_disruption(pod: &Stored) -> bool {
    pod.meta.deleting || matches!(pod.fields.get("status.phase"), "Succeeded" | "Failed" | "Pending")
}

fn refusal(why: String) -> Status {
    let mut status = Status::new(429, "TooManyRequests", REFUSED);
    status.details.causes.push(Cause::new("DisruptionBudget", "", why));
    status
}

fn why_not(name: &str, status: &Value) -> String {
    let count = |field: &str| status[field].as_i64().unwrap_or_default();
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let refused = conditions.find(|condition| {
        condition["type"] == "DisruptionAllowed"
            && condition["status"] == "False"
            && condition["message"].as_str().is_some_and(|message| !message.is_empty())
    });
    let said =
        |field: &str| refused.and_then(|condition| condition[field].as_str()).unwrap_or_default().to_owned();
    let (reason, message) = (said("reason"), said("message"));
    if reason == "SyncFailed" {
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        );
    }
    if count("currentHealthy") <= count("desiredHealthy") {
        let (needs, has) = (count("desiredHealthy"), count("currentHealthy"));
        return format!("The disruption budget {name} needs {needs} healthy pods and has {has} currently");
    }
    if refused.is_some() {
        return format!(
            "The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"
        );
    }
    format!("The disruption budget {name} does not allow evicting pods currently")
}
