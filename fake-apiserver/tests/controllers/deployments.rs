use fake_apiserver::controllers::Options;
use serde_json::{Value, json};

use super::cluster::{Cluster, condition, workload};

fn new_image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

fn sizes(cluster: &mut Cluster) -> Vec<i64> {
    let mut sets = cluster.list("ReplicaSet");
    sets.sort_by_key(|set| revision(set).parse::<i64>().unwrap());
    sets.iter().map(|set| set["spec"]["replicas"].as_i64().unwrap()).collect()
}

fn revision(object: &Value) -> &str {
    object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap()
}

#[test]
fn a_new_deployment_becomes_available() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 3));
    let deployment = cluster.get("Deployment", "web");
    let status = &deployment["status"];
    for field in ["replicas", "readyReplicas", "availableReplicas", "updatedReplicas"] {
        assert_eq!(status[field], 3, "{field} in {status}");
    }
    assert_eq!(status["observedGeneration"], deployment["metadata"]["generation"]);
    assert!(status["unavailableReplicas"].is_null());
    let available = condition(&deployment, "Available");
    assert_eq!(
        (&available["status"], &available["reason"]),
        (&json!("True"), &json!("MinimumReplicasAvailable"))
    );
    assert_eq!(available["message"], "Deployment has minimum availability.");
    let set = &cluster.names("ReplicaSet")[0];
    let progressing = condition(&deployment, "Progressing");
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(progressing["message"], format!("ReplicaSet \"{set}\" has successfully progressed."));
    assert!(progressing["lastUpdateTime"].is_string());
    assert_eq!(revision(&deployment), "1");
}

#[test]
fn annotations_reach_the_present_replica_set_and_the_revision_is_no_change_of_what_is_wanted() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 1));
    let deployment = cluster.get("Deployment", "web");
    assert_eq!((revision(&deployment), &deployment["metadata"]["generation"]), ("1", &json!(1)));
    let cause = "kubernetes.io/change-cause";
    cluster.patch("Deployment", "web", json!({"metadata": {"annotations": {cause: "tried"}}}));
    assert_eq!(cluster.list("ReplicaSet")[0]["metadata"]["annotations"][cause], "tried");
}

#[test]
fn names_and_labels_follow_the_template_hash() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 1));
    let set = cluster.list("ReplicaSet").remove(0);
    let hash = set["metadata"]["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(set["metadata"]["name"], format!("web-{hash}"));
    assert_eq!(set["spec"]["selector"]["matchLabels"], json!({"app": "web", "pod-template-hash": hash}));
    let pod = cluster.list("Pod").remove(0);
    let name = pod["metadata"]["name"].as_str().unwrap();
    assert_eq!(name.len(), format!("web-{hash}-").len() + 5);
    assert_eq!(pod["metadata"]["generateName"], format!("web-{hash}-"));
    assert_eq!(pod["metadata"]["labels"], json!({"app": "web", "pod-template-hash": hash}));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
}

#[test]
fn the_same_history_gives_the_same_names() {
    let names = || {
        let mut cluster = Cluster::new();
        cluster.create(workload("Deployment", "web", 5));
        cluster.names("Pod")
    };
    assert_eq!(names(), names());
}

#[test]
fn a_deleted_pod_is_replaced() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 2));
    let before = cluster.names("Pod");
    cluster.delete("Pod", &before[0]);
    let after = cluster.names("Pod");
    assert_eq!(after.len(), 2);
    assert!(after.contains(&before[1]) && !after.contains(&before[0]));
}

#[test]
fn a_failed_pod_is_replaced_and_kept_to_be_looked_at() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 1));
    let failed = cluster.names("Pod").remove(0);
    cluster.patch_status("Pod", &failed, json!({"status": {"phase": "Failed", "reason": "Evicted"}}));
    assert_eq!(cluster.names("Pod").len(), 2);
    assert_eq!(cluster.get("Deployment", "web")["status"]["availableReplicas"], 1);
}

#[test]
fn scaling_changes_the_same_replica_set() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 1));
    cluster.patch("Deployment", "web", json!({"spec": {"replicas": 5}}));
    assert_eq!((cluster.names("Pod").len(), sizes(&mut cluster)), (5, vec![5]));
    cluster.patch("Deployment", "web", json!({"spec": {"replicas": 0}}));
    assert_eq!((cluster.names("Pod").len(), sizes(&mut cluster)), (0, vec![0]));
    let status = cluster.get("Deployment", "web")["status"].clone();
    assert!(status["replicas"].is_null(), "{status}");
    assert_eq!(cluster.reasons("web"), ["ScalingReplicaSet"; 3]);
}

