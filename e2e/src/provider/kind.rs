//! Kubernetes in containers, by kind. The cluster has a name and a kubeconfig of its own: the user's are not touched.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Cluster, Guard};
use crate::process;

/// The image of all pods.
const IMAGE: &str = "ghcr.io/dask/dask:latest";

pub(super) fn up(folder: &Path) -> Result<Cluster> {
    let version = Command::new("kind").arg("version").stdout(Stdio::null()).status();
    version.context(
        "kind is not on the path: install it from https://kind.sigs.k8s.io, or use --provider local",
    )?;
    let name = format!("dask-operator-e2e-{}", std::process::id());
    let kubeconfig = folder.join("kubeconfig");
    let mut down = Command::new("kind");
    down.args(["delete", "cluster", "--name", &name, "--kubeconfig"]).arg(&kubeconfig);
    // From here on the cluster is taken down, also one that came up only half.
    let cluster = Cluster { guard: Guard::Command(down), ..Cluster::keeps(kubeconfig.clone()) };
    let mut create = Command::new("kind");
    create.args(["create", "cluster", "--name", &name, "--wait", "180s", "--kubeconfig"]).arg(&kubeconfig);
    if let Some(node) = std::env::var_os("DASK_OPERATOR_KIND_NODE") {
        create.arg("--image").arg(node);
    }
    process::run(&mut create)?;
    if !Command::new("docker").args(["image", "inspect", IMAGE]).stdout(Stdio::null()).status()?.success() {
        process::run(Command::new("docker").args(["pull", IMAGE]))?;
    }
    process::run(Command::new("kind").args(["load", "docker-image", IMAGE, "--name", &name]))?;
    Ok(cluster)
}
