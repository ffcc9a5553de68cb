//! The operator, installed by its chart.
//!
//! Without Helm, what the chart renders to for one namespace is taken from `snapshots/chart`, where it is reviewed and held to
//! the chart by `cargo xtask chart`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams, TypeMeta};
use serde::Deserialize;
use serde_json::Value;

use crate::stage::Stage;

/// Name of every release.
pub const RELEASE: &str = "dask";
/// Name of the operator's Deployment in it.
pub const OPERATOR: &str = "dask-dask-kubernetes-operator";
/// The labels of the operator's pods, also of the Python operator's.
pub const OPERATOR_LABELS: &str =
    "app.kubernetes.io/name=dask-kubernetes-operator,app.kubernetes.io/instance=dask";
/// What the chart renders to for one namespace, and the name of that one.
const RENDERED: &str = include_str!("../../snapshots/chart/single-namespace.yaml");
const RENDERED_NAMESPACE: &str = "my-namespace";

/// Our chart.
pub fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/dask-kubernetes-operator")
}

impl Stage {
    /// Installs the operator for this namespace alone, and waits until it is ready.
    ///
    /// # Errors
    /// When Helm or the cluster refuses, or it does not become ready.
    pub async fn install(&self) -> Result<()> {
        if self.cluster.tools.helm.is_some() {
            return self.install_replicas(1).await;
        }
        for (api, object) in self.rendered()? {
            api.create(&PostParams::default(), &object).await?;
        }
        self.operator_is_ready(1).await
    }

    /// Installs so many operators for this namespace alone, of which one leads, and waits until they are ready.
    ///
    /// # Errors
    /// When Helm or the cluster refuses, or they do not become ready.
    pub async fn install_replicas(&self, replicas: usize) -> Result<()> {
        let number = format!("replicas={replicas}");
        self.for_namespace("install", &["--set", &number], replicas).await
    }

    /// Installs the operator for this namespace alone with a file of values, and waits until it is ready.
    ///
    /// # Errors
    /// When Helm or the cluster refuses, or it does not become ready.
    pub async fn install_with(&self, values: &Path) -> Result<()> {
        self.with_values("install", values).await
    }

    /// Gives the release another file of values, and waits until its operator is ready.
    ///
    /// # Errors
    /// When Helm or the cluster refuses, or it does not become ready.
    pub async fn upgrade_with(&self, values: &Path) -> Result<()> {
        self.with_values("upgrade", values).await
    }

    async fn with_values(&self, verb: &str, values: &Path) -> Result<()> {
        let file = values.to_str().context("the path of the values is not UTF-8")?;
        self.for_namespace(verb, &["--values", file], 1).await
    }

    async fn for_namespace(&self, verb: &str, options: &[&str], replicas: usize) -> Result<()> {
        let namespace = format!("kopfArgs={{--namespace={}}}", self.namespace);
        // The definitions are everybody's, and there already.
        let options = [&["--skip-crds"], options].concat();
        self.helm_with(verb, &ours(), &options, &["rbac.cluster=false", &namespace]).await?;
        self.operator_is_ready(replicas).await
    }

    /// Installs the operator for all namespaces, with these values besides, and waits until it is ready.
    ///
    /// # Errors
    /// When Helm or the cluster refuses, or it does not become ready.
    pub async fn install_everywhere(&self, chart: &Path, values: &[&str]) -> Result<()> {
        self.has_cluster_scope();
        self.helm_with("install", chart, &["--skip-crds"], values).await?;
        self.operator_is_ready(1).await
    }

    /// Puts another chart or other values in the place of the release's, and waits until its operator is ready.
    ///
    /// # Errors
    /// When Helm or the cluster refuses, or it does not become ready.
    pub async fn upgrade(&self, chart: &Path, values: &[&str]) -> Result<()> {
        self.helm_with("upgrade", chart, &["--reset-values"], values).await?;
        self.operator_is_ready(1).await
    }

    /// Removes the release; waits until its pods are gone.
    ///
    /// # Errors
    /// When the cluster refuses.
    pub async fn uninstall(&self) -> Result<()> {
        if self.cluster.tools.helm.is_some() {
            self.helm(&["uninstall", RELEASE]).await?;
        } else {
            for (api, object) in self.rendered()? {
                api.delete(&object.name_any(), &kube::api::DeleteParams::background()).await?;
            }
        }
        self.until::<Pod>("the operator to be gone", OPERATOR_LABELS, <[_]>::is_empty).await?;
        Ok(())
    }

    /// Waits until so many operators are ready, and no other one is left.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn operator_is_ready(&self, wanted: usize) -> Result<()> {
        let rolled_out = |all: &[Deployment]| {
            all.iter().filter(|it| it.name_any() == OPERATOR).any(|it| {
                let status = it.status.clone().unwrap_or_default();
                status.observed_generation == it.metadata.generation
                    && status.updated_replicas == Some(wanted as i32)
                    && status.available_replicas == Some(wanted as i32)
            })
        };
        self.until::<Deployment>("the operator to be available", "", rolled_out).await?;
        let alone = |pods: &[Pod]| pods.len() == wanted;
        self.until::<Pod>("the operator before it to be gone", OPERATOR_LABELS, alone).await?;
        Ok(())
    }

    async fn helm_with(&self, verb: &str, chart: &Path, options: &[&str], values: &[&str]) -> Result<()> {
        let chart = chart.to_str().context("the chart's path is not UTF-8")?;
        let mut arguments = vec![verb, RELEASE, chart];
        arguments.extend(options);
        for value in values {
            arguments.extend(["--set", value]);
        }
        self.helm(&arguments).await?;
        Ok(())
    }

    /// What Helm says.
    ///
    /// # Errors
    /// When it is not there or fails; quotes it.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        let helm = self.cluster.tools.helm.as_ref().context("there is no helm")?;
        let mut command = Command::new(helm);
        command
            .args(arguments)
            .args(["--namespace", &self.namespace])
            .env("KUBECONFIG", &self.cluster.kubeconfig);
        let line = arguments.join(" ");
        let output = tokio::task::spawn_blocking(move || command.output()).await?;
        let output = output.context("cannot start helm")?;
        if !output.status.success() {
            bail!("helm {line}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn rendered(&self) -> Result<Vec<(Api<DynamicObject>, DynamicObject)>> {
        let text = RENDERED.replace(RENDERED_NAMESPACE, &self.namespace);
        let mut objects = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value = Value::deserialize(document)?;
            let Ok(types) = serde_json::from_value::<TypeMeta>(value.clone()) else { continue };
            let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
            let object: DynamicObject = serde_json::from_value(value)?;
            objects.push((Api::namespaced_with(self.client.clone(), &self.namespace, &resource), object));
        }
        Ok(objects)
    }
}