#[test]
fn a_rolling_update_never_goes_below_what_must_be_available() {
    let mut cluster = Cluster::with(Options::lifelike());
    cluster.create(workload("Deployment", "web", 4));
    cluster.pass(2);
    cluster.patch("Deployment", "web", new_image("example.com/image:2"));
    let mut least = i64::MAX;
    let mut most = 0;
    for _ in 0..20 {
        let status = cluster.get("Deployment", "web")["status"].clone();
        least = least.min(status["availableReplicas"].as_i64().unwrap());
        most = most.max(status["replicas"].as_i64().unwrap());
        cluster.pass(1);
    }
    assert_eq!((least, most), (3, 5));
    assert_eq!(sizes(&mut cluster), [0, 4]);
    let deployment = cluster.get("Deployment", "web");
    assert_eq!(revision(&deployment), "2");
    assert_eq!(condition(&deployment, "Progressing")["reason"], "NewReplicaSetAvailable");
    for pod in cluster.list("Pod") {
        assert_eq!(pod["spec"]["containers"][0]["image"], "example.com/image:2");
    }
}

#[test]
fn a_rolling_update_of_pods_that_never_get_ready_stops_and_times_out() {
    let mut cluster = Cluster::new();
    let mut deployment = workload("Deployment", "web", 4);
    deployment["spec"]["progressDeadlineSeconds"] = 60.into();
    cluster.create(deployment);
    let mut patch = new_image("example.com/image:2");
    patch["spec"]["template"]["metadata"]["annotations"] = json!({"fake-apiserver.dev/never-ready": "true"});
    cluster.patch("Deployment", "web", patch);
    assert_eq!(sizes(&mut cluster), [3, 2]);
    let deployment = cluster.get("Deployment", "web");
    assert_eq!(condition(&deployment, "Available")["status"], "True");
    assert_eq!(condition(&deployment, "Progressing")["reason"], "ReplicaSetUpdated");
    cluster.pass(61);
    let progressing = condition(&cluster.get("Deployment", "web"), "Progressing");
    assert_eq!(
        (&progressing["status"], &progressing["reason"]),
        (&json!("False"), &json!("ProgressDeadlineExceeded"))
    );
}

#[test]
fn recreate_removes_all_old_pods_before_the_first_new_one() {
    let mut cluster = Cluster::with(Options::lifelike());
    let mut deployment = workload("Deployment", "web", 2);
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create(deployment);
    cluster.pass(2);
    cluster.patch("Deployment", "web", new_image("example.com/image:2"));
    assert_eq!(sizes(&mut cluster), [0]);
    assert_eq!(cluster.names("Pod").len(), 2);
    cluster.pass(1);
    assert_eq!(sizes(&mut cluster), [0, 2]);
    cluster.pass(2);
    assert_eq!(cluster.get("Deployment", "web")["status"]["availableReplicas"], 2);
}

#[test]
fn going_back_takes_the_old_replica_set_again() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 1));
    let first = cluster.names("ReplicaSet");
    cluster.patch("Deployment", "web", new_image("example.com/image:2"));
    cluster.patch("Deployment", "web", new_image("example.com/image:1"));
    assert_eq!(cluster.names("ReplicaSet").len(), 2);
    let old = cluster.get("ReplicaSet", &first[0]);
    assert_eq!((revision(&old), &old["spec"]["replicas"]), ("3", &json!(1)));
    assert_eq!(old["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn old_replica_sets_go_above_the_history_limit() {
    let mut cluster = Cluster::new();
    let mut deployment = workload("Deployment", "web", 1);
    deployment["spec"]["revisionHistoryLimit"] = 1.into();
    cluster.create(deployment);
    for version in 2..6 {
        cluster.patch("Deployment", "web", new_image(&format!("example.com/image:{version}")));
    }
    let revisions: Vec<String> =
        cluster.list("ReplicaSet").iter().map(|set| revision(set).to_owned()).collect();
    assert_eq!(revisions.len(), 2, "{revisions:?}");
    assert!(revisions.contains(&"5".to_owned()) && revisions.contains(&"4".to_owned()));
}

#[test]
fn a_paused_deployment_does_not_roll() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 1));
    cluster.patch("Deployment", "web", json!({"spec": {"paused": true}}));
    cluster.patch("Deployment", "web", new_image("example.com/image:2"));
    assert_eq!(cluster.names("ReplicaSet").len(), 1);
    assert_eq!(condition(&cluster.get("Deployment", "web"), "Progressing")["reason"], "DeploymentPaused");
    cluster.patch("Deployment", "web", json!({"spec": {"paused": null}}));
    assert_eq!(sizes(&mut cluster), [0, 1]);
    assert_eq!(
        condition(&cluster.get("Deployment", "web"), "Progressing")["reason"],
        "NewReplicaSetAvailable"
    );
}

