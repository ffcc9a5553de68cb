//! What is killed in the middle.

use anyhow::{Result, ensure};
use dask_operator::api::DaskCluster;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;

use super::parts::{self, leader, mk_sized, running, scale, workers};
use crate::chart::{OPERATOR, OPERATOR_LABELS};
use crate::program::Program;
use crate::stage::Stage;

/// What goes away for a moment.
#[derive(Clone, Copy)]
enum Disruption {
    Operator,
    ApiServer,
}

pub(super) async fn operator_is_killed(stage: &Stage) -> Result<()> {
    stage.create::<DaskCluster>(&mk_sized("orphan", 1)?).await?;
    let work = parts::work(stage, "orphan", 0.8, &["1", "4", "2"]).await?;
    through(stage, "orphan", &work, Disruption::Operator).await?;
    work.succeeds().await?;
    parts::remove(stage, "orphan").await
}

pub(super) async fn api_server_restarts(stage: &Stage) -> Result<()> {
    stage.create::<DaskCluster>(&mk_sized("patient", 1)?).await?;
    let work = parts::work(stage, "patient", 0.8, &["1", "4", "2"]).await?;
    through(stage, "patient", &work, Disruption::ApiServer).await?;
    work.succeeds().await?;
    parts::remove(stage, "patient").await
}

pub(super) async fn another_takes_over(stage: &Stage) -> Result<()> {
    stage.install_replicas(2).await?;
    stage.create::<DaskCluster>(&mk_sized("led", 1)?).await?;
    running(stage, "led").await?;
    let first = leader(stage, OPERATOR, None).await?;
    kill(stage, |pod| first.contains(&pod.name_any())).await?;
    let second = leader(stage, OPERATOR, Some(&first)).await?;
    ensure!(first != second, "the same operator leads");
    scale(stage, "led-default", 2).await?;
    workers(stage, "led-default", 2).await?;
    parts::remove(stage, "led").await
}

/// Makes the group larger and smaller, with a disruption right after each request.
async fn through(stage: &Stage, cluster: &str, work: &Program<'_>, disruption: Disruption) -> Result<()> {
    let group = format!("{cluster}-default");
    work.says("saw 1 workers").await?;
    for replicas in [4, 2] {
        scale(stage, &group, replicas).await?;
        match disruption {
            Disruption::Operator => kill(stage, |_| true).await?,
            Disruption::ApiServer => {
                stage.cluster.restart()?;
                stage.until_it_answers().await?;
            }
        }
        work.says(&format!("saw {replicas} workers")).await?;
        workers(stage, &group, replicas).await?;
    }
    Ok(())
}

/// Kills operators, as the loss of their node does.
async fn kill(stage: &Stage, which: impl Fn(&Pod) -> bool) -> Result<()> {
    let pods = stage.until::<Pod>("an operator to kill", OPERATOR_LABELS, |pods| !pods.is_empty()).await?;
    let mut killed = 0;
    for pod in pods.iter().filter(|pod| which(pod)) {
        stage.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        killed += 1;
    }
    ensure!(killed > 0, "no operator was killed");
    Ok(())
}
