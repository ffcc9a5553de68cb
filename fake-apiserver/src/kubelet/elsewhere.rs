//! The process kubelet where it cannot run: the same entry, which says so.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;

#[path = "catalogue.rs"]
mod catalogue;

pub use catalogue::{Catalogue, CatalogueError, Image};

/// Why this machine cannot be a node; one sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Never exists here.
#[derive(Clone, Debug)]
pub struct NodeNetwork(Infallible);

impl NodeNetwork {
    /// As on Linux.
    pub async fn bring_up(&self) -> std::io::Result<()> {
        match self.0 {}
    }

    /// As on Linux.
    pub fn node_address(&self) -> std::net::Ipv4Addr {
        match self.0 {}
    }

    /// As on Linux.
    pub fn api_address(&self) -> std::net::SocketAddrV4 {
        match self.0 {}
    }
}

/// What a kubelet must be told, as on Linux; cannot be made here, since there is no [`NodeNetwork`].
#[derive(Clone, Debug)]
pub struct KubeletConfig {
    /// Name of the Node object.
    pub node_name: String,
    /// Where logs, volumes and small files are kept.
    pub state_dir: PathBuf,
    /// What image names stand for.
    pub catalogue: Catalogue,
    /// The network this process has entered.
    pub network: NodeNetwork,
    /// Domain of service names.
    pub cluster_domain: String,
    /// The program that runs as helper.
    pub helper: PathBuf,
    /// As [`super::KubeletConfig::visible`].
    pub visible: Vec<PathBuf>,
    /// The logs of so many deleted pods stay on disk.
    pub retained_logs: usize,
}

impl KubeletConfig {
    /// As on Linux.
    pub fn new(_: impl Into<String>, _: impl Into<PathBuf>, _: Catalogue, network: NodeNetwork) -> Self {
        match network.0 {}
    }

    /// As on Linux.
    pub fn logs_dir(&self) -> PathBuf {
        self.state_dir.join("logs")
    }
}

/// Never exists here.
#[derive(Debug)]
pub struct Kubelet(Infallible);

impl Kubelet {
    /// As on Linux.
    pub fn new(_: kube::Client, config: KubeletConfig) -> Self {
        match config.network.0 {}
    }

    /// As on Linux.
    pub fn node_proxy(&self) -> std::sync::Arc<dyn crate::face::NodeProxy> {
        match self.0 {}
    }

    /// As on Linux.
    pub async fn run(self, _: impl Future<Output = ()>) -> Result<(), Unsupported> {
        match self.0 {}
    }
}

/// Does nothing here: there are no helper processes.
pub fn maybe_run_helper() {}

/// Always refuses.
pub fn enter_node_namespaces() -> Result<NodeNetwork, Unsupported> {
    Err(Unsupported("pods as local processes need Linux namespaces, which this system does not have".into()))
}
