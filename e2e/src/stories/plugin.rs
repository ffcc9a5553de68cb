//! A plugin in a container beside the operator, installed by one value of the chart: the page `docs/extending.md`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use dask_operator::api::DaskCluster;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::parts::{self, mk_sized, running, workers};
use crate::program::PYTHON_IMAGE;
use crate::stage::Stage;

const PAGE: &str = include_str!("../../../docs/extending.md");

/// A file that the page shows.
fn file(name: &str) -> Result<&'static str> {
    let (_, rest) =
        PAGE.split_once(&format!(" file={name}\n")).with_context(|| format!("the page has no {name}"))?;
    Ok(rest.split_once("\n```").context("a file of the page does not end")?.0)
}

pub(super) async fn is_installed_by_a_value_and_taken_back(stage: &Stage) -> Result<()> {
    let mut values: Value = serde_yaml::from_str(file("values.yaml")?)?;
    let container = &mut values["plugins"][0]["container"];
    // In place of an image that was made of the page's program.
    container["image"] = json!(PYTHON_IMAGE);
    container["imagePullPolicy"] = json!("IfNotPresent");
    container["command"] = json!(["python", "-c", file("payer.py")?]);
    stage.install_with(&write(stage, &values)?).await?;
    stage.create::<DaskCluster>(&mk_sized("paid", 1)?).await?;
    says(stage, "paid", "Vetoed", "plugin payer: PayerMissing: set the label payer").await?;
    let services = stage.api::<Service>().list(&kube::api::ListParams::default()).await?;
    ensure!(
        services.items.iter().all(|it| it.name_any() != "paid-scheduler"),
        "it is made though nobody pays"
    );

    stage.patch::<DaskCluster>("paid", &json!({"metadata": {"labels": {"payer": "physics"}}})).await?;
    running(stage, "paid").await?;
    workers(stage, "paid-default", 1).await?;
    says(stage, "paid", "Answered", "payer").await?;
    let service = stage.api::<Service>().get("paid-scheduler").await?;
    ensure!(
        service.annotations().get("example.org/payer").is_some_and(|payer| payer == "physics"),
        "{service:?}"
    );
    let address = stage.api::<ConfigMap>().get("paid-address").await?;
    let address = address.data.unwrap_or_default();
    ensure!(address["DASK_SCHEDULER_ADDRESS"] == "tcp://paid-scheduler:8786", "{address:?}");

    // It goes, and with it what it has added.
    values["plugins"][0]["removed"] = json!(true);
    stage.upgrade_with(&write(stage, &values)?).await?;
    let gone = |all: &[ConfigMap]| all.iter().all(|it| it.name_any() != "paid-address");
    stage.until::<ConfigMap>("what the plugin added to go", "", gone).await?;
    workers(stage, "paid-default", 1).await?;
    parts::remove(stage, "paid").await
}

/// Waits until the cluster says this of its plugins.
async fn says(stage: &Stage, name: &str, reason: &str, message: &str) -> Result<()> {
    let said = |cluster: &DaskCluster| {
        let cluster = serde_json::to_value(cluster).unwrap_or_default();
        let conditions = cluster["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions
            .iter()
            .any(|it| it["type"] == "PluginsReady" && it["reason"] == reason && it["message"] == message)
    };
    let wanted = |all: &[DaskCluster]| all.iter().any(|cluster| cluster.name_any() == name && said(cluster));
    stage.until::<DaskCluster>(&format!("PluginsReady to be {reason}"), "", wanted).await?;
    Ok(())
}

fn write(stage: &Stage, values: &Value) -> Result<PathBuf> {
    let path = stage.cluster.kubeconfig.with_file_name(format!("{}-values.json", stage.namespace));
    std::fs::write(&path, values.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
