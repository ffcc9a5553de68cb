//! The program as a node: `serve --processes`.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use clap::Args;
use fake_apiserver::Server;
use fake_apiserver::kubelet::{
    Catalogue, CatalogueError, Kubelet, KubeletConfig, NodeNetwork, Unsupported, enter_node_namespaces,
};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};

/// Name of the Node object.
const NODE: &str = "local";

/// Options of the node.
#[derive(Args)]
pub(crate) struct Options {
    /// Run pods as local processes instead of simulating them (Linux; root, or user namespaces).
    #[arg(long)]
    processes: bool,
    /// What image names stand for (YAML); without it the images that are no more than a shell.
    #[arg(long, value_name = "PATH", requires = "processes")]
    images: Option<PathBuf>,
    /// Where logs and volumes of pods are kept; a temporary directory if not given.
    #[arg(long, value_name = "PATH", requires = "processes")]
    state_dir: Option<PathBuf>,
}

/// Why pods cannot run as processes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeFailure {
    #[error("{0}; without --processes pods are simulated")]
    Unsupported(#[from] Unsupported),
    #[error("cannot read the image catalogue {}: {error}", path.display())]
    Images { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error("cannot make a state directory: {0}")]
    State(std::io::Error),
}

/// A node whose namespaces this process has entered.
pub(crate) struct Prepared {
    config: KubeletConfig,
    /// Removed at the end, if it is ours.
    _state: Option<tempfile::TempDir>,
}

impl Options {
    /// Makes this process a node, if that is wanted. Call it while the process has one thread.
    pub(crate) fn prepare(&self) -> Result<Option<Prepared>, NodeFailure> {
        if !self.processes {
            return Ok(None);
        }
        let catalogue = match &self.images {
            None => Catalogue::shells(),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.map_err(|error| NodeFailure::Images { path: path.clone(), error })?;
                Catalogue::from_yaml(&text)?
            }
        };
        let (path, state) = if let Some(path) = &self.state_dir {
            (path.clone(), None)
        } else {
            let directory = tempfile::Builder::new().prefix("fake-apiserver-").tempdir();
            let directory = directory.map_err(NodeFailure::State)?;
            (directory.path().to_owned(), Some(directory))
        };
        let path = std::path::absolute(path).map_err(NodeFailure::State)?;
        let network: NodeNetwork = enter_node_namespaces()?;
        Ok(Some(Prepared { config: KubeletConfig::new(NODE, path, catalogue, network), _state: state }))
    }
}

impl Prepared {
    /// Where its pods look for the API server.
    pub(crate) fn api_address(&self) -> SocketAddrV4 {
        self.config.network.api_address()
    }

    /// Runs the node on a server, in place of the simulated ones, until the future is dropped.
    pub(crate) async fn run(self, server: Server) {
        let client = Client::new(server.service(), "default");
        let nodes: Api<Node> = Api::all(client.clone());
        for node in nodes.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let name = node.metadata.name.unwrap_or_default();
            if let Err(error) = nodes.delete(&name, &DeleteParams::default()).await {
                tracing::warn!(node = name, %error, "a simulated node could not be removed");
            }
        }
        println!("pods run as processes; their logs: {}", self.config.logs_dir().display());
        let kubelet = Kubelet::new(client, self.config.clone());
        server.set_node(NODE, kubelet.node_proxy());
        if let Err(error) = kubelet.run(std::future::pending()).await {
            eprintln!("fake-apiserver: the node ended: {error}");
        }
    }
}
