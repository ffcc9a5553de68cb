//! The process kubelet: a node that runs the containers of its pods as local processes (Linux).
//!
//! It is a client of the API like any other (`kube::Client`), so it serves the in-memory server and can serve a real
//! control plane. Each pod has its own network namespace, address, host name and hosts file; each container its own
//! process namespace, `/tmp` and volumes, and otherwise the host's files. What an image name stands for is said by the
//! [`Catalogue`].
//!
//! A program that embeds it:
//!
//! 1. calls [`maybe_run_helper`] first in `main`: the program is also its own helper;
//! 2. binds the listeners that are to be reached from outside, while it has one thread;
//! 3. calls [`enter_node_namespaces`], still with one thread: from then on pods and cluster IPs can be reached from it;
//! 4. starts its runtime and runs a [`Kubelet`].
//!
//! | file | what is in it |
//! |---|---|
//! | `lifecycle`, `backoff`, `probe`, `status`, `environment`, `services`, `hosts`, `quantity`, `catalogue` | rules, pure |
//! | `pod_worker`, `pod_start`, `pod_status`, `pod_files` | one task for each pod |
//! | `container`, `prober`, `logs`, `log_reader`, `volumes`, `events` | what that task uses |
//! | `helper`, `mounts`, `process` | processes that enter namespaces for us |
//! | `reach`, `exec`, `attach`, `streams` | what the API server asks: connections to pods, commands in containers |
//! | `sandbox`, `network`, `service_proxy` | namespaces, links and cluster IPs |
//! | `node` | the Node object and its lease |
//!
//! Not modelled: limits of CPU and memory, users other than the kubelet's own, network policies, UDP and node ports,
//! persistent volumes, updates of mounted ConfigMaps, gRPC and HTTPS probes, `/dev/termination-log`, access from pods to
//! networks outside the node.

mod attach;
mod backoff;
mod catalogue;
mod container;
mod environment;
mod events;
mod exec;
mod helper;
mod hosts;
mod lifecycle;
mod log_reader;
mod logs;
mod mounts;
mod network;
mod node;
mod pod_files;
mod pod_start;
mod pod_status;
mod pod_stop;
mod pod_worker;
mod probe;
mod prober;
mod process;
mod reach;
mod sandbox;
mod service_proxy;
mod service_watch;
mod services;
mod signals;
mod status;
mod streams;
mod volumes;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use catalogue::{Catalogue, CatalogueError, Image};
pub use helper::maybe_run_helper;
pub use network::NodeNetwork;
pub use sandbox::{Unsupported, enter_node_namespaces};

use crate::face::NodeProxy;
use environment::Facts;
use events::Events;
use logs::LogBook;
use network::{Addresses, Links};
use pod_worker::{PodWorker, View};
use process::Spawner;
use reach::Reach;
use services::ServiceTable;

/// What a kubelet must be told.
#[derive(Clone, Debug)]
pub struct KubeletConfig {
    /// Name of the Node object.
    pub node_name: String,
    /// Where logs, volumes and small files are kept; what an earlier kubelet left there is removed.
    pub state_dir: PathBuf,
    /// What image names stand for.
    pub catalogue: Catalogue,
    /// The network this process has entered.
    pub network: NodeNetwork,
    /// Domain of service names.
    pub cluster_domain: String,
    /// The program that runs as helper: one that calls [`maybe_run_helper`] first. This program itself if not set otherwise.
    pub helper: PathBuf,
    /// What containers see although a volume, or their own `/tmp`, lies over it; what images need is seen anyhow.
    pub visible: Vec<PathBuf>,
    /// The logs of so many deleted pods stay on disk.
    pub retained_logs: usize,
    /// How long the object of a deleted pod stays after its containers have ended. Clients read logs meanwhile, since a node
    /// needs that time for sandbox and volumes: 0.7 to 1.8 s were seen with Kubernetes 1.36 and containerd.
    pub removal: Duration,
}

/// What [`KubeletConfig::removal`] is if not set otherwise.
const REMOVAL: Duration = Duration::from_secs(2);

impl KubeletConfig {
    /// The usual settings.
    pub fn new(
        node_name: impl Into<String>,
        state_dir: impl Into<PathBuf>,
        catalogue: Catalogue,
        network: NodeNetwork,
    ) -> Self {
        Self {
            node_name: node_name.into(),
            state_dir: state_dir.into(),
            catalogue,
            network,
            cluster_domain: "cluster.local".into(),
            helper: "/proc/self/exe".into(),
            visible: Vec::new(),
            retained_logs: 100,
            removal: REMOVAL,
        }
    }

    /// The directory of the logs, `namespace_pod_uid/container/run.log`.
    pub fn logs_dir(&self) -> PathBuf {
        self.state_dir.join("logs")
    }
}

