//! A real API server, from the first of these that is there:
//!
//! 1. `DASK_OPERATOR_CONTROL_PLANE`: path of a kubeconfig. The bodies make and delete namespaces `conformance-*` and install
//!    our CRDs there.
//! 2. `KUBEBUILDER_ASSETS`: a folder with the programs `etcd` and `kube-apiserver`, as envtest has it.
//! 3. The same programs in the cache of `../shared/control-plane`, beside the repository, if they are built.
//!
//! In the last two cases both are started on free ports and stopped at the end.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use dask_operator::store::{KubeStore, Store};
use futures::{FutureExt, future::BoxFuture};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{Started, Starting, with_definitions};

/// How long etcd and the API server may take to be ready.
const START: Duration = Duration::from_mins(1);

struct ControlPlane {
    store: KubeStore,
    /// Kept for its end.
    _processes: Option<Processes>,
}

impl Started for ControlPlane {
    fn store(&mut self) -> BoxFuture<'_, Box<dyn Store>> {
        let store = self.store.clone();
        async { Box::new(store) as Box<dyn Store> }.boxed()
    }
}

pub(super) fn start() -> Starting {
    async {
        let given = std::env::var_os("DASK_OPERATOR_CONTROL_PLANE").map(PathBuf::from);
        let processes = if given.is_none() { Some(Processes::start(&programs()?)?) } else { None };
        let started = processes.as_ref().map(|processes| processes.folder.path().join("kubeconfig"));
        let kubeconfig = given.or(started).ok_or("no kubeconfig")?;
        let store = KubeStore::new(client(&kubeconfig, processes.is_some()).await?);
        let store = with_definitions(store).await?;
        Ok(Box::new(ControlPlane { store, _processes: processes }) as Box<dyn Started>)
    }
    .boxed()
}

/// The folder with `etcd` and `kube-apiserver`.
fn programs() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS") {
        return Ok(PathBuf::from(folder));
    }
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/control-plane");
    if !shared.is_dir() {
        return Err("no control plane: set DASK_OPERATOR_CONTROL_PLANE or KUBEBUILDER_ASSETS".into());
    }
    let home = std::env::var_os("HOME").ok_or("no HOME")?;
    let cache = std::env::var_os("CONTROL_PLANE_DIR")
        .map_or_else(|| PathBuf::from(home).join(".cache/control-plane"), PathBuf::from);
    let mut folders = vec![cache.clone()];
    folders.extend(fs::read_dir(&cache).into_iter().flatten().flatten().map(|entry| entry.path()));
    folders
        .into_iter()
        .find(|folder| folder.join("kube-apiserver").is_file() && folder.join("etcd").is_file())
        .ok_or_else(|| format!("no control plane is built yet: run {}/build", shared.display()))
}

async fn client(kubeconfig: &Path, wait: bool) -> Result<Client, String> {
    let begun = Instant::now();
    loop {
        let tried = async {
            let config = Kubeconfig::read_from(kubeconfig).map_err(|error| error.to_string())?;
            let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
                .await
                .map_err(|error| error.to_string())?;
            let client = Client::try_from(config).map_err(|error| error.to_string())?;
            client.apiserver_version().await.map_err(|error| error.to_string())?;
            Ok::<_, String>(client)
        };
        match tried.await {
            Ok(client) => return Ok(client),
            Err(reason) if !wait || begun.elapsed() > START => {
                return Err(format!("the control plane does not answer: {reason}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// etcd and an API server; they end with it.
struct Processes {
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Processes {
    fn start(programs: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let ports = free_ports().map_err(|error| error.to_string())?;
        let mut processes = Self { folder, children: Vec::new() };
        processes
            .start_in(programs, ports)
            .map_err(|error| format!("cannot start the control plane: {error}"))?;
        Ok(processes)
    }

    fn start_in(&mut self, programs: &Path, [etcd, peer, api]: [u16; 3]) -> std::io::Result<()> {
        let folder = self.folder.path().to_owned();
        let inside = |name: &str| folder.join(name).display().to_string();
        let key = inside("sa.key");
        Self::run(Command::new("openssl").args(["genrsa", "-out", &key, "2048"]))?;
        fs::write(folder.join("tokens.csv"), "conformance,admin,admin,system:masters\n")?;
        let (client_url, peer_url) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{peer}"));
        self.spawn(Command::new(programs.join("etcd")).args([
            "--data-dir",
            &inside("etcd"),
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
            "--listen-peer-urls",
            &peer_url,
            "--unsafe-no-fsync",
        ]))?;
        self.spawn(Command::new(programs.join("kube-apiserver")).args([
            "--etcd-servers",
            &client_url,
            "--secure-port",
            &api.to_string(),
            "--bind-address",
            "127.0.0.1",
            "--cert-dir",
            &inside("certs"),
            "--token-auth-file",
            &inside("tokens.csv"),
            "--authorization-mode",
            "RBAC",
            "--service-cluster-ip-range",
            "10.96.0.0/16",
            "--disable-admission-plugins",
            "ServiceAccount",
            "--service-account-issuer",
            "https://kubernetes.default.svc",
            "--service-account-key-file",
            &key,
            "--service-account-signing-key-file",
            &key,
        ]))?;
        let authority = inside("certs/apiserver.crt");
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:{api}\", certificate-authority: \"{authority}\"}}}}]\n\
             users: [{{name: u, user: {{token: conformance}}}}]\n"
        );
        fs::write(folder.join("kubeconfig"), kubeconfig)
    }

    fn run(command: &mut Command) -> std::io::Result<()> {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("{command:?}: {status}"))) }
    }

    fn spawn(&mut self, command: &mut Command) -> std::io::Result<()> {
        self.children.push(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Three ports that were free a moment ago.
fn free_ports() -> std::io::Result<[u16; 3]> {
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
