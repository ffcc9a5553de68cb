//! The three programs in one process: API server, node and operator; started together, stopped together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fake_apiserver::controllers::{Life, Options, Rule};
use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::tls::Identity;
use fake_apiserver::face::{Authentication, HttpService, Server, random_token_key};
use fake_apiserver::kubelet::{Catalogue, Kubelet, KubeletConfig, NodeNetwork};
use fake_apiserver::request::User;
use fake_apiserver::server::Config;
use jiff::SignedDuration;
use kube::core::{ApiResource, DynamicObject};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::LocalArgs;
use super::error::LocalError;
use super::python::Python;
use super::reach::{Outside, Ways};
use crate::clock::Clock;
use crate::plugin::dial::{Dial, Network};
use crate::plugin::{Plugin, Registry, Roster, reload};
use crate::run::{Deps, run};
use crate::scheduler::dask::DaskScheduler;
use crate::store::{ApplyOptions, KubeStore, Part, Store};

/// The name of the node.
const NODE: &str = "local";
/// Pods get their own time to end within this.
const STOP_MAX: Duration = Duration::from_secs(45);

/// Where pods run.
pub(super) enum Pods {
    /// Each is processes of this machine.
    Processes {
        /// The network this process has entered.
        network: NodeNetwork,
        /// What runs for which image.
        catalogue: Catalogue,
        /// The environment of the Dask image.
        python: Python,
        /// The process that connects to plugins, where there are any.
        outside: Option<Outside>,
    },
    /// Each is only a status that changes.
    Simulated,
}

/// What runs.
pub(super) struct Session {
    /// The API server, as the operator uses it.
    pub(super) store: Arc<dyn Store>,
    /// The API server, as any client uses it.
    pub(super) client: kube::Client,
    /// The file that kubectl needs.
    pub(super) kubeconfig: PathBuf,
    /// Logs, the kubeconfig, and the node's files.
    pub(super) folder: PathBuf,
    stop: watch::Sender<bool>,
    parts: JoinSet<&'static str>,
    interrupted: watch::Receiver<bool>,
    /// The controllers' timers; they go on until everything else has ended.
    timers: JoinHandle<()>,
}

impl Session {
    /// Starts everything; the listener was bound before the node's namespaces were entered.
    ///
    /// Heeds `--rbac` and `--no-operator`.
    pub(super) async fn start(
        listener: TcpListener,
        folder: &Path,
        pods: Pods,
        args: &LocalArgs,
        plugins: &[Arc<dyn Plugin>],
    ) -> Result<Self, LocalError> {
        let natives = reload::natives(plugins);
        let roster = match &args.plugins {
            None => Roster::fixed(Registry::new(natives).map_err(LocalError::setup("take the plugins"))?),
            Some(path) => {
                let (following, roster) =
                    reload::begin(path, natives).map_err(LocalError::setup("take the plugins"))?;
                tokio::spawn(following.run());
                roster
            }
        };
        let interrupted = interrupted()?;
        let address = listener.local_addr().map_err(LocalError::setup("serve HTTPS"))?;
        let identity = Identity::new(&[address.ip()]).map_err(LocalError::setup("serve HTTPS"))?;
        let token_key = random_token_key().map_err(LocalError::setup("serve HTTPS"))?;
        let mut config = Config { options: options(&pods), rbac: args.rbac, token_key, ..Config::default() };
        config.options.root_ca.clone_from(&identity.authority);
        let server = Server::new(config);
        let client = kube::Client::new(server.service(), "default");
        let (stop, stopped) = watch::channel(false);
        let kubeconfig = folder.join("kubeconfig");
        let store: Arc<dyn Store> = Arc::new(KubeStore::new(client.clone()));
        let mut session = Self {
            store: Arc::clone(&store),
            client: client.clone(),
            kubeconfig,
            folder: folder.to_owned(),
            stop,
            parts: JoinSet::new(),
            interrupted,
            timers: tokio::spawn({
                let server = server.clone();
                async move { server.run().await }
            }),
        };
        let (service, reach) = session.serve(listener, &server, &identity, stopped.clone())?;
        session.install().await?;
        let mut dial: Arc<dyn Dial> = Arc::new(Network);
        if let Pods::Processes { network, catalogue, python, outside } = pods {
            if let Some(outside) = outside {
                dial = Arc::new(Ways { outside, store: Arc::clone(&store) });
            }
            session.serve_pods(network.api_address(), service, &identity, stopped.clone()).await?;
            let mut config = KubeletConfig::new(NODE, folder.join("node"), catalogue, network);
            // Volumes may lie over the place where the environment was made, and containers have a /tmp of their own.
            config.visible.push(python.folder);
            let kubelet = Kubelet::new(client, config);
            server.set_node(NODE, kubelet.node_proxy());
            let until = raised(stopped.clone());
            session.parts.spawn(async move {
                if let Err(error) = kubelet.run(until).await {
                    tracing::error!(%error, "the kubelet failed");
                }
                "the kubelet"
            });
        }
        if !args.no_operator {
            session.parts.spawn(async move {
                run(Deps { dial, ..deps(store, roster) }, raised(stopped)).await;
                "the operator"
            });
        }
        // Last: whoever waits for the file finds everything ready.
        reach.write(&session.kubeconfig).map_err(LocalError::setup("write the kubeconfig"))?;
        Ok(session)
    }

