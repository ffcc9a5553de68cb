//! The image works: loaded from its archive by a container engine, it runs as the chart runs it and reconciles a cluster.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fake_apiserver::Server;
use fake_apiserver::request::{Request, Verb};
use fake_apiserver::response::Reply;
use fake_apiserver::server::Config;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::{folder, program, reference, version};
use crate::chart::cluster::Cluster;
use crate::shell;

/// Engines that would do.
const ENGINES: [&str; 2] = ["docker", "podman"];
/// Seconds until the operator must have made a Service; starting a container takes most of them.
const SECONDS_MAX: u64 = 60;

/// The archive of this machine's image, if it was made.
pub(crate) fn archive() -> Result<PathBuf> {
    let architecture = program::machine()?.0;
    let archive = folder().join(format!("dask-operator-{}-{architecture}.oci.tar", version()));
    ensure!(archive.exists(), "there is no image: `cargo xtask dist image` makes it in some minutes");
    Ok(archive)
}

/// An image, and what can run it.
pub(crate) struct Runnable {
    engine: &'static str,
    archive: PathBuf,
}

impl Runnable {
    /// What this machine can run; if it cannot, why.
    pub(crate) fn find() -> Result<Self, String> {
        let archive = archive().map_err(|error| error.to_string())?;
        let answers = |engine: &&str| {
            let mut info = Command::new(engine);
            info.arg("info").stdout(Stdio::null()).stderr(Stdio::null());
            info.status().is_ok_and(|status| status.success())
        };
        let engine = ENGINES.into_iter().find(answers);
        engine.map(|engine| Self { engine, archive }).ok_or_else(|| "no container engine answers".into())
    }

    /// Loads the image and has it work for an API server in memory.
    pub(crate) fn check(&self) -> Result<()> {
        shell::run(Command::new(self.engine).args(["load", "--input"]).arg(&self.archive))?;
        let server = Server::new(Config::default());
        let cluster = Cluster::up(server.clone())?;
        // The image's user is not who made the file. Its key is that of a server that ends with this check.
        let kubeconfig = folder().join("kubeconfig");
        fs::copy(cluster.kubeconfig(), &kubeconfig).context("cannot copy the kubeconfig")?;
        shell::run(Command::new("chmod").arg("0644").arg(&kubeconfig))?;
        for definition in dask_operator::api::crds::crds() {
            create(&server, "apiextensions.k8s.io/v1", "customresourcedefinitions", definition)?;
        }
        create(&server, "kubernetes.dask.org/v1", "daskclusters", dask_cluster())?;
        let container = Container::start(self.engine, &kubeconfig)?;
        if !cluster.wait(made(&server)?) {
            bail!("the operator made no Service in {SECONDS_MAX} s; its log:\n{}", container.log()?);
        }
        Ok(())
    }
}

/// Removed when dropped.
struct Container {
    engine: &'static str,
    name: String,
}

impl Container {
    /// With the restrictions that the chart's values ask for.
    fn start(engine: &'static str, kubeconfig: &std::path::Path) -> Result<Self> {
        let name = format!("dask-operator-check-{}", std::process::id());
        let mut run = Command::new(engine);
        run.args([
            "run",
            "--detach",
            "--name",
            &name,
            "--network",
            "host",
            "--read-only",
            "--cap-drop",
            "ALL",
        ]);
        run.args([
            "--security-opt",
            "no-new-privileges",
            "--user",
            "1000",
            "--env",
            "KUBECONFIG=/kubeconfig",
        ]);
        run.arg("--volume").arg(format!("{}:/kubeconfig:ro", kubeconfig.display()));
        run.args([reference().as_str(), "--all-namespaces"]);
        let container = Self { engine, name };
        shell::run(&mut run)?;
        Ok(container)
    }

    fn log(&self) -> Result<String> {
        let output = Command::new(self.engine).args(["logs", &self.name]).output()?;
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = Command::new(self.engine);
        remove.args(["rm", "--force", &self.name]).stdout(Stdio::null());
        if let Err(error) = shell::run(&mut remove) {
            eprintln!("{error:#}");
        }
    }
}

fn create(server: &Server, api_version: &str, plural: &str, object: Value) -> Result<()> {
    match server.request(&Request::create(api_version, plural, object)) {
        Ok(_) => Ok(()),
        Err(status) => bail!("{plural}: {}", status.to_value()),
    }
}

fn dask_cluster() -> Value {
    let pod = json!({"containers": [{"name": "dask", "image": "ghcr.io/dask/dask"}]});
    json!({
        "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster",
        "metadata": {"name": "check", "namespace": "default"},
        "spec": {
            "worker": {"replicas": 0, "spec": pod},
            "scheduler": {"spec": pod, "service": {"ports": [{"name": "tcp-comm", "port": 8786}]}},
        },
    })
}

/// Whether a Service of a scheduler comes before the time is over.
fn made(server: &Server) -> Result<impl Future<Output = bool> + use<>> {
    let mut request = Request::new(Verb::Watch, "v1", "services").labels("dask.org/component=scheduler");
    request.params.timeout_seconds = Some(SECONDS_MAX);
    let answer = server.request(&request);
    let Ok(Reply::Watch(watch)) = answer.map(|answer| answer.reply) else {
        bail!("Services cannot be watched")
    };
    let server = server.clone();
    Ok(async move { server.watch(watch).next().await.is_some_and(|event| event.is_ok()) })
}
