//! From the Python operator to this one, and back.

use anyhow::{Context, Result, ensure};
use dask_operator::api::{DaskCluster, DaskJob, DaskWorkerGroup};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;

use super::parts::{self, mk_job, mk_sized, running, scale, workers};
use crate::stage::Stage;
use crate::{chart, definitions};

/// Every pod of a cluster, its scheduler and workers.
const PODS: &str = "dask.org/cluster-name=live,dask.org/component in (scheduler,worker)";

pub(super) async fn and_rollback(stage: &Stage) -> Result<()> {
    let python = stage.cluster.tools.python_operator.as_ref().context("there is no Python operator")?;
    let tag = format!("image.tag={}", python.version);
    let team = stage.beside("team").await?;
    definitions::exchange(&stage.client, &definitions::of_chart(&python.chart)?).await?;
    stage.install_everywhere(&python.chart, &[&tag]).await?;
    team.create::<DaskJob>(&mk_job("done")?).await?;
    team.create::<DaskCluster>(&mk_sized("live", 2)?).await?;
    team.create::<DaskCluster>(&mk_sized("doomed", 0)?).await?;
    workers(&team, "live-default", 2).await?;
    let job = parts::ended(&team, "done").await?;
    ensure!(job["status"]["jobStatus"] == "Successful", "the job ended as {}", job["status"]);
    let work = parts::work(&team, "live", 0.8, &["2", "3", "2"]).await?;
    work.says("saw 2 workers").await?;
    let before = pods(&team, 3).await?;

    stage.upgrade(&chart::ours(), &["workerCarrier=deployment"]).await?;
    team.api::<DaskCluster>().delete("doomed", &DeleteParams::background()).await?;
    team.until_gone("doomed").await?;
    running(&team, "live").await?;
    let is_freed = |all: &[DaskCluster]| all.iter().all(|it| it.metadata.finalizers.is_none());
    team.until::<DaskCluster>("the Python operator's finalizers to go", "", is_freed).await?;
    ensure!(pods(&team, 3).await? == before, "the takeover replaced a pod");
    scale(&team, "live-default", 3).await?;
    work.says("saw 3 workers").await?;
    scale(&team, "live-default", 2).await?;
    work.succeeds().await?;
    workers(&team, "live-default", 2).await?;
    scale(&team, "live-default", 3).await?;
    workers(&team, "live-default", 3).await?;
    stage.nothing_was_refused().await?;
    let grown = pods(&team, 4).await?;

    stage.upgrade(&python.chart, &[&tag]).await?;
    // It acts on what it finds.
    scale(&team, "live-default", 4).await?;
    let all = workers(&team, "live-default", 4).await?;
    parts::ensure_never_restarted(&all)?;
    ensure!(grown.is_subset(&pods(&team, 5).await?), "the rollback replaced a pod");
    let job = serde_json::to_value(team.api::<DaskJob>().get("done").await?)?;
    ensure!(job["status"]["jobStatus"] == "Successful", "the finished job is {} again", job["status"]);
    let groups = team.count::<DaskWorkerGroup>("").await?;
    ensure!(groups == 1, "there are {groups} groups");
    parts::remove(&team, "live").await?;
    stage.uninstall().await
}

/// The pods of the cluster, of which there are so many, none ever restarted.
async fn pods(stage: &Stage, wanted: usize) -> Result<std::collections::BTreeSet<String>> {
    let found = stage.until::<Pod>("the cluster's pods", PODS, |pods: &[Pod]| pods.len() == wanted).await?;
    parts::ensure_never_restarted(&found)?;
    Ok(parts::uids(&found))
}
