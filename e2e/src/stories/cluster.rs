//! Clusters and their groups.

use anyhow::{Result, ensure};
use dask_operator::api::{DaskCluster, DaskWorkerGroup};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::mk_cluster;
use crate::stage::Stage;

pub(super) async fn lives_and_leaves_nothing(stage: &Stage) -> Result<()> {
    let name = "lives";
    stage.create::<DaskCluster>(&mk_cluster(name)?).await?;
    running(stage, name).await?;
    workers(stage, name, "lives-default", 2).await?;
    let services = stage.count::<Service>(&format!("dask.org/cluster-name={name}")).await?;
    ensure!(services == 1, "there are {services} Services instead of one");
    for replicas in [4, 1] {
        let patch = json!({"spec": {"worker": {"replicas": replicas}}});
        stage.patch::<DaskWorkerGroup>("lives-default", &patch).await?;
        workers(stage, name, "lives-default", replicas).await?;
    }
    stage.api::<DaskCluster>().delete(name, &DeleteParams::background()).await?;
    stage.until_gone(name).await
}

pub(super) async fn takes_a_second_group(stage: &Stage) -> Result<()> {
    let name = "grows";
    stage.create::<DaskCluster>(&mk_cluster(name)?).await?;
    let mut group: Value = serde_yaml::from_str(include_str!("../../../operator/examples/workergroup.yaml"))?;
    group["metadata"]["name"] = json!("grows-more");
    group["spec"]["cluster"] = json!(name);
    stage.create::<DaskWorkerGroup>(&group).await?;
    workers(stage, name, "grows-default", 2).await?;
    workers(stage, name, "grows-more", 1).await?;
    stage.api::<DaskCluster>().delete(name, &DeleteParams::background()).await?;
    stage.until_gone(name).await?;
    let groups = stage.until::<DaskWorkerGroup>("the second group to go", "", <[_]>::is_empty).await?;
    ensure!(groups.is_empty(), "a group outlived its cluster");
    Ok(())
}

/// Waits until the cluster says that it runs.
async fn running(stage: &Stage, name: &str) -> Result<()> {
    let is_running = |all: &[DaskCluster]| {
        all.iter().any(|cluster| {
            let cluster = serde_json::to_value(cluster).unwrap_or_default();
            cluster["metadata"]["name"] == name && cluster["status"]["phase"] == "Running"
        })
    };
    stage.until::<DaskCluster>("the cluster to be Running", "", is_running).await?;
    Ok(())
}

/// Waits until the group has so many workers and no more; where pods run, all of them run.
async fn workers(stage: &Stage, cluster: &str, group: &str, wanted: usize) -> Result<()> {
    let labels = format!(
        "dask.org/cluster-name={cluster},dask.org/workergroup-name={group},dask.org/component=worker"
    );
    let must_run = stage.runs_pods;
    let as_wanted = |pods: &[Pod]| {
        let is_running = |pod: &&Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.metadata.deletion_timestamp.is_none() && (!must_run || phase == Some("Running"))
        };
        pods.len() == wanted && pods.iter().filter(is_running).count() == wanted
    };
    let pods = stage.until::<Pod>(&format!("{wanted} workers of {group}"), &labels, as_wanted).await?;
    let prefix = format!("{group}-worker-");
    for pod in &pods {
        let name = pod.name_any();
        ensure!(name.starts_with(&prefix) && name.len() == prefix.len() + 10, "a worker is called {name}");
    }
    Ok(())
}
