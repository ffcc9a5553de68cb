//! The CustomResourceDefinitions: ours, and those of the Python operator.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{conditions, wait};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

/// How long a definition may take to be served, or to go.
const SERVED_MAX: Duration = Duration::from_mins(2);

/// Whether any of Dask's definitions is there.
///
/// # Errors
/// When the cluster does not answer.
pub async fn any(client: &Client) -> Result<bool> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for name in names() {
        if definitions.get_opt(&name).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Puts these definitions in the place of what is there, and waits until they are served.
///
/// # Errors
/// When the cluster refuses them.
pub async fn exchange(client: &Client, wanted: &[Value]) -> Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for value in wanted {
        let object: CustomResourceDefinition =
            serde_json::from_value(value.clone()).context("not a definition")?;
        let name = object.name_any();
        if definitions.get_opt(&name).await?.is_none() {
            definitions.create(&PostParams::default(), &object).await?;
        } else {
            // The whole of it, as `kubectl replace` would: what is not in the new one must go.
            let spec = json!([{"op": "replace", "path": "/spec", "value": value["spec"]}]);
            let patch: Patch<()> = Patch::Json(serde_json::from_value(spec)?);
            definitions.patch(&name, &PatchParams::default(), &patch).await?;
        }
        let served = wait::await_condition(definitions.clone(), &name, conditions::is_crd_established());
        tokio::time::timeout(SERVED_MAX, served).await.with_context(|| format!("{name} is not served"))??;
    }
    Ok(())
}

/// Removes Dask's definitions, and with them everything of these kinds.
///
/// # Errors
/// When the cluster does not answer.
pub async fn remove(client: &Client) -> Result<()> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for name in names() {
        if definitions.get_opt(&name).await?.is_some() {
            definitions.delete(&name, &DeleteParams::default()).await?;
        }
    }
    Ok(())
}

/// The definitions that a chart brings, in its folder `crds`.
///
/// # Errors
/// When they cannot be read.
pub fn of_chart(chart: &Path) -> Result<Vec<Value>> {
    let folder = chart.join("crds");
    let mut values = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        values.push(serde_yaml::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))?);
    }
    Ok(values)
}

fn names() -> impl Iterator<Item = String> {
    let definitions = dask_operator::api::crds().into_iter();
    definitions.filter_map(|value| Some(value["metadata"]["name"].as_str()?.to_owned()))
}
