//! Clusters and their groups.

use anyhow::{Result, ensure};
use dask_operator::api::{DaskCluster, DaskWorkerGroup};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::parts::{self, mk_cluster, mk_sized, running, scale, workers};
use crate::stage::Stage;

pub(super) async fn lives_and_leaves_nothing(stage: &Stage) -> Result<()> {
    let name = "lives";
    stage.create::<DaskCluster>(&mk_cluster(name)?).await?;
    running(stage, name).await?;
    well_named(stage, "lives-default", 2).await?;
    let services = stage.count::<Service>(&format!("dask.org/cluster-name={name}")).await?;
    ensure!(services == 1, "there are {services} Services instead of one");
    for replicas in [4, 1] {
        scale(stage, "lives-default", replicas).await?;
        well_named(stage, "lives-default", replicas).await?;
    }
    parts::remove(stage, name).await
}

pub(super) async fn takes_a_second_group(stage: &Stage) -> Result<()> {
    let name = "grows";
    stage.create::<DaskCluster>(&mk_sized(name, 1)?).await?;
    let mut group: Value = serde_yaml::from_str(include_str!("../../../operator/examples/workergroup.yaml"))?;
    group["metadata"]["name"] = json!("grows-more");
    group["spec"]["cluster"] = json!(name);
    stage.create::<DaskWorkerGroup>(&group).await?;
    well_named(stage, "grows-default", 1).await?;
    well_named(stage, "grows-more", 1).await?;
    // The scheduler knows both.
    parts::work(stage, name, 0.8, &["2"]).await?.succeeds().await?;
    parts::remove(stage, name).await?;
    stage.until::<DaskWorkerGroup>("the second group to go", "", <[_]>::is_empty).await?;
    Ok(())
}

pub(super) async fn goes_without_an_operator(stage: &Stage) -> Result<()> {
    stage.create::<DaskCluster>(&mk_sized("left", 1)?).await?;
    workers(stage, "left-default", 1).await?;
    stage.uninstall().await?;
    parts::remove(stage, "left").await
}

/// Waits until the group has so many workers, which have the names that are documented.
async fn well_named(stage: &Stage, group: &str, wanted: usize) -> Result<()> {
    let prefix = format!("{group}-worker-");
    for pod in workers(stage, group, wanted).await? {
        let name = pod.name_any();
        ensure!(name.starts_with(&prefix) && name.len() == prefix.len() + 10, "a worker is called {name}");
    }
    Ok(())
}