/// Why a kubelet ended or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// The node's network could not be made.
    #[error("the node's network cannot be set up (was enter_node_namespaces called?): {0}")]
    Network(rtnetlink::Error),
    /// The state directory could not be used, or no thread could be started.
    #[error("the kubelet's state directory {path:?} cannot be used: {source}")]
    State {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The API server refused the Node object.
    #[error("the node could not be registered: {0}")]
    Register(#[source] Box<kube::Error>),
}

/// A node. See the module's documentation for how to embed it.
pub struct Kubelet {
    client: Client,
    config: KubeletConfig,
    reach: Arc<Reach>,
}

/// What all pod workers share.
struct Node {
    client: Client,
    config: KubeletConfig,
    spawner: Spawner,
    links: Links,
    addresses: Addresses,
    logs: Arc<LogBook>,
    reach: Arc<Reach>,
    events: Events,
    services: watch::Receiver<Arc<ServiceTable>>,
}

impl Node {
    fn facts(&self) -> Facts {
        Facts { host_ip: self.config.network.node_address().to_string(), ..Facts::default() }
    }
}

impl Kubelet {
    /// A kubelet that does nothing yet.
    pub fn new(client: Client, config: KubeletConfig) -> Self {
        let logs = Arc::new(LogBook::new(config.logs_dir(), config.retained_logs));
        Self { client, config, reach: Arc::new(Reach::new(logs)) }
    }

    /// What the API server asks for logs, connections and commands.
    pub fn node_proxy(&self) -> Arc<dyn NodeProxy> {
        self.reach.clone()
    }

    /// Runs pods until `shutdown` resolves. Then, or when the future is dropped, or when this process ends by any cause,
    /// everything that pods have started dies.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), KubeletError> {
        let Self { client, config, reach } = self;
        let state = |source| KubeletError::State { path: config.state_dir.clone(), source };
        clean(&config.state_dir).map_err(state)?;
        signals::heed().map_err(state)?;
        let spawner = Spawner::start().map_err(state)?;
        let links = Links::prepare(&config.network).await.map_err(KubeletError::Network)?;
        let mut background = JoinSet::new();
        let services = service_watch::start(&client, &mut background).await;
        background.spawn(service_proxy::run(links.clone(), services.clone()));
        background.spawn(service_watch::keep_node_hosts(config.clone(), services.clone()));
        let address = config.network.node_address();
        node::register(&client, &config.node_name, address)
            .await
            .map_err(|error| KubeletError::Register(Box::new(error)))?;
        background.spawn(node::keep_lease(client.clone(), config.node_name.clone()));
        let node = Arc::new(Node {
            events: Events::start(client.clone(), config.node_name.clone()),
            addresses: Addresses::new(&config.network),
            client,
            config,
            spawner,
            links,
            logs: reach.logs.clone(),
            reach,
            services,
        });
        tokio::select! {
            biased;
            () = shutdown => {}
            () = follow_pods(node) => {}
        }
        Ok(())
    }
}

/// Removes what an earlier kubelet left; its processes died with it.
fn clean(state_dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    for directory in [pod_worker::pods_directory(state_dir), state_dir.join("logs")] {
        if directory.exists() {
            std::fs::remove_dir_all(directory)?;
        }
    }
    Ok(())
}

/// One worker for each pod that is bound to this node.
async fn follow_pods(node: Arc<Node>) {
    let selector = format!("spec.nodeName={}", node.config.node_name);
    let config = watcher::Config::default().fields(&selector);
    let mut pods = watch_objects(Api::<Pod>::all(node.client.clone()), config).default_backoff().boxed();
    let mut workers: BTreeMap<String, watch::Sender<View>> = BTreeMap::new();
    let mut tasks: JoinSet<String> = JoinSet::new();
    let mut listed: Option<Vec<String>> = None;
    loop {
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => match ended {
                Ok(uid) => drop(workers.remove(&uid)),
                Err(error) => tracing::error!(%error, "a pod's worker failed"),
            },
            event = pods.next() => match event {
                None => return,
                Some(Err(error)) => tracing::warn!(%error, "pods cannot be watched"),
                Some(Ok(Event::Init)) => listed = Some(Vec::new()),
                Some(Ok(Event::InitApply(pod))) => {
                    if let (Some(listed), Some(uid)) = (&mut listed, &pod.metadata.uid) {
                        listed.push(uid.clone());
                    }
                    present(&node, &mut workers, &mut tasks, pod);
                }
                Some(Ok(Event::InitDone)) => {
                    let listed = listed.take().unwrap_or_default();
                    workers.iter().filter(|(uid, _)| !listed.contains(uid)).for_each(|(_, worker)| gone(worker));
                }
                Some(Ok(Event::Apply(pod))) => present(&node, &mut workers, &mut tasks, pod),
                Some(Ok(Event::Delete(pod))) => {
                    let worker = pod.metadata.uid.and_then(|uid| workers.get(&uid));
                    worker.into_iter().for_each(gone);
                }
            },
        }
    }
}

fn present(
    node: &Arc<Node>,
    workers: &mut BTreeMap<String, watch::Sender<View>>,
    tasks: &mut JoinSet<String>,
    pod: Pod,
) {
    let Some(uid) = pod.metadata.uid.clone() else { return };
    let pod = Arc::new(pod);
    if let Some(worker) = workers.get(&uid) {
        worker.send_replace(View::Present(pod));
        return;
    }
    let (sender, view) = watch::channel(View::Present(pod.clone()));
    workers.insert(uid.clone(), sender);
    let worker = PodWorker::new(node.clone(), pod);
    tasks.spawn(async move {
        worker.run(view).await;
        uid
    });
}

fn gone(worker: &watch::Sender<View>) {
    worker.send_replace(View::Gone);
}
