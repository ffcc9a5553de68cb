//! The operator for everybody.

use anyhow::{Result, ensure};
use dask_operator::api::{DaskCluster, DaskJob};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, ListParams};

use super::parts::{self, mk_job, mk_sized, workers};
use crate::chart::{self, OPERATOR};
use crate::stage::Stage;

pub(super) async fn for_all_namespaces(stage: &Stage) -> Result<()> {
    let team = stage.beside("team").await?;
    stage.install_everywhere(&chart::ours(), &[]).await?;
    team.create::<DaskCluster>(&mk_sized("theirs", 1)?).await?;
    team.create::<DaskJob>(&mk_job("once")?).await?;
    workers(&team, "theirs-default", 1).await?;
    let job = parts::ended(&team, "once").await?;
    ensure!(job["status"]["jobStatus"] == "Successful", "the job ended as {}", job["status"]);
    stage.nothing_was_refused().await?;
    // The clusters outlive the operator.
    stage.uninstall().await?;
    workers(&team, "theirs-default", 1).await?;
    let left = Api::<ClusterRole>::all(stage.client.clone()).list(&ListParams::default()).await?;
    let roles = left.items.iter().filter_map(|role| role.metadata.name.clone());
    let left = Api::<ClusterRoleBinding>::all(stage.client.clone()).list(&ListParams::default()).await?;
    let bindings = left.items.iter().filter_map(|binding| binding.metadata.name.clone());
    let left: Vec<_> = roles.chain(bindings).filter(|name| name.starts_with(OPERATOR)).collect();
    ensure!(left.is_empty(), "the release left {}", left.join(", "));
    parts::remove(&team, "theirs").await
}
