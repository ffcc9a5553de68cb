//! Work that goes on while its cluster changes.

use anyhow::{Result, ensure};
use dask_operator::api::DaskCluster;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::parts::{self, mk_sized, scale, worker_labels, workers};
use crate::stage::{Stage, phase};

pub(super) async fn survives_scaling(stage: &Stage) -> Result<()> {
    stage.create::<DaskCluster>(&mk_sized("busy", 1)?).await?;
    let work = parts::work(stage, "busy", 0.8, &["1", "4", "2"]).await?;
    work.says("saw 1 workers").await?;
    for replicas in [4, 2] {
        scale(stage, "busy-default", replicas).await?;
        work.says(&format!("saw {replicas} workers")).await?;
    }
    work.succeeds().await?;
    workers(stage, "busy-default", 2).await?;
    parts::remove(stage, "busy").await
}

pub(super) async fn survives_a_rolling_edit(stage: &Stage) -> Result<()> {
    stage.create::<DaskCluster>(&mk_sized("edited", 2)?).await?;
    let before = parts::uids(&workers(stage, "edited-default", 2).await?);
    let work = parts::work(stage, "edited", 0.8, &["2", "1"]).await?;
    work.says("saw 2 workers").await?;
    let mut worker = mk_sized("edited", 2)?["spec"]["worker"].take();
    worker["updateStrategy"] = json!({"type": "RollingUpdate"});
    worker["spec"]["containers"][0]["env"] = json!([{"name": "EDITED", "value": "yes"}]);
    stage.patch::<DaskCluster>("edited", &json!({"spec": {"worker": worker}})).await?;
    let edited = |pod: &Pod| {
        let value = serde_json::to_value(pod).unwrap_or_default();
        let env = value["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
        env.iter().any(|each| each["name"] == "EDITED") && phase(pod) == "Running"
    };
    let all_edited = |pods: &[Pod]| pods.len() == 2 && pods.iter().all(edited);
    let labels = worker_labels("edited-default");
    let after = stage.until::<Pod>("two workers of the new template", &labels, all_edited).await?;
    ensure!(before.is_disjoint(&parts::uids(&after)), "a worker was edited in its place");
    scale(stage, "edited-default", 1).await?;
    work.succeeds().await?;
    parts::remove(stage, "edited").await
}

pub(super) async fn ends_when_idle(stage: &Stage) -> Result<()> {
    let mut cluster = mk_sized("idle", 1)?;
    cluster["spec"]["idleTimeout"] = json!(10);
    // One task that takes longer than the timeout: a cluster that works is not idle.
    stage.create::<DaskCluster>(&cluster).await?;
    workers(stage, "idle-default", 1).await?;
    let work =
        crate::program::Program::start(stage, "work", LONG, &[&parts::scheduler(stage, "idle")]).await?;
    work.succeeds().await?;
    stage.until_gone("idle").await
}

/// One task of twenty seconds.
const LONG: &str = "import sys, time\nfrom distributed import Client\nwith Client(sys.argv[1], timeout=180) as client:\n    \
                    assert client.submit(lambda: time.sleep(20) or 42).result() == 42\n";
