//! Jobs.

use anyhow::{Result, ensure};
use dask_operator::api::DaskJob;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, LogParams};
use serde_json::json;

use super::parts::{ended, mk_job};
use crate::stage::Stage;

/// What the shipped job computes.
const RESULT: &str = "sum of squares of 0..1999999 = 2666664666667000000";

pub(super) async fn succeeds(stage: &Stage) -> Result<()> {
    let name = "computes";
    stage.create::<DaskJob>(&mk_job(name)?).await?;
    let job = ended(stage, name).await?;
    ensure!(job["status"]["jobStatus"] == "Successful", "the job ended as {}", job["status"]);
    ensure!(
        job["status"]["clusterName"] == name,
        "the job names the cluster {}",
        job["status"]["clusterName"]
    );
    let log = stage.api::<Pod>().logs("computes-runner", &LogParams::default()).await?;
    ensure!(log.contains(RESULT), "the job's log does not hold its result:\n{log}");
    only_the_runner_stays(stage, name).await?;
    stage.api::<DaskJob>().delete(name, &DeleteParams::background()).await?;
    stage.until_gone(name).await
}

pub(super) async fn fails(stage: &Stage) -> Result<()> {
    let name = "gives-up";
    let mut job = mk_job(name)?;
    job["spec"]["job"]["spec"]["containers"][0]["args"] = json!(["python", "-c", "raise SystemExit(3)"]);
    stage.create::<DaskJob>(&job).await?;
    let job = ended(stage, name).await?;
    ensure!(job["status"]["jobStatus"] == "Failed", "the job ended as {}", job["status"]);
    only_the_runner_stays(stage, name).await?;
    stage.api::<DaskJob>().delete(name, &DeleteParams::background()).await?;
    stage.until_gone(name).await
}

/// The cluster goes with the end of its job, the runner stays for its log.
async fn only_the_runner_stays(stage: &Stage, name: &str) -> Result<()> {
    let labels = format!("dask.org/cluster-name={name}");
    let only_runner =
        |pods: &[Pod]| pods.len() == 1 && pods[0].metadata.name == Some(format!("{name}-runner"));
    stage.until::<Pod>("only the runner to stay", &labels, only_runner).await?;
    Ok(())
}
