//! `fake-apiserver`: a Kubernetes API server in memory, as a program.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::tls::{Identity, TlsError};
use fake_apiserver::face::{Authentication, HttpService, Server, random_token_key};
use fake_apiserver::request::User;
use fake_apiserver::server::Config;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

#[cfg(feature = "processes")]
mod processes;

/// A Kubernetes API server in memory.
#[derive(Parser)]
#[command(name = "fake-apiserver", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C; everything is forgotten at the end.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Where to write the kubeconfig.
    #[arg(long, value_name = "PATH", default_value = "fake-apiserver.kubeconfig")]
    kubeconfig: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Plain HTTP without authentication.
    #[arg(long)]
    http: bool,
    /// Accept requests without credentials.
    #[arg(long)]
    anonymous: bool,
    /// Bearer token to accept besides the client certificate.
    #[arg(long, env = "FAKE_APISERVER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Ask roles and bindings (RBAC) about every request, also of those without credentials, instead of allowing all.
    #[arg(long)]
    rbac: bool,
    /// Run no controllers and no nodes: what is stored stays as it was written, as with a kube-apiserver alone (envtest).
    #[arg(long)]
    no_controllers: bool,
    /// Certificate to serve with, and its chain (PEM), instead of one made anew.
    #[arg(long, value_name = "PATH", requires = "tls_private_key_file", conflicts_with = "http")]
    tls_cert_file: Option<PathBuf>,
    /// Key of that certificate (PEM).
    #[arg(long, value_name = "PATH", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Authorities (PEM) whose client certificates are accepted too, each for the user and the groups that it names.
    #[arg(long, value_name = "PATH", conflicts_with = "http")]
    client_ca_file: Option<PathBuf>,
    /// Kubernetes minor version to claim.
    #[arg(long, default_value_t = 36, value_parser = clap::value_parser!(u16).range(27..=99))]
    minor: u16,
    #[cfg(feature = "processes")]
    #[command(flatten)]
    node: processes::Options,
}

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot listen on {address}: {error}; choose another --port, or 0 for a free one")]
    Listen { address: SocketAddr, error: std::io::Error },
    #[error("cannot write the kubeconfig {}: {error}; choose another --kubeconfig", path.display())]
    Kubeconfig { path: PathBuf, error: std::io::Error },
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[cfg(feature = "processes")]
    #[error(transparent)]
    Node(#[from] processes::NodeFailure),
    #[error("serving failed: {0}")]
    Serve(#[from] std::io::Error),
}

fn main() -> ExitCode {
    #[cfg(feature = "processes")]
    fake_apiserver::kubelet::maybe_run_helper();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Command::Serve(options) = Cli::parse().command;
    match start(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("fake-apiserver: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What must happen while the process has one thread: the listener belongs to the network in which it is bound,
/// and a node's namespaces cannot be entered later.
fn start(options: &Serve) -> Result<(), Failure> {
    let address = SocketAddr::new(options.address, options.port);
    let listener = std::net::TcpListener::bind(address);
    let listener = listener.map_err(|error| Failure::Listen { address, error })?;
    listener.set_nonblocking(true)?;
    #[cfg(feature = "processes")]
    let node = options.node.prepare()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let identity = if options.http { None } else { Some(identity(options, address)?) };
        let server = Server::new(config(options, identity.as_ref())?);
        #[cfg(feature = "processes")]
        if let Some(node) = node {
            let pods = Some(node.api_address());
            let node = tokio::spawn(node.run(server.clone()));
            let served = run(options, listener, server, identity.as_ref(), pods).await;
            node.abort();
            // Its end removes what it keeps.
            let _ = node.await;
            return served;
        }
        run(options, listener, server, identity.as_ref(), None).await
    })
}

/// The certificates of a server at this address.
fn identity(options: &Serve, address: SocketAddr) -> Result<Identity, Failure> {
    let mut identity = Identity::new(&[reachable(address).ip()])?;
    if let (Some(certificate), Some(key)) = (&options.tls_cert_file, &options.tls_private_key_file) {
        identity = identity.serving(&read(certificate)?, &read(key)?)?;
    }
    if let Some(authorities) = &options.client_ca_file {
        identity = identity.trusting(&read(authorities)?)?;
    }
    Ok(identity)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::Read { path: path.to_owned(), error })
}

/// How the server is set up; it has secrets of its own where others can reach it.
fn config(options: &Serve, identity: Option<&Identity>) -> Result<Config, Failure> {
    let mut config = Config {
        minor: options.minor,
        rbac: options.rbac,
        controllers: !options.no_controllers,
        token_key: random_token_key()?,
        ..Config::default()
    };
    if let Some(identity) = identity {
        config.options.root_ca.clone_from(&identity.authority);
    }
    Ok(config)
}

/// A wildcard address is no address to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if ip.is_unspecified() => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()),
        _ => address,
    }
}

async fn run(
    options: &Serve,
    listener: TcpListener,
    server: Server,
    identity: Option<&Identity>,
    pods: Option<SocketAddrV4>,
) -> Result<(), Failure> {
    let address = listener.local_addr()?;
    let (service, tls, kubeconfig) = faces(options, &server, reachable(address), identity)?;
    write(&kubeconfig, &options.kubeconfig)?;
    println!("serving {} until SIGTERM or Ctrl-C", kubeconfig.server);
    println!("export KUBECONFIG={}", options.kubeconfig.display());
    // Pods speak TLS with the service `kubernetes`, so without it they cannot reach the server.
    let inside = match (pods, &tls) {
        (Some(address), Some(tls)) => Some(serve_pods(address, &server, service.clone(), tls.clone()).await?),
        _ => None,
    };
    let timers = tokio::spawn(async move { server.run().await });
    let served = serve(listener, service, tls, interrupted()).await;
    timers.abort();
    inside.inspect(tokio::task::JoinHandle::abort);
    Ok(served?)
}

/// Serves in the node's network too, behind the cluster IP of the service `kubernetes`.
async fn serve_pods(
    address: SocketAddrV4,
    server: &Server,
    service: HttpService,
    tls: TlsAcceptor,
) -> Result<tokio::task::JoinHandle<()>, Failure> {
    // The node's own address does not exist yet.
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?;
    server.publish(address).map_err(std::io::Error::other)?;
    Ok(tokio::spawn(async move {
        if let Err(error) = serve(listener, service, Some(tls), std::future::pending()).await {
            tracing::error!(%error, "the listener for pods failed");
        }
    }))
}

fn faces(
    options: &Serve,
    server: &Server,
    address: SocketAddr,
    identity: Option<&Identity>,
) -> Result<(HttpService, Option<TlsAcceptor>, Kubeconfig), Failure> {
    let Some(identity) = identity else {
        return Ok((server.service(), None, Kubeconfig::plain(format!("http://{address}"))));
    };
    let mut authentication =
        Authentication::default().certificate(identity.client_der.clone(), User::default());
    if options.client_ca_file.is_some() {
        authentication = authentication.subjects();
    }
    if let Some(token) = &options.token {
        authentication = authentication.token(token, User::default());
    }
    let service = HttpService::new(server.clone(), (!options.anonymous).then_some(authentication));
    let mut kubeconfig = Kubeconfig::secure(format!("https://{address}"), identity);
    kubeconfig.token.clone_from(&options.token);
    Ok((service, Some(identity.acceptor()?), kubeconfig))
}

fn write(kubeconfig: &Kubeconfig, path: &Path) -> Result<(), Failure> {
    kubeconfig.write(path).map_err(|error| Failure::Kubeconfig { path: path.to_owned(), error })
}

/// SIGTERM or Ctrl-C.
async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
