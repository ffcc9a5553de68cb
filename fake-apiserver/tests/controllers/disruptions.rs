//! PodDisruptionBudgets, and the evictions they refuse.

use fake_apiserver::request::Request;
use fake_apiserver::status::Status;
use serde_json::{Value, json};

use super::cluster::{Cluster, workload};

fn budget(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec})
}

fn evict(cluster: &mut Cluster, pod: &str, options: &Value) -> Result<Value, Status> {
    let body = json!({"metadata": {"name": pod}, "deleteOptions": options});
    let request = Request::create("v1", "pods", body).namespace("default").name(pod).subresource("eviction");
    let answer = cluster.send(&request);
    cluster.settle();
    answer
}

fn numbers(cluster: &mut Cluster) -> [i64; 4] {
    let status = cluster.get("PodDisruptionBudget", "b")["status"].clone();
    ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"]
        .map(|field| status[field].as_i64().unwrap_or_else(|| panic!("{field} in {status}")))
}

#[test]
fn a_budget_counts_what_the_controllers_of_its_pods_want() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 4));
    cluster.create(budget("b", &json!({"maxUnavailable": "25%"})));
    assert_eq!(numbers(&mut cluster), [4, 3, 4, 1]);
    let condition = cluster.get("PodDisruptionBudget", "b")["status"]["conditions"][0].clone();
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("SufficientPods")));
    cluster.patch("PodDisruptionBudget", "b", json!({"spec": {"maxUnavailable": null, "minAvailable": 4}}));
    assert_eq!(numbers(&mut cluster), [4, 4, 4, 0]);
    let condition = cluster.get("PodDisruptionBudget", "b")["status"]["conditions"][0].clone();
    assert_eq!((&condition["status"], &condition["observedGeneration"]), (&json!("False"), &json!(2)));
}

#[test]
fn an_eviction_spends_the_budget_and_the_next_is_refused() {
    let mut cluster = Cluster::new();
    for name in ["a", "c"] {
        let containers = json!([{"name": "main", "image": "i:1"}]);
        cluster.create(json!({"kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}, "finalizers": ["example.com/stay"]},
            "spec": {"containers": containers}}));
    }
    cluster.create(budget("b", &json!({"minAvailable": 1})));
    assert_eq!(numbers(&mut cluster), [2, 1, 2, 1]);
    evict(&mut cluster, "a", &json!({})).unwrap();
    let evicted = cluster.get("Pod", "a");
    let mut conditions = evicted["status"]["conditions"].as_array().unwrap().iter();
    let target = conditions.find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!(target["reason"], "EvictionByEvictionAPI");
    assert!(evicted["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(numbers(&mut cluster), [1, 1, 2, 0]);
    let refused = evict(&mut cluster, "c", &json!({})).unwrap_err();
    assert_eq!((refused.code, refused.reason), (429, "TooManyRequests"));
    assert_eq!(refused.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    let cause = &refused.details.causes[0];
    assert_eq!(cause.reason, "DisruptionBudget");
    assert_eq!(cause.message, "The disruption budget b needs 1 healthy pods and has 1 currently");
    // What is ending already disrupts nothing.
    evict(&mut cluster, "a", &json!({})).unwrap();
}

#[test]
fn an_eviction_on_trial_changes_nothing() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 2));
    cluster.create(budget("b", &json!({"minAvailable": 1})));
    let pod = cluster.names("Pod").remove(0);
    evict(&mut cluster, &pod, &json!({"dryRun": ["All"]})).unwrap();
    assert_eq!(numbers(&mut cluster), [2, 1, 2, 1]);
    assert!(cluster.get("Pod", &pod)["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn wrong_preconditions_and_two_budgets_refuse() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 2));
    let pod = cluster.names("Pod").remove(0);
    let refused = evict(&mut cluster, &pod, &json!({"preconditions": {"uid": "other"}})).unwrap_err();
    assert_eq!((refused.code, refused.reason), (409, "Conflict"));
    cluster.create(budget("b", &json!({"minAvailable": 1})));
    cluster.create(budget("c", &json!({"minAvailable": 1})));
    let refused = evict(&mut cluster, &pod, &json!({})).unwrap_err();
    assert_eq!(refused.code, 500);
    assert!(refused.message.starts_with("This pod has more than one PodDisruptionBudget"), "{refused}");
}

#[test]
fn an_eviction_that_deletes_nothing_is_given_up_after_two_minutes() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 2));
    cluster.create(budget("b", &json!({"minAvailable": 1})));
    let pod = cluster.names("Pod").remove(0);
    let now = cluster.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    cluster.patch_status(
        "PodDisruptionBudget",
        "b",
        json!({"status": {"disruptedPods": {pod.as_str(): now}}}),
    );
    assert_eq!(numbers(&mut cluster), [1, 1, 2, 0]);
    cluster.pass(121);
    assert_eq!(numbers(&mut cluster), [2, 1, 2, 1]);
}
