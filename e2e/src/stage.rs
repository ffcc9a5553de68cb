//! The cluster as a story sees it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dask_operator::api::{DaskAutoscaler, DaskCluster, DaskJob, DaskWorkerGroup};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::chart::RELEASE;
use crate::provider::Cluster;

/// How long a story waits for one thing.
pub(crate) const WAIT_MAX: Duration = Duration::from_mins(4);

/// How often an API server that is away is tried.
const LOOK: Duration = Duration::from_millis(200);

/// A client, a namespace, and ways to wait.
pub struct Stage {
    /// For whatever a story does.
    pub client: Client,
    /// Everything happens here.
    pub namespace: String,
    /// The cluster itself.
    pub cluster: Arc<Cluster>,
    /// Further namespaces that were made.
    others: Mutex<Vec<String>>,
    /// Whether the release has objects outside of its namespace.
    cluster_scope: AtomicBool,
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

/// The phase of a pod.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

impl Stage {
    /// Connects and makes the namespace.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn open(cluster: &Arc<Cluster>, namespace: &str) -> Result<Self> {
        let stage = Self {
            client: cluster.client().await?,
            namespace: namespace.to_owned(),
            cluster: Arc::clone(cluster),
            others: Mutex::default(),
            cluster_scope: AtomicBool::new(false),
        };
        stage.make_namespace(namespace).await?;
        Ok(stage)
    }

    /// A second namespace, as a stage of its own; it goes with this one.
    ///
    /// # Errors
    /// When the cluster refuses it.
    pub async fn beside(&self, name: &str) -> Result<Self> {
        let namespace = format!("{}-{name}", self.namespace);
        self.make_namespace(&namespace).await?;
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(namespace.clone());
        Ok(Self {
            client: self.client.clone(),
            namespace,
            cluster: Arc::clone(&self.cluster),
            others: Mutex::default(),
            cluster_scope: AtomicBool::new(false),
        })
    }

    async fn make_namespace(&self, name: &str) -> Result<()> {
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.create(&PostParams::default(), &object).await.context("cannot make a namespace")?;
        Ok(())
    }

    /// All namespaces of the story.
    pub fn namespaces(&self) -> Vec<String> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        [self.namespace.clone()].into_iter().chain(others).collect()
    }

    /// The release of this namespace is to be uninstalled at the end: its objects are not all in namespaces of the story.
    pub(crate) fn has_cluster_scope(&self) {
        self.cluster_scope.store(true, Ordering::Relaxed);
    }

    /// Removes everything, and waits until the namespaces are gone.
    ///
    /// # Errors
    /// When the cluster does not answer, or a namespace stays.
    pub async fn close(&self) -> Result<()> {
        // First what is in the namespaces: the Python operator's finalizers need the operator.
        let namespaces = Api::<Namespace>::all(self.client.clone());
        for name in self.namespaces() {
            let clusters = Api::<DaskCluster>::namespaced(self.client.clone(), &name);
            clusters.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
            self.until_in::<DaskCluster>(clusters, "its clusters to go", "", <[_]>::is_empty).await?;
        }
        if self.cluster_scope.load(Ordering::Relaxed) {
            self.helm(&["uninstall", RELEASE, "--ignore-not-found"]).await?;
        }
        for name in self.namespaces() {
            namespaces
                .delete(&name, &DeleteParams::background())
                .await
                .context("cannot delete the namespace")?;
        }
        for name in self.namespaces() {
            let gone = kube::runtime::wait::await_condition(
                namespaces.clone(),
                &name,
                |object: Option<&Namespace>| object.is_none(),
            );
            tokio::time::timeout(WAIT_MAX, gone)
                .await
                .with_context(|| format!("the namespace {name} does not go"))??;
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
        self.until_in(self.api::<K>(), what, labels, wanted).await
    }

    async fn until_in<K: Known>(
        &self,
        api: Api<K>,
        what: &str,
        labels: &str,
        wanted: impl Fn(&[K]) -> bool,
    ) -> Result<Vec<K>> {
        let mut last = Vec::new();
        let mut trouble = None;
        let waiting = async {
            let mut objects = BTreeMap::<String, K>::new();
            let watching = watcher(api, watcher::Config::default().labels(labels)).default_backoff();
            let mut events = Box::pin(watching);
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
                    // The watch begins anew, for instance when the API server is back.
                    Err(error) => {
                        trouble = Some(error.to_string());
                        continue;
                    }
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
                let trouble =
                    trouble.map(|trouble| format!("; the watch failed: {trouble}")).unwrap_or_default();
                bail!(
                    "waited {} s for {what}{trouble}; last seen:\n  {}",
                    WAIT_MAX.as_secs(),
                    seen.join("\n  ")
                )
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

    /// Waits until the API server answers again.
    ///
    /// # Errors
    /// When it stays away.
    pub async fn until_it_answers(&self) -> Result<()> {
        let asking = async {
            while self.client.apiserver_version().await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(WAIT_MAX, asking).await.context("the API server does not come back")
    }

    /// How many objects of a kind carry these labels now.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn count<K: Known>(&self, labels: &str) -> Result<usize> {
        Ok(self.api::<K>().list(&ListParams::default().labels(labels)).await?.items.len())
    }
}
