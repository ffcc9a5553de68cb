//! `KubeCluster`, the Python client, unmodified, as people use it from outside the cluster.

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use tokio::process::Command;

use crate::stage::Stage;

/// What is done with it.
const PROGRAM: &str = include_str!("kube_cluster.py");
/// The parts of the program: each has a cluster of its own, so that they can run at once.
const PARTS: [&str; 4] = ["modes", "sizes", "spec", "asynchronous"];

pub(super) async fn does_what_it_offers(stage: &Stage) -> Result<()> {
    try_join_all(PARTS.map(|part| does(stage, part))).await?;
    Ok(())
}

async fn does(stage: &Stage, part: &str) -> Result<()> {
    let python = stage.cluster.tools.python_operator.as_ref().context("there is no Python client")?;
    let output = Command::new(python.programs.join("python"))
        .args(["-W", "ignore", "-c", PROGRAM, part, &stage.namespace])
        .env("KUBECONFIG", &stage.cluster.kubeconfig)
        .kill_on_drop(true)
        .output()
        .await
        .context("the Python client cannot be started")?;
    if !output.status.success() {
        bail!("{part}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
