//! The API server in memory, as Helm reaches it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fake_apiserver::Server;
use fake_apiserver::face::HttpService;
use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;

use crate::shell;

/// Serves for as long as it lives.
pub(super) struct Cluster {
    server: Server,
    kubeconfig: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// On a free port of this machine.
    pub(super) fn up(server: Server) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .context("no port of this machine is free")?;
        let kubeconfig = shell::target().join("chart/kubeconfig");
        Kubeconfig::plain(format!("http://{}", listener.local_addr()?))
            .write(&kubeconfig)
            .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
        let service = HttpService::new(server.clone(), None);
        runtime.spawn(serve(listener, service, None, std::future::pending()));
        Ok(Self { server, kubeconfig, _runtime: runtime })
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}
