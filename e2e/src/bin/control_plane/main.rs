//! `e2e-control-plane`: a real Kubernetes control plane, with pods as processes of this machine.
//!
//! etcd, API server, controllers and scheduler run in the network of the node that this program becomes; a door leads to the
//! API server from outside. SIGHUP restarts the API server, SIGTERM ends everything.
//!
//! | module | what it is |
//! |---|---|
//! | `components` | the four programs: their files, arguments, ends |
//! | `door` | the way in from outside |

mod components;
mod door;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use dask_operator::local::{catalogue, python};
use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::node_api::{FindPod, serve_node};
use fake_apiserver::face::tls::Identity;
use fake_apiserver::kubelet::{
    Catalogue, Kubelet, KubeletConfig, NodeNetwork, enter_node_namespaces, maybe_run_helper,
};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Config, config::KubeConfigOptions};
use tokio::signal::unix::{SignalKind, signal};

use self::components::Components;

/// The name of the node.
const NODE: &str = "local";
/// Where an API server asks a kubelet.
const KUBELET_PORT: u16 = 10250;

/// A real Kubernetes control plane, with pods as processes of this machine.
#[derive(Parser)]
struct Cli {
    /// Where etcd, kube-apiserver, kube-controller-manager and kube-scheduler are.
    #[arg(long, value_name = "FOLDER")]
    programs: PathBuf,
    /// Where the kubeconfig, logs and state go.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// What images stand for besides Dask's; see `fake_apiserver::kubelet::Catalogue`.
    #[arg(long, value_name = "FILE")]
    images: PathBuf,
    /// Where Dask's Python environment is kept.
    #[arg(long, value_name = "FOLDER")]
    cache: PathBuf,
}

fn main() -> Result<()> {
    maybe_run_helper();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let dir = std::path::absolute(&cli.dir)?;
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let text = std::fs::read_to_string(&cli.images)
        .with_context(|| format!("cannot read {}", cli.images.display()))?;
    let mut images = Catalogue::from_yaml(&text)?;
    let python = python::prepare(&cli.cache, &mut |line| println!("{line}"))?;
    images.images.extend(catalogue::dask(&python).images);
    // What is to be reached from outside is bound before the network becomes the node's.
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of this machine is free")?;
    door.set_nonblocking(true)?;
    let network = enter_node_namespaces()?;
    let mut config = KubeletConfig::new(NODE, dir.join("node"), images, network.clone());
    config.visible.push(python.folder);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&cli.programs, &dir, door, &network, config))
}

async fn run(
    programs: &std::path::Path,
    dir: &std::path::Path,
    door: TcpListener,
    network: &NodeNetwork,
    config: KubeletConfig,
) -> Result<()> {
    network.bring_up().await.context("the node's network cannot be set up")?;
    let address = network.node_address();
    let identity = Identity::new(&[Ipv4Addr::LOCALHOST.into(), address.into()])?;
    let inside = Kubeconfig::secure(format!("https://{}", network.api_address()), &identity);
    inside.write(&dir.join("inside.kubeconfig"))?;
    let client = client(&dir.join("inside.kubeconfig")).await?;
    let mut components = Components::start(programs, dir, network.api_address(), &identity, &client).await?;

    let kubelet = Kubelet::new(client.clone(), config);
    let listener = tokio::net::TcpListener::bind((address, KUBELET_PORT)).await?;
    let node = serve_node(listener, identity.demanding_acceptor()?, kubelet.node_proxy(), find(client));
    let outside = door.local_addr()?;
    let entering = door::open(tokio::net::TcpListener::from_std(door)?, network.api_address());
    let mut restart = signal(SignalKind::hangup())?;
    let mut end = signal(SignalKind::terminate())?;
    // Last: whoever waits for the file finds everything ready.
    Kubeconfig::secure(format!("https://{outside}"), &identity).write(&dir.join("kubeconfig"))?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let kubelet = tokio::spawn(kubelet.run(stopped.map(drop)));
    let serving = async { tokio::try_join!(node, entering).map(drop) };
    let restarting = async {
        while restart.recv().await.is_some() {
            components.restart_api_server().await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        served = serving => served.context("a listener failed")?,
        restarted = restarting => restarted?,
        _ = end.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let _ = stop.send(());
    kubelet.await?.context("the node")
}

async fn client(path: &std::path::Path) -> Result<Client> {
    let file = kube::config::Kubeconfig::read_from(path)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("the kubeconfig cannot be used")
}

/// The pod that the API server asks about.
fn find(client: Client) -> FindPod {
    Arc::new(move |namespace, name| {
        let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
        async move { serde_json::to_value(pods.get(&name).await.ok()?).ok() }.boxed()
    })
}
