use serde_json::{Value, json};

use super::cluster::{Cluster, owner};

fn config_map(name: &str, owners: &[Value]) -> Value {
    json!({"kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}})
}

#[test]
fn dependents_go_with_their_owner_and_theirs_with_them() {
    let mut cluster = Cluster::new();
    let root = cluster.create(config_map("root", &[]));
    let child = cluster.create(config_map("child", &[owner(&root, false)]));
    cluster.create(config_map("grandchild", &[owner(&child, true)]));
    cluster.delete("ConfigMap", "root");
    assert_eq!(cluster.names("ConfigMap"), ["kube-root-ca.crt"]);
}

#[test]
fn a_foreground_deletion_waits_for_blocking_dependents() {
    let mut cluster = Cluster::new();
    let root = cluster.create(config_map("root", &[]));
    let mut child = config_map("child", &[owner(&root, true)]);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(child);
    cluster.delete_by("ConfigMap", "root", "Foreground");
    let held = cluster.get("ConfigMap", "root");
    assert_eq!(held["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(cluster.get("ConfigMap", "child")["metadata"]["deletionTimestamp"].is_string());
    cluster.patch("ConfigMap", "child", json!({"metadata": {"finalizers": null}}));
    assert_eq!(cluster.find("ConfigMap", "child"), None);
    assert_eq!(cluster.find("ConfigMap", "root"), None);
}

#[test]
fn a_foreground_deletion_goes_down_through_generations() {
    let mut cluster = Cluster::new();
    let root = cluster.create(config_map("root", &[]));
    let child = cluster.create(config_map("child", &[owner(&root, true)]));
    let mut leaf = config_map("leaf", &[owner(&child, true)]);
    leaf["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(leaf);
    cluster.delete_by("ConfigMap", "root", "Foreground");
    let middle = cluster.get("ConfigMap", "child");
    assert_eq!(middle["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    cluster.patch("ConfigMap", "leaf", json!({"metadata": {"finalizers": null}}));
    assert_eq!(cluster.names("ConfigMap"), ["kube-root-ca.crt"]);
}

#[test]
fn a_foreground_deletion_does_not_wait_for_dependents_that_do_not_block() {
    let mut cluster = Cluster::new();
    let root = cluster.create(config_map("root", &[]));
    let mut child = config_map("child", &[owner(&root, false)]);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(child);
    cluster.delete_by("ConfigMap", "root", "Foreground");
    assert_eq!(cluster.find("ConfigMap", "root"), None);
    assert!(cluster.get("ConfigMap", "child")["metadata"]["deletionTimestamp"].is_string());
}

#[test]
fn orphans_lose_their_reference_and_stay() {
    let mut cluster = Cluster::new();
    let root = cluster.create(config_map("root", &[]));
    cluster.create(config_map("child", &[owner(&root, true)]));
    cluster.delete_by("ConfigMap", "root", "Orphan");
    assert_eq!(cluster.find("ConfigMap", "root"), None);
    let child = cluster.get("ConfigMap", "child");
    assert!(child["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty));
    assert!(child["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn an_object_whose_owner_never_was_is_deleted() {
    let mut cluster = Cluster::new();
    let mut ghost = config_map("ghost", &[]);
    ghost["apiVersion"] = "v1".into();
    ghost["metadata"]["uid"] = "no-such-uid".into();
    cluster.create(config_map("child", &[owner(&ghost, false)]));
    assert_eq!(cluster.find("ConfigMap", "child"), None);
}

#[test]
fn another_object_under_the_owners_name_is_no_owner() {
    let mut cluster = Cluster::new();
    let mut root = cluster.create(config_map("root", &[]));
    root["metadata"]["uid"] = "another-uid".into();
    cluster.create(config_map("child", &[owner(&root, false)]));
    assert_eq!(cluster.find("ConfigMap", "child"), None);
    assert!(cluster.find("ConfigMap", "root").is_some());
}

#[test]
fn an_owner_in_another_namespace_counts_as_absent() {
    let mut cluster = Cluster::new();
    cluster.create(json!({"kind": "Namespace", "metadata": {"name": "other"}}));
    let mut root = config_map("root", &[]);
    root["metadata"]["namespace"] = "other".into();
    let root = cluster.create(root);
    cluster.create(config_map("child", &[owner(&root, false)]));
    assert_eq!(cluster.find("ConfigMap", "child"), None);
}

#[test]
fn a_cluster_scoped_owner_owns_across_namespaces() {
    let mut cluster = Cluster::new();
    let root = cluster.create(json!({"kind": "ClusterRole", "metadata": {"name": "root"}, "rules": []}));
    cluster.create(config_map("child", &[owner(&root, false)]));
    assert!(cluster.find("ConfigMap", "child").is_some());
    cluster.delete("ClusterRole", "root");
    assert_eq!(cluster.find("ConfigMap", "child"), None);
}

#[test]
fn a_namespaced_owner_of_a_cluster_scoped_object_proves_nothing() {
    let mut cluster = Cluster::new();
    let root = cluster.create(config_map("root", &[]));
    let metadata = json!({"name": "child", "ownerReferences": [owner(&root, false)]});
    cluster.create(json!({"kind": "ClusterRole", "metadata": metadata, "rules": []}));
    cluster.delete("ConfigMap", "root");
    assert!(cluster.find("ClusterRole", "child").is_some());
}

#[test]
fn one_owner_that_is_left_keeps_the_object() {
    let mut cluster = Cluster::new();
    let one = cluster.create(config_map("one", &[]));
    let two = cluster.create(config_map("two", &[]));
    cluster.create(config_map("child", &[owner(&one, false), owner(&two, false)]));
    cluster.delete("ConfigMap", "one");
    let child = cluster.get("ConfigMap", "child");
    assert_eq!(child["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    cluster.delete("ConfigMap", "two");
    assert_eq!(cluster.find("ConfigMap", "child"), None);
}
