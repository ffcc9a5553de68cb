use serde_json::json;

use super::cluster::{Cluster, pod};

#[test]
fn a_claim_goes_when_the_last_pod_that_uses_it_has_gone() {
    let mut cluster = Cluster::new();
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    for name in ["free", "used"] {
        cluster.create(json!({"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}));
    }
    let mut user = pod("user");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}]);
    cluster.create(user);
    cluster.delete("PersistentVolumeClaim", "free");
    cluster.delete("PersistentVolumeClaim", "used");
    assert_eq!(cluster.names("PersistentVolumeClaim"), ["used"]);
    cluster.delete("Pod", "user");
    cluster.pass(30);
    assert!(cluster.names("PersistentVolumeClaim").is_empty());
}

#[test]
fn a_namespace_with_claims_goes() {
    let mut cluster = Cluster::new();
    cluster.create(json!({"kind": "Namespace", "metadata": {"name": "space"}}));
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let metadata = json!({"name": "data", "namespace": "space"});
    cluster.create(json!({"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}));
    cluster.delete("Namespace", "space");
    assert!(cluster.find("Namespace", "space").is_none());
}
