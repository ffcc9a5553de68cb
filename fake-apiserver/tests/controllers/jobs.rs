use serde_json::{Value, json};

use super::cluster::{Cluster, condition};

fn job(name: &str, spec: &Value, life: &[(&str, &str)]) -> Value {
    let mut job = json!({"kind": "Job", "metadata": {"name": name}, "spec": spec});
    job["spec"]["template"] = json!({"metadata": {"annotations": {}}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "example.com/image:1"}]}});
    for (what, value) in life {
        let name = format!("fake-apiserver.dev/{what}");
        job["spec"]["template"]["metadata"]["annotations"][name] = (*value).into();
    }
    job
}

#[test]
fn a_job_completes_and_says_so() {
    let mut cluster = Cluster::new();
    cluster.create(job("sum", &json!({}), &[]));
    let job = cluster.get("Job", "sum");
    for kind in ["SuccessCriteriaMet", "Complete"] {
        let condition = condition(&job, kind);
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("True"), &json!("CompletionsReached"))
        );
    }
    let status = &job["status"];
    assert_eq!(
        (&status["succeeded"], &status["ready"], &status["terminating"]),
        (&json!(1), &json!(0), &json!(0))
    );
    assert!(status["active"].is_null() && status["failed"].is_null());
    assert_eq!(status["completionTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["uncountedTerminatedPods"], json!({}));
    let pod = cluster.list("Pod").remove(0);
    assert_eq!(pod["status"]["phase"], "Succeeded");
    assert!(pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty));
    assert_eq!(cluster.reasons("sum"), ["SuccessfulCreate", "Completed"]);
}

#[test]
fn parallelism_bounds_what_runs_and_completions_what_is_made() {
    let mut cluster = Cluster::new();
    let spec = json!({"completions": 5, "parallelism": 2});
    cluster.create(job("many", &spec, &[("exit-after", "10s"), ("exit-code", "0")]));
    assert_eq!(cluster.get("Job", "many")["status"]["active"], 2);
    cluster.pass(10);
    assert_eq!(cluster.get("Job", "many")["status"]["succeeded"], 2);
    assert_eq!(cluster.get("Job", "many")["status"]["active"], 2);
    cluster.pass(20);
    assert_eq!(condition(&cluster.get("Job", "many"), "Complete")["status"], "True");
    assert_eq!(cluster.names("Pod").len(), 5);
}

#[test]
fn failed_pods_are_tried_again_with_back_off_up_to_the_limit() {
    let mut cluster = Cluster::new();
    cluster.create(job("bad", &json!({"backoffLimit": 2}), &[("exit-code", "1")]));
    assert_eq!((cluster.names("Pod").len(), &cluster.get("Job", "bad")["status"]["failed"]), (1, &json!(1)));
    cluster.pass(9);
    assert_eq!(cluster.names("Pod").len(), 1);
    cluster.pass(1);
    assert_eq!(cluster.names("Pod").len(), 2);
    cluster.pass(20);
    let job = cluster.get("Job", "bad");
    for kind in ["FailureTarget", "Failed"] {
        assert_eq!(condition(&job, kind)["reason"], "BackoffLimitExceeded");
    }
    assert_eq!((&job["status"]["failed"], cluster.names("Pod").len()), (&json!(3), 3));
}

#[test]
fn a_job_that_takes_too_long_fails_and_its_pods_go() {
    let mut cluster = Cluster::new();
    cluster.create(job("long", &json!({"activeDeadlineSeconds": 30}), &[("exit-after", "1h")]));
    cluster.pass(30);
    assert_eq!(condition(&cluster.get("Job", "long"), "Failed")["reason"], "DeadlineExceeded");
    assert_eq!(cluster.names("Pod"), Vec::<String>::new());
}

#[test]
fn a_finished_job_goes_after_its_time() {
    let mut cluster = Cluster::new();
    cluster.create(job("brief", &json!({"ttlSecondsAfterFinished": 60}), &[]));
    cluster.pass(59);
    assert!(cluster.find("Job", "brief").is_some());
    cluster.pass(1);
    assert_eq!(cluster.find("Job", "brief"), None);
    assert_eq!(cluster.names("Pod"), Vec::<String>::new());
}

#[test]
fn a_suspended_job_has_no_pods_until_it_is_resumed() {
    let mut cluster = Cluster::new();
    cluster.create(job("later", &json!({"suspend": true}), &[]));
    assert_eq!(condition(&cluster.get("Job", "later"), "Suspended")["status"], "True");
    assert_eq!(cluster.names("Pod"), Vec::<String>::new());
    cluster.patch("Job", "later", json!({"spec": {"suspend": false}}));
    assert_eq!(condition(&cluster.get("Job", "later"), "Complete")["status"], "True");
}

#[test]
fn deleting_a_running_job_leaves_nothing() {
    let mut cluster = Cluster::new();
    for policy in ["Background", "Foreground"] {
        cluster.create(job("gone", &json!({"parallelism": 2}), &[("exit-after", "1h")]));
        assert_eq!(cluster.names("Pod").len(), 2);
        cluster.delete_by("Job", "gone", policy);
        assert_eq!((cluster.names("Job"), cluster.names("Pod")), (vec![], vec![]), "{policy}");
    }
}
