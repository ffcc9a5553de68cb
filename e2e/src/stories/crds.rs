//! Definitions that change under clusters.

use anyhow::{Context, Result, ensure};
use dask_operator::api::DaskCluster;
use serde_json::{Value, json};

use super::parts::{self, mk_sized, running, scale, workers};
use crate::stage::Stage;
use crate::{chart, definitions};

pub(super) async fn are_exchanged_and_back(stage: &Stage) -> Result<()> {
    let python = stage.cluster.tools.python_operator.as_ref().context("there is no Python operator")?;
    let theirs = definitions::of_chart(&python.chart)?;
    let team = stage.beside("team").await?;
    definitions::exchange(&stage.client, &theirs).await?;
    stage.install_everywhere(&chart::ours(), &[]).await?;
    team.create::<DaskCluster>(&mk_sized("stays", 1)?).await?;
    running(&team, "stays").await?;
    workers(&team, "stays-default", 1).await?;
    let before = identity(&team).await?;

    stage.upgrade(&chart::ours(), &["crds.upgrade=true"]).await?;
    ensure!(identity(&team).await? == before, "the upgrade changed a stored cluster");
    // What only our definitions know can be stored now, and is.
    let strategy = json!({"spec": {"worker": {"updateStrategy": {"type": "OnDelete"}}}});
    team.patch::<DaskCluster>("stays", &strategy).await?;
    let with_strategy = identity(&team).await?;
    ensure!(with_strategy != before, "the new definitions drop updateStrategy");
    scale(&team, "stays-default", 2).await?;
    let pods = parts::uids(&workers(&team, "stays-default", 2).await?);

    definitions::exchange(&stage.client, &theirs).await?;
    // A field of ours is not shown any more; everything else is as it was.
    ensure!(identity(&team).await? == before, "the way back changed a stored cluster");
    running(&team, "stays").await?;
    ensure!(parts::uids(&workers(&team, "stays-default", 2).await?) == pods, "a worker was replaced");
    scale(&team, "stays-default", 1).await?;
    workers(&team, "stays-default", 1).await?;
    stage.nothing_was_refused().await?;
    parts::remove(&team, "stays").await
}

/// What must stay: which object it is, and what its user wrote.
async fn identity(stage: &Stage) -> Result<Value> {
    let cluster = serde_json::to_value(stage.api::<DaskCluster>().get("stays").await?)?;
    Ok(json!({"uid": cluster["metadata"]["uid"], "spec": cluster["spec"]}))
}
