use serde_json::json;

use super::cluster::{Cluster, workload};

fn slow(replicas: i64) -> serde_json::Value {
    let mut set = workload("StatefulSet", "db", replicas);
    set["spec"]["serviceName"] = "db".into();
    set["spec"]["template"]["metadata"]["annotations"] = json!({"fake-apiserver.dev/start-after": "1s"});
    set
}

#[test]
fn pods_come_one_after_the_other_and_go_the_other_way() {
    let mut cluster = Cluster::new();
    cluster.create(slow(3));
    assert_eq!(cluster.names("Pod"), ["db-0"]);
    cluster.pass(1);
    assert_eq!(cluster.names("Pod"), ["db-0", "db-1"]);
    cluster.pass(2);
    let set = cluster.get("StatefulSet", "db");
    for field in ["replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"] {
        assert_eq!(set["status"][field], 3, "{field}");
    }
    assert_eq!(set["status"]["currentRevision"], set["status"]["updateRevision"]);
    cluster.patch("StatefulSet", "db", json!({"spec": {"replicas": 1}}));
    assert_eq!(cluster.names("Pod"), ["db-0"]);
}

#[test]
fn pods_carry_their_number_and_revision() {
    let mut cluster = Cluster::new();
    cluster.create(slow(1));
    let set = cluster.get("StatefulSet", "db");
    let pod = cluster.get("Pod", "db-0");
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-0");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(labels["controller-revision-hash"], set["status"]["updateRevision"]);
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-0"), &json!("db")));
}

#[test]
fn parallel_sets_do_not_wait() {
    let mut cluster = Cluster::new();
    let mut set = slow(3);
    set["spec"]["podManagementPolicy"] = "Parallel".into();
    cluster.create(set);
    assert_eq!(cluster.names("Pod").len(), 3);
}

#[test]
fn an_update_replaces_pods_from_the_last_to_the_partition() {
    let mut cluster = Cluster::new();
    let mut set = slow(3);
    set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    cluster.create(set);
    cluster.pass(3);
    let containers = json!([{"name": "main", "image": "example.com/image:2"}]);
    cluster.patch("StatefulSet", "db", json!({"spec": {"template": {"spec": {"containers": containers}}}}));
    cluster.pass(5);
    let images: Vec<_> =
        cluster.list("Pod").iter().map(|pod| pod["spec"]["containers"][0]["image"].clone()).collect();
    assert_eq!(images, ["example.com/image:1", "example.com/image:2", "example.com/image:2"]);
    assert_eq!(cluster.get("StatefulSet", "db")["status"]["updatedReplicas"], 2);
    assert_eq!(cluster.names("ControllerRevision").len(), 2);
}

#[test]
fn a_deleted_pod_comes_back_under_its_name() {
    let mut cluster = Cluster::new();
    cluster.create(slow(2));
    cluster.pass(2);
    let before = cluster.get("Pod", "db-0")["metadata"]["uid"].clone();
    cluster.delete("Pod", "db-0");
    cluster.pass(1);
    assert_ne!(cluster.get("Pod", "db-0")["metadata"]["uid"], before);
}

#[test]
fn a_pod_gets_its_claims_before_its_other_volumes_and_events_say_so() {
    let mut cluster = Cluster::new();
    let mut set = slow(1);
    set["spec"]["template"]["spec"]["volumes"] = json!([{"name": "own", "emptyDir": {}}]);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    cluster.create(set);
    let pod = cluster.get("Pod", "db-0");
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let names: Vec<&str> = volumes.iter().filter_map(|volume| volume["name"].as_str()).collect();
    assert_eq!(names[..2], ["data", "own"]);
    cluster.patch("StatefulSet", "db", json!({"spec": {"replicas": 0}}));
    let events = cluster.list("Event");
    let said: Vec<&str> = events
        .iter()
        .filter(|event| event["involvedObject"]["kind"] == "StatefulSet")
        .filter_map(|event| event["message"].as_str())
        .collect();
    for message in [
        "Create Claim data-db-0 Pod db-0 in StatefulSet db success",
        "Create Pod db-0 in StatefulSet db successful",
        "Delete Pod db-0 in StatefulSet db successful",
    ] {
        assert!(said.contains(&message), "{message}: {said:?}");
    }
}