    /// Serves HTTPS; what a client needs to reach it.
    fn serve(
        &mut self,
        listener: TcpListener,
        server: &Server,
        identity: &Identity,
        stopped: watch::Receiver<bool>,
    ) -> Result<(HttpService, Kubeconfig), LocalError> {
        let address = listener.local_addr().map_err(LocalError::setup("serve HTTPS"))?;
        listener.set_nonblocking(true).map_err(LocalError::setup("serve HTTPS"))?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(LocalError::setup("serve HTTPS"))?;
        let administrator =
            Authentication::default().certificate(identity.client_der.clone(), User::default());
        let service = HttpService::new(server.clone(), Some(administrator));
        let tls = identity.acceptor().map_err(LocalError::setup("serve HTTPS"))?;
        let config = Kubeconfig {
            name: "dask-operator-local".into(),
            ..Kubeconfig::secure(format!("https://{address}"), identity)
        };
        let outside = service.clone();
        self.parts.spawn(async move {
            if let Err(error) = serve(listener, outside, Some(tls), raised(stopped)).await {
                tracing::error!(%error, "the API server's listener failed");
            }
            "the API server"
        });
        Ok((service, config))
    }

    /// Serves HTTPS in the node's network too, behind the cluster IP of the service `kubernetes`.
    async fn serve_pods(
        &mut self,
        address: SocketAddrV4,
        service: HttpService,
        identity: &Identity,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), LocalError> {
        // The node's own address does not exist yet.
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await;
        let listener = listener.map_err(LocalError::setup("serve HTTPS to pods"))?;
        service.server().publish(address).map_err(LocalError::setup("serve HTTPS to pods"))?;
        let tls = identity.acceptor().map_err(LocalError::setup("serve HTTPS to pods"))?;
        self.parts.spawn(async move {
            if let Err(error) = serve(listener, service, Some(tls), raised(stopped)).await {
                tracing::error!(%error, "the API server's listener for pods failed");
            }
            "the API server for pods"
        });
        Ok(())
    }

    /// Installs the CustomResourceDefinitions.
    async fn install(&self) -> Result<(), LocalError> {
        let resource = ApiResource::erase::<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        >(&());
        for definition in crate::api::crds() {
            let object: DynamicObject =
                serde_json::from_value(definition).map_err(LocalError::setup("install the CRDs"))?;
            let applied = self
                .store
                .apply(&resource, &object, &ApplyOptions::forced("dask-operator", Part::Object))
                .await;
            applied.map_err(LocalError::setup("install the CRDs"))?;
        }
        Ok(())
    }

    /// Resolves when something ends that should not: a part, or the person's patience. Cancel safe.
    pub(super) async fn failure(&mut self) -> LocalError {
        tokio::select! {
            biased;
            _ = self.interrupted.wait_for(|interrupted| *interrupted) => LocalError::Interrupted,
            Some(ended) = self.parts.join_next() => LocalError::Ended { who: ended.unwrap_or("a part that panicked") },
        }
    }

    /// Stops everything, pods too.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.parts.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, all).await.is_err() {
            tracing::warn!("some parts did not end in time");
        }
        self.timers.abort();
    }
}

fn options(pods: &Pods) -> Options {
    match pods {
        Pods::Processes { .. } => Options { nodes: Vec::new(), ..Options::default() },
        Pods::Simulated => {
            // A runner that is only simulated must end some time, or a job would never be over.
            let labels = [("dask.org/component".to_owned(), "job-runner".to_owned())].into();
            let life = Life { exit_after: Some(SignedDuration::from_secs(5)), ..Options::lifelike().life };
            let mut options = Options::lifelike();
            options.rules.push(Rule { labels, life, ..Rule::default() });
            options
        }
    }
}

fn deps(store: Arc<dyn Store>, plugins: Roster) -> Deps {
    let clock = Clock::system();
    let scheduler = Arc::new(DaskScheduler::new(Some(store.clone())));
    Deps { seed: clock.now().as_nanosecond() as u64, plugins, ..Deps::new(store, scheduler, clock) }
}

/// Resolves when the flag is raised, or can no longer be.
async fn raised(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}

/// Raised by the first SIGINT or SIGTERM; the second ends the process at once.
fn interrupted() -> Result<watch::Receiver<bool>, LocalError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(LocalError::setup("listen for Ctrl-C"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(LocalError::setup("listen for SIGTERM"))?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send_replace(true) {
                std::process::exit(130);
            }
        }
    });
    Ok(receiver)
}

/// A listener on this machine alone.
pub(super) fn listen(port: u16) -> Result<TcpListener, LocalError> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    TcpListener::bind(address).map_err(|source| LocalError::Listen { port, source })
}
