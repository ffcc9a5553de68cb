//! What admission adds and refuses, as a real control plane does.

use fake_apiserver::request::Request;
use serde_json::json;

use crate::Cluster;
use crate::reference::{Step, replay};

#[test]
fn admission_is_that_of_a_real_server() {
    let steps: Vec<Step> = serde_json::from_str(include_str!("admission.json")).unwrap();
    let mut cluster = Cluster::new();
    cluster.ok(&Request::create("v1", "namespaces", json!({"metadata": {"name": "ref"}})));
    let account = json!({"metadata": {"name": "default", "namespace": "ref"}});
    cluster.ok(&Request::create("v1", "serviceaccounts", account));
    let authority = json!({"metadata": {"name": "kube-root-ca.crt", "namespace": "ref"}});
    cluster.ok(&Request::create("v1", "configmaps", authority));
    let differs = [
        (".metadata.managedFields", "not recorded here"),
        ("quantities must match the regular expression", "the words of Go's decoder"),
    ];
    let found = replay(&mut cluster, &steps, &differs);
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}