#[test]
fn pods_count_as_available_only_after_min_ready_seconds() {
    let mut cluster = Cluster::new();
    let mut deployment = workload("Deployment", "web", 1);
    deployment["spec"]["minReadySeconds"] = 10.into();
    cluster.create(deployment);
    assert!(cluster.get("Deployment", "web")["status"]["availableReplicas"].is_null());
    cluster.pass(10);
    assert_eq!(cluster.get("Deployment", "web")["status"]["availableReplicas"], 1);
}

#[test]
fn a_refused_pod_shows_in_the_conditions() {
    let mut cluster = Cluster::new();
    let mut deployment = workload("Deployment", "web", 1);
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": "default"},
        "spec": {"hard": {"pods": "0"}}});
    cluster.send(&fake_apiserver::request::Request::create("v1", "resourcequotas", quota)).unwrap();
    cluster.settle();
    cluster.create(deployment);
    let failure = condition(&cluster.get("Deployment", "web"), "ReplicaFailure");
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("FailedCreate")));
    assert!(failure["message"].as_str().unwrap().contains("exceeded quota"), "{failure}");
    let progressing = condition(&cluster.get("Deployment", "web"), "Progressing");
    assert_eq!(progressing["reason"], "NewReplicaSetCreated");
}

#[test]
fn a_new_template_of_a_deployment_without_replicas_begins_another_roll_out() {
    let mut cluster = Cluster::new();
    let mut deployment = workload("Deployment", "web", 0);
    deployment["spec"]["progressDeadlineSeconds"] = 60.into();
    cluster.create(deployment);
    assert_eq!(
        condition(&cluster.get("Deployment", "web"), "Progressing")["reason"],
        "NewReplicaSetAvailable"
    );
    let mut patch = new_image("example.com/image:2");
    patch["spec"]["replicas"] = 1.into();
    patch["spec"]["template"]["metadata"]["annotations"] = json!({"fake-apiserver.dev/never-ready": "true"});
    cluster.patch("Deployment", "web", patch);
    assert_eq!(condition(&cluster.get("Deployment", "web"), "Progressing")["reason"], "ReplicaSetUpdated");
    cluster.pass(61);
    assert_eq!(
        condition(&cluster.get("Deployment", "web"), "Progressing")["reason"],
        "ProgressDeadlineExceeded"
    );
}

#[test]
fn a_pod_that_loses_its_label_is_let_go_and_replaced() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 1));
    let pod = cluster.names("Pod").remove(0);
    cluster.patch("Pod", &pod, json!({"metadata": {"labels": {"app": "debug"}}}));
    assert_eq!(cluster.names("Pod").len(), 2);
    let freed = cluster.get("Pod", &pod);
    assert!(freed["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty));
}

#[test]
fn orphaned_replica_sets_and_pods_are_adopted_by_a_deployment_of_the_same_name() {
    let mut cluster = Cluster::new();
    cluster.create(workload("Deployment", "web", 2));
    let pods = cluster.names("Pod");
    cluster.delete_by("Deployment", "web", "Orphan");
    assert_eq!(cluster.names("Pod"), pods);
    cluster.create(workload("Deployment", "web", 2));
    assert_eq!((cluster.names("Pod"), sizes(&mut cluster)), (pods, vec![2]));
}

#[test]
fn scaling_down_prefers_pods_that_are_not_ready_and_then_the_cheaper() {
    let mut cluster = Cluster::new();
    cluster.create(workload("ReplicaSet", "web", 3));
    let pods = cluster.names("Pod");
    let cost = json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}});
    cluster.patch("Pod", &pods[1], cost);
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    cluster.patch_status("Pod", &pods[2], unready);
    cluster.patch("ReplicaSet", "web", json!({"spec": {"replicas": 2}}));
    assert_eq!(cluster.names("Pod"), [pods[0].clone(), pods[1].clone()]);
    cluster.patch("ReplicaSet", "web", json!({"spec": {"replicas": 1}}));
    assert_eq!(cluster.names("Pod"), [pods[0].clone()]);
}

#[test]
fn deleting_a_deployment_leaves_nothing() {
    let mut cluster = Cluster::new();
    for policy in ["Background", "Foreground"] {
        cluster.create(workload("Deployment", "web", 3));
        cluster.delete_by("Deployment", "web", policy);
        for kind in ["Deployment", "ReplicaSet", "Pod"] {
            assert_eq!(cluster.names(kind), Vec::<String>::new(), "{policy}");
        }
    }
}
