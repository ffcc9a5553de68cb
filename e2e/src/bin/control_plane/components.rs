//! The programs of a control plane: their files, their arguments, their ends.

use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fake_apiserver::face::tls::Identity;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use tokio::process::{Child, Command};

/// How long a component may take to be ready.
const READY_MAX: Duration = Duration::from_mins(2);
/// How often one that starts is asked.
const LOOK: Duration = Duration::from_millis(100);
const ETCD: &str = "http://127.0.0.1:2379";

/// What runs; it ends with this value.
pub(crate) struct Components {
    programs: PathBuf,
    dir: PathBuf,
    client: Client,
    api_server_arguments: Vec<String>,
    api_server: Child,
    others: Vec<Child>,
}

impl Components {
    /// Starts everything and waits until namespaces work.
    pub(crate) async fn start(
        programs: &Path,
        dir: &Path,
        address: SocketAddrV4,
        identity: &Identity,
        client: &Client,
    ) -> Result<Self> {
        let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
        for (name, text) in [
            ("ca.crt", &identity.authority),
            ("server.crt", &identity.server_certificate),
            ("server.key", &identity.server_key),
            ("client.crt", &identity.client_certificate),
            ("client.key", &identity.client_key),
        ] {
            write(&dir.join(name), text)?;
        }
        let etcd = arguments(&[
            ("data-dir", &file("etcd")),
            ("listen-client-urls", ETCD),
            ("advertise-client-urls", ETCD),
            ("listen-peer-urls", "http://127.0.0.1:2380"),
            ("unsafe-no-fsync", "true"),
            ("log-level", "error"),
        ]);
        let etcd = spawn(programs, dir, "etcd", &etcd)?;
        let api_server_arguments = arguments(&[
            ("etcd-servers", ETCD),
            ("bind-address", "0.0.0.0"),
            ("advertise-address", &address.ip().to_string()),
            ("secure-port", &address.port().to_string()),
            ("tls-cert-file", &file("server.crt")),
            ("tls-private-key-file", &file("server.key")),
            ("client-ca-file", &file("ca.crt")),
            ("authorization-mode", "RBAC"),
            ("service-cluster-ip-range", "10.96.0.0/16"),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("service-account-key-file", &file("server.crt")),
            ("service-account-signing-key-file", &file("server.key")),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("kubelet-client-certificate", &file("client.crt")),
            ("kubelet-client-key", &file("client.key")),
        ]);
        let api_server = spawn(programs, dir, "kube-apiserver", &api_server_arguments)?;
        let mut components = Self {
            programs: programs.to_owned(),
            dir: dir.to_owned(),
            client: client.clone(),
            api_server_arguments,
            api_server,
            others: vec![etcd],
        };
        components.api_server_is_ready().await?;
        let kubeconfig = file("inside.kubeconfig");
        let common = [("kubeconfig", kubeconfig.as_str()), ("leader-elect", "false"), ("secure-port", "0")];
        let mut manager = arguments(&common);
        manager.extend(arguments(&[("root-ca-file", &file("ca.crt")), ("allocate-node-cidrs", "false")]));
        components.others.push(spawn(programs, dir, "kube-controller-manager", &manager)?);
        components.others.push(spawn(programs, dir, "kube-scheduler", &arguments(&common))?);
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "default");
        let has_account = async || accounts.get_opt("default").await.is_ok_and(|found| found.is_some());
        until("the controllers", has_account).await?;
        Ok(components)
    }

    /// Kills the API server and starts it again; comes back when it answers.
    pub(crate) async fn restart_api_server(&mut self) -> Result<()> {
        self.api_server.kill().await.context("the API server cannot be stopped")?;
        self.api_server = spawn(&self.programs, &self.dir, "kube-apiserver", &self.api_server_arguments)?;
        self.api_server_is_ready().await
    }

    async fn api_server_is_ready(&mut self) -> Result<()> {
        let begun = tokio::time::Instant::now();
        loop {
            let ready = http::Request::get("/readyz").body(Vec::new())?;
            if self.client.request_text(ready).await.is_ok_and(|answer| answer == "ok") {
                return Ok(());
            }
            let log = self.dir.join("kube-apiserver.log");
            if let Some(status) = self.api_server.try_wait()? {
                bail!("the API server ended with {status}; see {}", log.display());
            }
            if begun.elapsed() > READY_MAX {
                bail!("the API server is not ready after {} s; see {}", READY_MAX.as_secs(), log.display());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) -> Result<()> {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(READY_MAX, asking).await.with_context(|| format!("{what} do not come up"))
}

fn arguments(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn spawn(programs: &Path, dir: &Path, name: &str, arguments: &[String]) -> Result<Child> {
    let path = dir.join(format!("{name}.log"));
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("cannot write {}", path.display()))?;
    Command::new(programs.join(name))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
