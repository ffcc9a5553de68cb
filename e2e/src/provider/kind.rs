//! Kubernetes in containers, by kind. The cluster has a name and a kubeconfig of its own: the user's are not touched.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Cluster, Guard};
use crate::Options;
use crate::process;

/// The image of all pods but the operator's.
const IMAGE: &str = "ghcr.io/dask/dask:latest";
/// How long the cluster may take to come up.
const WAIT: &str = "180s";

/// What is run, in this order; the first makes the cluster, the last takes it down.
pub(super) struct Commands {
    pub(super) create: Command,
    pub(super) has_image: Command,
    pub(super) pull: Command,
    pub(super) load: [Command; 2],
    pub(super) restart: Vec<String>,
    pub(super) delete: Command,
}

pub(super) fn up(options: &Options, archive: &Path) -> Result<Cluster> {
    let version = Command::new("kind").arg("version").stdout(Stdio::null()).status();
    version.context(
        "kind is not on the path: install it from https://kind.sigs.k8s.io, or use --provider local",
    )?;
    let kubeconfig = options.folder.join("kubeconfig");
    let name = format!("dask-operator-e2e-{}", std::process::id());
    let node = std::env::var("DASK_OPERATOR_KIND_NODE").ok();
    let mut commands = commands(&name, &kubeconfig, node.as_deref(), archive);
    // From here on the cluster is taken down, also one that came up only half.
    let cluster = Cluster {
        kubeconfig,
        tools: options.tools.clone(),
        restart: Ok(commands.restart),
        guard: Guard::Command(commands.delete),
    };
    process::run(&mut commands.create)?;
    if !commands.has_image.stdout(Stdio::null()).status()?.success() {
        process::run(&mut commands.pull)?;
    }
    for load in &mut commands.load {
        process::run(load)?;
    }
    Ok(cluster)
}

fn commands(name: &str, kubeconfig: &Path, node: Option<&str>, archive: &Path) -> Commands {
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
    let mut archive_load = kind(&["load", "image-archive"]);
    archive_load.arg(archive);
    let control_plane = format!("{name}-control-plane");
    Commands {
        create,
        has_image: docker(&["image", "inspect", IMAGE]),
        pull: docker(&["pull", IMAGE]),
        load: [kind(&["load", "docker-image", IMAGE]), archive_load],
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
        let commands = commands("mine", Path::new("run/kubeconfig"), Some("node:v1"), Path::new("image.tar"));
        let all = [&commands.create, &commands.load[0], &commands.load[1], &commands.delete];
        let all: Vec<String> = all.into_iter().map(words).collect();
        assert_eq!(
            all,
            [
                "kind create cluster --wait 180s --name mine --kubeconfig run/kubeconfig --image node:v1",
                "kind load docker-image ghcr.io/dask/dask:latest --name mine",
                "kind load image-archive --name mine image.tar",
                "kind delete cluster --name mine --kubeconfig run/kubeconfig",
            ]
        );
        assert_eq!(commands.restart.join(" "), "docker exec mine-control-plane pkill kube-apiserver");
    }
}
