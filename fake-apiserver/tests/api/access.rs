//! Who may do what, as far as a real server cannot be asked: the rest is a topic of tests/differences.

use fake_apiserver::request::{Request, User};
use serde_json::json;

use crate::Cluster;

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
