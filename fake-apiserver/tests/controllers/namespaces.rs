use serde_json::json;

use super::cluster::{Cluster, condition, pod, workload};

fn in_namespace(mut object: serde_json::Value) -> serde_json::Value {
    object["metadata"]["namespace"] = "team".into();
    object
}

#[test]
fn every_namespace_has_a_default_service_account_and_the_root_certificate() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.names("ServiceAccount"), ["default"]);
    assert_eq!(cluster.names("ConfigMap"), ["kube-root-ca.crt"]);
    cluster.delete("ServiceAccount", "default");
    assert_eq!(cluster.names("ServiceAccount"), ["default"]);
}

#[test]
fn an_aggregated_role_follows_its_parts() {
    let mut cluster = Cluster::new();
    let rule = |resource: &str| json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]});
    let part = |name: &str| json!({"kind": "ClusterRole", "metadata": {"name": name, "labels": {"part": "yes"}}, "rules": [rule(name)]});
    let selector = json!({"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]});
    cluster
        .create(json!({"kind": "ClusterRole", "metadata": {"name": "whole"}, "aggregationRule": selector}));
    cluster.create(part("pods"));
    cluster.create(part("nodes"));
    assert_eq!(cluster.get("ClusterRole", "whole")["rules"], json!([rule("nodes"), rule("pods")]));
    cluster.delete("ClusterRole", "nodes");
    assert_eq!(cluster.get("ClusterRole", "whole")["rules"], json!([rule("pods")]));
}

#[test]
fn a_token_secret_is_filled_and_goes_with_its_account() {
    let mut cluster = Cluster::new();
    let secret = |account: &str| {
        json!({"kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": account}}})
    };
    cluster.create(secret("nobody"));
    assert_eq!(cluster.find("Secret", "token"), None, "there is no such account");
    cluster.create(json!({"kind": "ServiceAccount", "metadata": {"name": "bot"}}));
    cluster.create(secret("bot"));
    let made = cluster.get("Secret", "token");
    let uid = cluster.get("ServiceAccount", "bot")["metadata"]["uid"].clone();
    assert_eq!(made["metadata"]["annotations"]["kubernetes.io/service-account.uid"], uid);
    assert_eq!(made["data"]["namespace"], "ZGVmYXVsdA==");
    let token = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        made["data"]["token"].as_str().unwrap(),
    );
    let token = String::from_utf8(token.unwrap()).unwrap();
    let shown = cluster.server.authenticate(cluster.now, &token, &[]).unwrap().unwrap();
    assert_eq!(shown.user.name, "system:serviceaccount:default:bot");
    cluster.delete("ServiceAccount", "bot");
    assert_eq!(cluster.find("Secret", "token"), None);
}

#[test]
fn a_deleted_namespace_takes_its_contents_along() {
    let mut cluster = Cluster::new();
    cluster.create(json!({"kind": "Namespace", "metadata": {"name": "team"}}));
    cluster.create(in_namespace(workload("Deployment", "web", 3)));
    cluster.create(in_namespace(pod("alone")));
    cluster.delete("Namespace", "team");
    assert_eq!(cluster.find("Namespace", "team"), None);
    let left = cluster.server.storage().collections();
    let left: Vec<String> = left
        .flat_map(|(resource, objects)| {
            objects.in_namespace("team").map(move |o| format!("{resource}/{}", o.key.name))
        })
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_namespace_waits_for_finalizers_and_says_so() {
    let mut cluster = Cluster::new();
    cluster.create(json!({"kind": "Namespace", "metadata": {"name": "team"}}));
    let held = json!({"name": "held", "finalizers": ["example.com/hold"]});
    cluster.create(in_namespace(json!({"kind": "ConfigMap", "metadata": held})));
    cluster.delete("Namespace", "team");
    let namespace = cluster.get("Namespace", "team");
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert_eq!(
        condition(&namespace, "NamespaceContentRemaining")["message"],
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    assert_eq!(
        condition(&namespace, "NamespaceFinalizersRemaining")["message"],
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    );
    let patch = json!({"metadata": {"finalizers": null}});
    let request = fake_apiserver::request::Request::patch(
        fake_apiserver::request::PatchType::Merge,
        "v1",
        "configmaps",
        patch,
    );
    cluster.send(&request.namespace("team").name("held")).unwrap();
    cluster.settle();
    assert_eq!(cluster.find("Namespace", "team"), None);
}
