//! The cluster as a story sees it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dask_operator::api::{DaskAutoscaler, DaskCluster, DaskJob, DaskWorkerGroup};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::provider::Cluster;

/// How long a story waits for one thing.
const WAIT_MAX: Duration = Duration::from_mins(2);
/// Whose fields the applied ones are.
const MANAGER: &str = "e2e";

/// A client, a namespace, and ways to wait.
pub struct Stage {
    /// For whatever a story does.
    pub client: Client,
    /// Everything happens here.
    pub namespace: String,
    /// Whether pods run, or only exist.
    pub runs_pods: bool,
}

/// A namespaced kind that the types know.
pub trait Known:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<K> Known for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + 'static
{
}

impl Stage {
    /// Connects and makes the namespace.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn open(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let file = Kubeconfig::read_from(&cluster.kubeconfig)?;
        let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
        let client = Client::try_from(Config::from_custom_kubeconfig(file, &options).await?)?;
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        let namespaces = Api::<Namespace>::all(client.clone());
        namespaces.create(&PostParams::default(), &object).await.context("cannot make a namespace")?;
        Ok(Self { client, namespace: namespace.to_owned(), runs_pods: cluster.runs_pods })
    }

    /// Deletes the namespace.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn close(&self) -> Result<()> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces
            .delete(&self.namespace, &DeleteParams::background())
            .await
            .context("cannot delete the namespace")?;
        Ok(())
    }

    /// Installs the CustomResourceDefinitions where they are missing, and waits until they are served.
    ///
    /// # Errors
    /// When the cluster refuses them.
    pub async fn install_definitions(&self) -> Result<()> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        for value in dask_operator::api::crds() {
            let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if definitions.get_opt(&name).await?.is_none() {
                let params = PatchParams::apply(MANAGER).force();
                definitions.patch(&name, &params, &Patch::Apply(&value)).await?;
            }
            let established = kube::runtime::conditions::is_crd_established();
            let served = kube::runtime::wait::await_condition(definitions.clone(), &name, established);
            tokio::time::timeout(WAIT_MAX, served)
                .await
                .with_context(|| format!("{name} is not served"))??;
        }
        Ok(())
    }

    /// The objects of a kind in the namespace.
    pub fn api<K: Known>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object from a manifest of one document, under another name.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn create<K: Known>(&self, manifest: &Value) -> Result<K> {
        let object: K = serde_json::from_value(manifest.clone())?;
        self.api::<K>().create(&PostParams::default(), &object).await.context("the manifest was refused")
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn patch<K: Known>(&self, name: &str, patch: &Value) -> Result<()> {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until the objects of a kind with these labels are as wanted; `what` says so in words.
    ///
    /// # Errors
    /// When they are not in time; says how they were last.
    pub async fn until<K: Known>(
        &self,
        what: &str,
        labels: &str,
        wanted: impl Fn(&[K]) -> bool,
    ) -> Result<Vec<K>> {
        let mut last = Vec::new();
        let waiting = async {
            let mut objects = BTreeMap::<String, K>::new();
            let mut events = Box::pin(watcher(self.api::<K>(), watcher::Config::default().labels(labels)));
            while let Some(event) = events.next().await {
                // In the middle of a list nothing is known yet.
                let is_partial = matches!(event, Ok(Event::Init | Event::InitApply(_)));
                match event {
                    Ok(Event::Init) => objects.clear(),
                    Ok(Event::InitApply(object) | Event::Apply(object)) => {
                        objects.insert(object.name_any(), object);
                    }
                    Ok(Event::Delete(object)) => {
                        objects.remove(&object.name_any());
                    }
                    // The list that preceded is complete.
                    Ok(Event::InitDone) => {}
                    Err(error) => bail!("the watch failed: {error}"),
                }
                last = objects.values().cloned().collect();
                if !is_partial && wanted(&last) {
                    return Ok(());
                }
            }
            bail!("the watch ended")
        };
        match tokio::time::timeout(WAIT_MAX, waiting).await {
            Ok(Ok(())) => Ok(last),
            Ok(Err(error)) => Err(error.context(format!("while waiting for {what}"))),
            Err(_) => {
                let seen: Vec<_> =
                    last.iter().map(|object| serde_json::to_value(object).unwrap_or_default()).collect();
                let seen: Vec<_> =
                    seen.iter().map(|o| format!("{}: {}", o["metadata"]["name"], o["status"])).collect();
                bail!("waited {} s for {what}; last seen:\n  {}", WAIT_MAX.as_secs(), seen.join("\n  "))
            }
        }
    }

    /// Waits until nothing with this cluster's label is left, nor the four kinds of this name.
    ///
    /// # Errors
    /// When something stays.
    pub async fn until_gone(&self, cluster: &str) -> Result<()> {
        let labels = format!("dask.org/cluster-name={cluster}");
        self.until::<DaskJob>("the job to go", "", |all| all.iter().all(|job| job.name_any() != cluster))
            .await?;
        self.until::<DaskCluster>("the cluster to go", "", |all| {
            all.iter().all(|it| it.name_any() != cluster)
        })
        .await?;
        self.until::<DaskWorkerGroup>("its groups to go", &labels, <[_]>::is_empty).await?;
        self.until::<DaskAutoscaler>("its autoscaler to go", "", <[_]>::is_empty).await?;
        self.until::<Pod>("its pods to go", &labels, <[_]>::is_empty).await?;
        self.until::<Service>("its Service to go", &labels, <[_]>::is_empty).await?;
        self.until::<Deployment>("its Deployment to go", &labels, <[_]>::is_empty).await?;
        self.until::<ReplicaSet>("its ReplicaSet to go", &labels, <[_]>::is_empty).await?;
        Ok(())
    }

    /// How many objects of a kind carry these labels now.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn count<K: Known>(&self, labels: &str) -> Result<usize> {
        Ok(self.api::<K>().list(&ListParams::default().labels(labels)).await?.items.len())
    }
}
