//! Who may do what: answers of a real control plane with `--authorization-mode=RBAC`, and what it could not be asked.

use fake_apiserver::request::{Request, User};
use fake_apiserver::server::Config;
use serde_json::json;

use crate::Cluster;
use crate::reference::{Step, replay};

fn cluster() -> Cluster {
    let mut cluster = Cluster::with(Config { rbac: true, ..Config::default() });
    for name in ["ref", "other"] {
        cluster.ok(&Request::create("v1", "namespaces", json!({"metadata": {"name": name}})));
    }
    cluster
}

#[test]
fn everything_that_roles_decide_is_decided_as_on_a_real_server() {
    let steps: Vec<Step> = serde_json::from_str(include_str!("access.json")).unwrap();
    let differs = [("must be empty", "the message holds managed fields with their times")];
    let found = replay(&mut cluster(), &steps, &differs);
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}

#[test]
fn without_rbac_everything_is_allowed_and_said_to_be() {
    let mut cluster = Cluster::new();
    let nobody = User::anonymous();
    cluster.ok(&Request::create(
        "v1",
        "configmaps",
        json!({"metadata": {"name": "x", "namespace": "default"}}),
    )
    .user(nobody.clone()));
    let review = json!({"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}});
    let review = Request::create("authorization.k8s.io/v1", "selfsubjectaccessreviews", review).user(nobody);
    assert_eq!(cluster.ok(&review)["status"], json!({"allowed": true}));
}
