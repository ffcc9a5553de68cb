//! What is kept of a story that failed: its objects and the logs of its pods.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, LogParams};

use crate::stage::Stage;

/// The kinds that are kept.
const KINDS: [(&str, &str, &str); 14] = [
    ("kubernetes.dask.org", "v1", "DaskCluster"),
    ("kubernetes.dask.org", "v1", "DaskWorkerGroup"),
    ("kubernetes.dask.org", "v1", "DaskJob"),
    ("kubernetes.dask.org", "v1", "DaskAutoscaler"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "ReplicaSet"),
    ("batch", "v1", "Job"),
    ("", "v1", "Pod"),
    ("", "v1", "Service"),
    ("", "v1", "ResourceQuota"),
    ("", "v1", "Event"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
];

/// Writes the objects of the stage's namespaces, one file for each kind, and its pods' logs, below `folder`.
///
/// # Errors
/// When the cluster does not answer or a file cannot be written.
pub async fn keep(stage: &Stage, folder: &Path) -> Result<()> {
    for namespace in stage.namespaces() {
        let folder = folder.join(&namespace);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api = Api::<DynamicObject>::namespaced_with(stage.client.clone(), &namespace, &resource);
            let all =
                api.list(&ListParams::default()).await.with_context(|| format!("cannot list {kind}"))?;
            if !all.items.is_empty() {
                fs::write(folder.join(format!("{kind}.yaml")), serde_yaml::to_string(&all)?)?;
            }
        }
        let pods = Api::<Pod>::namespaced(stage.client.clone(), &namespace);
        for pod in pods.list(&ListParams::default()).await? {
            let name = pod.name_any();
            // A pod that never started has none, and says why among the objects.
            if let Ok(log) = pods.logs(&name, &LogParams::default()).await {
                fs::write(folder.join(format!("{name}.log")), log)?;
            }
            let before = LogParams { previous: true, ..LogParams::default() };
            if let Ok(log) = pods.logs(&name, &before).await {
                fs::write(folder.join(format!("{name}.previous.log")), log)?;
            }
        }
    }
    Ok(())
}
