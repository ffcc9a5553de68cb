//! Quotas.

use anyhow::Result;
use dask_operator::api::{DaskCluster, DaskWorkerGroup};
use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::json;

use super::parts::{self, mk_sized, workers};
use crate::stage::Stage;

pub(super) async fn is_told_and_heeded(stage: &Stage) -> Result<()> {
    // Room for the operator, the scheduler, and one worker.
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "3"}}});
    stage.create::<ResourceQuota>(&quota).await?;
    let is_counted = |all: &[ResourceQuota]| {
        all.iter().any(|quota| quota.status.as_ref().is_some_and(|status| status.used.is_some()))
    };
    stage.until::<ResourceQuota>("the quota to be counted", "", is_counted).await?;
    stage.create::<DaskCluster>(&mk_sized("wants", 3)?).await?;
    let says_so = |all: &[DaskWorkerGroup]| {
        all.iter().any(|group| {
            let group = serde_json::to_value(group).unwrap_or_default();
            let conditions = group["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| {
                condition["type"] == "Ready"
                    && condition["status"] == "False"
                    && condition["message"].as_str().is_some_and(|message| message.contains("quota"))
            })
        })
    };
    stage.until::<DaskWorkerGroup>("the group to speak of the quota", "", says_so).await?;
    workers(stage, "wants-default", 1).await?;
    stage.patch::<ResourceQuota>("few", &json!({"spec": {"hard": {"pods": "10"}}})).await?;
    workers(stage, "wants-default", 3).await?;
    parts::remove(stage, "wants").await
}
