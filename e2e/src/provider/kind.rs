//! Kubernetes in containers, by kind. The cluster has a name and a kubeconfig of its own: the user's are not touched.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Cluster, Guard, Images, obstacle_without};
use crate::Options;
use crate::process;

/// The image of Dask; the Python client is given the one of its own age, since newer ones lack the programs that it starts.
const DASK: &str = "ghcr.io/dask/dask";
/// How long the cluster may take to come up.
const WAIT: &str = "180s";

/// What is run, in this order; the first makes the cluster, the last takes it down.
pub(super) struct Commands {
    pub(super) create: Command,
    pub(super) images: Vec<Image>,
    /// Of our archives.
    pub(super) load: Vec<Command>,
    pub(super) restart: Vec<String>,
    pub(super) delete: Command,
}

/// How an image comes into the cluster, by way of this machine.
pub(super) struct Image {
    pub(super) is_here: Command,
    pub(super) pull: Command,
    pub(super) load: Command,
}

pub(super) fn up(options: &Options, images: &Images) -> Result<Cluster> {
    let version = Command::new("kind").arg("version").stdout(Stdio::null()).status();
    version.context(
        "kind is not on the path: install it from https://kind.sigs.k8s.io, or use --provider local",
    )?;
    let kubeconfig = options.folder.join("kubeconfig");
    let name = format!("dask-operator-e2e-{}", std::process::id());
    let node = std::env::var("DASK_OPERATOR_KIND_NODE").ok();
    let tags = options.tools.python_operator.iter().map(|python| python.version);
    let tags: Vec<&str> = ["latest"].into_iter().chain(tags).collect();
    let mut commands = commands(&name, &kubeconfig, node.as_deref(), images, &tags);
    // From here on the cluster is taken down, also one that came up only half.
    let cluster = Cluster {
        kubeconfig,
        tools: options.tools.clone(),
        restart: Ok(commands.restart),
        obstacle_to_own_kind: obstacle_without(images.own_kind.as_ref()),
        guard: Guard::Command(commands.delete),
    };
    process::run(&mut commands.create)?;
    for image in &mut commands.images {
        if !image.is_here.stdout(Stdio::null()).status()?.success() {
            process::run(&mut image.pull)?;
        }
        process::run(&mut image.load)?;
    }
    for load in &mut commands.load {
        process::run(load)?;
    }
    Ok(cluster)
}

fn commands(name: &str, kubeconfig: &Path, node: Option<&str>, images: &Images, tags: &[&str]) -> Commands {
    let kind = |words: &[&str]| {
        let mut command = Command::new("kind");
        command.args(words).args(["--name", name]);
        command
    };
    let docker = |words: &[&str]| {
        let mut command = Command::new("docker");
        command.args(words);
        command
    };
    let mut create = kind(&["create", "cluster", "--wait", WAIT]);
    create.arg("--kubeconfig").arg(kubeconfig);
    if let Some(node) = node {
        create.args(["--image", node]);
    }
    let mut delete = kind(&["delete", "cluster"]);
    delete.arg("--kubeconfig").arg(kubeconfig);
    let load = |archive: &Path| {
        let mut load = kind(&["load", "image-archive"]);
        load.arg(archive);
        load
    };
    let image = |tag: &&str| {
        let image = format!("{DASK}:{tag}");
        Image {
            is_here: docker(&["image", "inspect", &image]),
            pull: docker(&["pull", &image]),
            load: kind(&["load", "docker-image", &image]),
        }
    };
    let control_plane = format!("{name}-control-plane");
    Commands {
        create,
        images: tags.iter().map(image).collect(),
        load: images.archives().map(load).collect(),
        // The kubelet starts it again.
        restart: ["docker", "exec", &control_plane, "pkill", "kube-apiserver"].map(str::to_owned).to_vec(),
        delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let all = [command.get_program()].into_iter().chain(command.get_args());
        all.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_the_cluster_of_this_run_is_touched() {
        let images = Images { operator: "image.tar".into(), own_kind: Some("own-kind.tar".into()) };
        let kubeconfig = Path::new("run/kubeconfig");
        let commands = commands("mine", kubeconfig, Some("node:v1"), &images, &["latest", "2026.3.0"]);
        let images = commands.images.iter().flat_map(|image| [&image.is_here, &image.pull, &image.load]);
        let all =
            [&commands.create].into_iter().chain(images).chain(&commands.load).chain([&commands.delete]);
        let all: Vec<String> = all.map(words).collect();
        assert_eq!(
            all,
            [
                "kind create cluster --wait 180s --name mine --kubeconfig run/kubeconfig --image node:v1",
                "docker image inspect ghcr.io/dask/dask:latest",
                "docker pull ghcr.io/dask/dask:latest",
                "kind load docker-image ghcr.io/dask/dask:latest --name mine",
                "docker image inspect ghcr.io/dask/dask:2026.3.0",
                "docker pull ghcr.io/dask/dask:2026.3.0",
                "kind load docker-image ghcr.io/dask/dask:2026.3.0 --name mine",
                "kind load image-archive --name mine image.tar",
                "kind load image-archive --name mine own-kind.tar",
                "kind delete cluster --name mine --kubeconfig run/kubeconfig",
            ]
        );
        assert_eq!(commands.restart.join(" "), "docker exec mine-control-plane pkill kube-apiserver");
    }
}
