//! What stories that were cut off have left in a cluster that stays.

use std::fmt::Debug;

use anyhow::{Context, Result};
use dask_operator::api::{DaskAutoscaler, DaskCluster, DaskJob, DaskWorkerGroup};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The annotation by which Helm knows whose an object is.
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Deletes the namespaces whose names begin so, and what releases in them have at cluster scope. The namespaces that are still
/// there, also those that go by now. Finalizers of our kinds are taken away first: whoever set them goes with the namespace.
///
/// # Errors
/// When the cluster refuses it.
pub async fn remove(client: &Client, prefix: &str) -> Result<Vec<String>> {
    let ours = |name: &str| name.starts_with(prefix);
    let of_release = |annotation: Option<&String>| annotation.is_some_and(|namespace| ours(namespace));
    delete::<ClusterRoleBinding>(client, |binding| of_release(binding.annotations().get(RELEASE_NAMESPACE)))
        .await?;
    delete::<ClusterRole>(client, |role| of_release(role.annotations().get(RELEASE_NAMESPACE))).await?;
    release::<DaskCluster>(client, ours).await?;
    release::<DaskWorkerGroup>(client, ours).await?;
    release::<DaskJob>(client, ours).await?;
    release::<DaskAutoscaler>(client, ours).await?;
    delete::<Namespace>(client, |namespace| ours(&namespace.name_any())).await
}

/// Takes the finalizers of a kind away in these namespaces, where the cluster has the kind.
async fn release<K>(client: &Client, ours: impl Fn(&str) -> bool) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let all = match Api::<K>::all(client.clone()).list_metadata(&ListParams::default()).await {
        Ok(all) => all,
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for object in all.items.iter().filter(|object| !object.finalizers().is_empty()) {
        let Some(namespace) = object.namespace().filter(|namespace| ours(namespace)) else { continue };
        let api = Api::<K>::namespaced(client.clone(), &namespace);
        let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let (kind, name) = (K::kind(&()), object.name_any());
        let patched = api.patch_metadata(&name, &PatchParams::default(), &none).await;
        patched.with_context(|| format!("cannot take the finalizers of {kind} {namespace}/{name} away"))?;
    }
    Ok(())
}

/// Deletes all that are meant; their names.
async fn delete<K>(client: &Client, meant: impl Fn(&K) -> bool) -> Result<Vec<String>>
where
    K: kube::Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
{
    let all = Api::<K>::all(client.clone());
    let mut names = Vec::new();
    for object in all.list(&ListParams::default()).await?.items.iter().filter(|object| meant(object)) {
        let name = object.name_any();
        if object.meta().deletion_timestamp.is_none() {
            let deleted = all.delete(&name, &DeleteParams::background()).await;
            deleted.with_context(|| format!("cannot delete {} {name}", K::kind(&())))?;
        }
        names.push(name);
    }
    Ok(names)
}
