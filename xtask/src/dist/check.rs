//! The image works: loaded from its archive by a container engine, it runs as the chart runs it and reconciles a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fake_apiserver::Server;
use fake_apiserver::request::{Request, Verb};
use fake_apiserver::response::Reply;
use fake_apiserver::server::Config;
use futures::StreamExt as _;
use serde_json::{Value, json};
use testcontainers::core::{AccessMode, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};

use super::{IMAGE, folder, program, version};
use crate::chart::cluster::Cluster;
use crate::shell;

/// The engine, whose API is spoken too; `DOCKER_HOST` may name another that speaks it.
const ENGINE: &str = "docker";
/// Seconds until the operator must have made a Service; starting a container takes most of them.
const SECONDS_MAX: u64 = 60;

/// The archive of this machine's image, if it was made.
pub(crate) fn archive() -> Result<PathBuf> {
    let architecture = program::machine()?.0;
    let archive = folder().join(format!("dask-operator-{}-{architecture}.oci.tar", version()));
    ensure!(archive.exists(), "there is no image: `cargo xtask dist image` makes it in some minutes");
    Ok(archive)
}

/// An image that can be run here.
pub(crate) struct Runnable {
    archive: PathBuf,
}

impl Runnable {
    /// What this machine can run; if it cannot, why.
    pub(crate) fn find() -> Result<Self, String> {
        let archive = archive().map_err(|error| error.to_string())?;
        let mut info = Command::new(ENGINE);
        info.arg("info").stdout(Stdio::null()).stderr(Stdio::null());
        if info.status().is_ok_and(|status| status.success()) {
            Ok(Self { archive })
        } else {
            Err("no container engine answers".into())
        }
    }

    /// Loads the image and has it work for an API server in memory.
    pub(crate) fn check(&self) -> Result<()> {
        shell::run(Command::new(ENGINE).args(["load", "--input"]).arg(&self.archive))?;
        let server = Server::new(Config::default());
        let cluster = Cluster::up(server.clone())?;
        // The image's user is not who made the file. Its key is that of a server that ends with this check.
        let kubeconfig = cluster.kubeconfig().with_file_name("kubeconfig-of-the-image");
        fs::copy(cluster.kubeconfig(), &kubeconfig).context("cannot copy the kubeconfig")?;
        shell::run(Command::new("chmod").arg("0644").arg(&kubeconfig))?;
        for definition in dask_operator::api::crds::crds() {
            create(&server, "apiextensions.k8s.io/v1", "customresourcedefinitions", definition)?;
        }
        create(&server, "kubernetes.dask.org/v1", "daskclusters", dask_cluster())?;
        let made = made(&server)?;
        cluster.wait(async {
            let container = container(&kubeconfig).start().await.context("the image does not start")?;
            let made = made.await;
            let log = container.stderr_to_vec().await.context("the container has no log")?;
            container.rm().await.context("the container cannot be removed")?;
            let log = String::from_utf8_lossy(&log);
            ensure!(made, "the operator made no Service in {SECONDS_MAX} s; its log:\n{log}");
            Ok(())
        })
    }
}

/// The image with the restrictions that the chart's values ask for.
fn container(kubeconfig: &Path) -> ContainerRequest<GenericImage> {
    let mount = Mount::bind_mount(kubeconfig.display().to_string(), "/kubeconfig");
    GenericImage::new(IMAGE, version())
        .with_cmd(["--all-namespaces"])
        .with_env_var("KUBECONFIG", "/kubeconfig")
        .with_mount(mount.with_access_mode(AccessMode::ReadOnly))
        .with_network("host")
        .with_readonly_rootfs(true)
        .with_cap_drop("ALL")
        .with_security_opt("no-new-privileges")
        .with_user("1000")
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
