//! The API server in memory, as Helm reaches it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fake_apiserver::Server;
use fake_apiserver::face::HttpService;
use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::tls::Identity;

use crate::shell;

/// Serves for as long as it lives.
pub(crate) struct Cluster {
    server: Server,
    kubeconfig: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// On a free port of this machine.
    pub(crate) fn up(server: Server) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .context("no port of this machine is free")?;
        let kubeconfig = shell::target().join("chart/kubeconfig");
        let address = listener.local_addr()?;
        let identity = Identity::new(&[address.ip()]).context("cannot make certificates")?;
        Kubeconfig::secure(format!("https://{address}"), &identity)
            .write(&kubeconfig)
            .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
        let service = HttpService::new(server.clone(), None);
        let acceptor = identity.acceptor().context("cannot serve HTTPS")?;
        runtime.spawn(serve(listener, service, Some(acceptor), std::future::pending()));
        Ok(Self { server, kubeconfig, runtime })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Waits for something that happens in the cluster.
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}
