//! What users get wrong.

use anyhow::{Result, ensure};
use dask_operator::api::{DaskAutoscaler, DaskCluster};
use kube::api::DeleteParams;
use serde_json::json;

use super::parts::mk_cluster;
use crate::stage::Stage;

pub(super) async fn is_refused(stage: &Stage) -> Result<()> {
    refused::<DaskCluster>(stage, &mk_cluster(&"a".repeat(60))?, "53").await?;
    refused::<DaskCluster>(stage, &mk_cluster("with.dots")?, "name").await?;
    let mut negative = mk_cluster("negative")?;
    negative["spec"]["worker"]["replicas"] = json!(-1);
    refused::<DaskCluster>(stage, &negative, "replicas").await?;
    let upside_down = json!({"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskAutoscaler",
        "metadata": {"name": "upside-down"}, "spec": {"cluster": "nobody", "minimum": 5, "maximum": 1}});
    refused::<DaskAutoscaler>(stage, &upside_down, "minimum").await?;
    // The operator goes on for everybody else.
    let name = "after-all";
    stage.create::<DaskCluster>(&mk_cluster(name)?).await?;
    stage.api::<DaskCluster>().delete(name, &DeleteParams::background()).await?;
    stage.until_gone(name).await
}

/// The API server refuses the object with a message that says why.
async fn refused<K: crate::stage::Known>(stage: &Stage, object: &serde_json::Value, why: &str) -> Result<()> {
    match stage.create::<K>(object).await {
        Ok(_) => anyhow::bail!("{} was accepted", object["metadata"]["name"]),
        Err(error) => {
            let message = format!("{error:#}");
            ensure!(message.contains(why), "the refusal does not speak of {why:?}: {message}");
            Ok(())
        }
    }
}
