//! What a ResearchLab is made of: a DaskCluster, as a function of the lab; and what its status says, as a function of the cluster.

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

/// Label on a cluster: the lab that it belongs to.
const LAB: &str = "example.org/lab";
/// Annotation on a cluster: hash of what the lab wanted when it was written. What others change on it meanwhile, as by
/// `kubectl scale`, stays until the lab wants something else.
const MADE_FROM: &str = "example.org/made-from";

/// The kind of one's own.
pub(crate) fn labs() -> ApiResource {
    resource("example.org", "ResearchLab", "researchlabs")
}

/// What it is made of.
pub(crate) fn clusters() -> ApiResource {
    resource("kubernetes.dask.org", "DaskCluster", "daskclusters")
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.into(),
        version: "v1".into(),
        api_version: format!("{group}/v1"),
        kind: kind.into(),
        plural: plural.into(),
    }
}

/// The cluster of a lab. The lab owns it: garbage collection takes it along.
pub(crate) fn cluster(lab: &DynamicObject) -> Value {
    let (name, uid) = (&lab.metadata.name, &lab.metadata.uid);
    let spec = &lab.data["spec"];
    let members = spec["members"].as_u64().unwrap_or(0);
    let container = |name: &str, command: &str| json!({"name": name, "image": spec["image"], "args": [command], "ports": [{"name": "http-dashboard", "containerPort": 8787}]});
    let spec = json!({
        "worker": {"replicas": 2 * members, "spec": {"containers": [container("worker", "dask-worker")]}},
        "scheduler": {
            "spec": {"containers": [container("scheduler", "dask-scheduler")]},
            "service": {"ports": [
                {"name": "tcp-comm", "port": 8786, "targetPort": 8786},
                {"name": "http-dashboard", "port": 8787, "targetPort": "http-dashboard"},
            ]},
        },
    });
    json!({
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {
            "name": name,
            "namespace": lab.metadata.namespace,
            "labels": {LAB: name},
            "annotations": {MADE_FROM: dask_operator::hash::of(&spec)},
            "ownerReferences": [{
                "apiVersion": "example.org/v1", "kind": "ResearchLab", "name": name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    })
}

/// Whether a cluster is a lab's.
pub(crate) fn owns(lab: &DynamicObject, cluster: &DynamicObject) -> bool {
    let owners = cluster.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| Some(&owner.uid) == lab.metadata.uid.as_ref())
}

/// Whether a cluster is as it was wanted last.
pub(crate) fn is_made_from(cluster: &DynamicObject, wanted: &Value) -> bool {
    let annotations = cluster.metadata.annotations.as_ref();
    let made_from = annotations.and_then(|annotations| annotations.get(MADE_FROM)).map(String::as_str);
    made_from == wanted["metadata"]["annotations"][MADE_FROM].as_str()
}

/// The status of a lab, by that of its cluster. Without one it is still to be made.
pub(crate) fn status(lab: &DynamicObject, cluster: Option<&DynamicObject>) -> Value {
    let Some(cluster) = cluster else {
        return json!({"phase": "Pending", "address": null, "readyWorkers": 0});
    };
    if !owns(lab, cluster) {
        return json!({"phase": "NameTaken", "address": null, "readyWorkers": 0});
    }
    let status = &cluster.data["status"];
    json!({
        "phase": status["phase"].as_str().unwrap_or("Pending"),
        "address": status["schedulerAddress"],
        "readyWorkers": status["readyWorkers"].as_u64().unwrap_or(0),
    })
}
