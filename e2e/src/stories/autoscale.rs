//! Autoscalers.

use anyhow::Result;
use dask_operator::api::{DaskAutoscaler, DaskCluster};
use serde_json::json;

use super::parts::{self, mk_sized, workers};
use crate::stage::Stage;

pub(super) async fn follows_the_work(stage: &Stage) -> Result<()> {
    stage.create::<DaskCluster>(&mk_sized("adapts", 1)?).await?;
    let autoscaler = json!({
        "metadata": {"name": "adapts"},
        "spec": {"cluster": "adapts", "minimum": 1, "maximum": 3},
    });
    stage.create::<DaskAutoscaler>(&autoscaler).await?;
    // A round is work for more than three workers, as the scheduler reckons: five seconds for each.
    let work = parts::work(stage, "adapts", 24.0, &["1", "3", "idle-1"]).await?;
    work.succeeds().await?;
    workers(stage, "adapts-default", 1).await?;
    parts::remove(stage, "adapts").await
}
