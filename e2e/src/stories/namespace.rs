//! An operator of one namespace.

use anyhow::{Result, ensure};
use dask_operator::api::DaskCluster;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::parts::{self, mk_sized, running, workers};
use crate::chart::OPERATOR;
use crate::stage::Stage;

pub(super) async fn is_kept_to(stage: &Stage) -> Result<()> {
    let other = stage.beside("other").await?;
    let foreign = other.create::<DaskCluster>(&mk_sized("foreign", 1)?).await?;
    stage.create::<DaskCluster>(&mk_sized("own", 1)?).await?;
    running(stage, "own").await?;
    workers(stage, "own-default", 1).await?;
    // The one that was made before is as it was.
    let now = other.api::<DaskCluster>().get("foreign").await?;
    ensure!(
        foreign.metadata.resource_version == now.metadata.resource_version,
        "a foreign cluster was touched"
    );
    for (namespace, group, resource) in [
        (Some(&other.namespace), "", "pods"),
        (Some(&other.namespace), "kubernetes.dask.org", "daskclusters"),
        (None, "", "namespaces"),
        (None, "kubernetes.dask.org", "daskclusters"),
        (None, "apiextensions.k8s.io", "customresourcedefinitions"),
    ] {
        ensure!(
            !may_list(stage, namespace, group, resource).await?,
            "the operator may list {resource} in {namespace:?}"
        );
    }
    ensure!(may_list(stage, Some(&stage.namespace), "", "pods").await?, "the operator may not list its pods");
    parts::remove(stage, "own").await
}

/// Whether the operator's service account may list these; in no namespace: in all, or outside of them.
async fn may_list(stage: &Stage, namespace: Option<&String>, group: &str, resource: &str) -> Result<bool> {
    let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
        "user": format!("system:serviceaccount:{}:{OPERATOR}", stage.namespace),
        "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{}", stage.namespace), "system:authenticated"],
        "resourceAttributes": {"verb": "list", "group": group, "resource": resource, "namespace": namespace},
    }}))?;
    let reviews = Api::<SubjectAccessReview>::all(stage.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
