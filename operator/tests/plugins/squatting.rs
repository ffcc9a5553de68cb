//! Plugins that take names and labels which are another cluster's, before it is there or while it is.

use dask_operator::names;
use dask_operator::plugin::{Change, Declaration, Edit};
use dask_operator::sim::{create, story};
use serde_json::{Value, json};

use crate::world::*;

fn everything() -> Declaration {
    maps("wild")
        .adds("v1", "Service", "services")
        .adds("v1", "Pod", "pods")
        .adds("apps/v1", "Deployment", "deployments")
        .adds("batch/v1", "CronJob", "cronjobs")
        .adds(names::API_VERSION, "DaskWorkerGroup", "daskworkergroups")
        .adds(names::API_VERSION, "DaskAutoscaler", "daskautoscalers")
}

/// A plugin about `a` adds this; then `b` and a job `sum` come, and are not hindered.
fn check_kept_off(object: Value, why: &str) {
    let told = object.to_string();
    let mut sim = sim(vec![native(everything(), move |view| {
        if view.parent["metadata"]["name"] == "a" {
            change([Edit::Add { object: object.clone() }])
        } else {
            Change::default()
        }
    })]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 30);
    cluster(&mut sim, "b", 1);
    let job = story::job("sum", 0);
    sim.user(&create(names::API_VERSION, "daskjobs", Some(NAMESPACE), &job)).expect("it is accepted");
    wait(&mut sim, 120);
    assert_eq!(children(&sim, "b"), (true, 1), "{told}");
    let job = crate::world::object(&sim, names::API_VERSION, "daskjobs", "sum").expect("it is there");
    assert_eq!(job["status"]["jobStatus"], "Successful", "{told}");
    let said = condition(&sim, "a", "PluginsReady");
    assert!(said.starts_with("False ChangeRefused: plugin wild: ") && said.contains(why), "{told}: {said}");
}

fn container() -> Value {
    json!([{"name": "c", "image": "busybox"}])
}

#[test]
fn names_that_another_clusters_children_will_have_are_kept_free() {
    let why = "is a name that the operator gives";
    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 8786}], "selector": {"a": "b"}},
        })
    };
    check_kept_off(service("b-scheduler"), why);
    check_kept_off(service("sum-scheduler"), why);
    let template = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": container()}});
    let spec = json!({"selector": {"matchLabels": {"x": "y"}}, "template": template});
    let deployment = |name: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec});
    check_kept_off(deployment("b-scheduler"), why);
    check_kept_off(deployment("b-default-worker-0123456789"), why);
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": container()}});
    check_kept_off(pod("sum-runner"), why);
    check_kept_off(pod("sum-runner-1"), why);
    check_kept_off(pod("b-default-worker-0123456789"), why);
    let worker = json!({"replicas": 0, "spec": {"containers": container()}});
    let group = json!({
        "apiVersion": names::API_VERSION, "kind": "DaskWorkerGroup", "metadata": {"name": "b-default"},
        "spec": {"cluster": "a", "worker": worker},
    });
    check_kept_off(group, why);
    let autoscaler = json!({
        "apiVersion": names::API_VERSION, "kind": "DaskAutoscaler", "metadata": {"name": "b"},
        "spec": {"cluster": "a", "minimum": 0, "maximum": 1},
    });
    check_kept_off(autoscaler, "is named as another cluster's would be");
}

#[test]
fn pods_that_pass_for_another_clusters_are_refused_wherever_their_labels_stand() {
    let why = "is the operator's";
    let labels = json!({names::CLUSTER_NAME: "b", names::COMPONENT: "scheduler"});
    let template = |labels: &Value| json!({"metadata": {"labels": labels}, "spec": {"containers": container(), "restartPolicy": "Always"}});
    let deployment = |labels: &Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "decoy"},
            "spec": {"selector": {"matchLabels": labels}, "template": template(labels)},
        })
    };
    check_kept_off(deployment(&labels), why);
    // Its own cluster's scheduler is no plugin's to be, either.
    check_kept_off(deployment(&json!({names::CLUSTER_NAME: "a", names::COMPONENT: "worker"})), why);
    let mut once = template(&labels);
    once["spec"]["restartPolicy"] = json!("Never");
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "decoy"},
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": once}}},
    });
    check_kept_off(cron, why);
}

#[test]
fn selectors_and_the_label_of_ones_own_cluster_are_taken() {
    let template = json!({"metadata": {"labels": {"x": "y", names::CLUSTER_NAME: "a"}}, "spec": {"containers": container()}});
    let spec = json!({"selector": {"matchLabels": {"x": "y"}}, "template": template});
    let proxy =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a-proxy"}, "spec": spec});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a-dashboard"},
        "spec": {"ports": [{"port": 80}], "selector": {names::CLUSTER_NAME: "a", names::COMPONENT: "scheduler"}},
    });
    let mut sim = sim(vec![native(everything(), move |_| {
        change([Edit::Add { object: proxy.clone() }, Edit::Add { object: service.clone() }])
    })]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 60);
    assert_eq!(condition(&sim, "a", "PluginsReady"), "True Answered: wild");
    assert!(object(&sim, "v1", "services", "a-dashboard").is_some());
    assert!(object(&sim, "apps/v1", "deployments", "a-proxy").is_some());
    assert_eq!(children(&sim, "a"), (true, 1));
}
