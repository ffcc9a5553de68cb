//! `dask-operator local --serve`: nothing is needed but this machine.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Cluster, Guard, images, obstacle_without};
use crate::Options;
use crate::process::Running;

/// The first start downloads Dask.
const READY_MAX: Duration = Duration::from_mins(15);

/// With roles that count, as in any real cluster.
pub(super) fn up(options: &Options) -> Result<Cluster> {
    serve(options, &images::write(options)?, &["--rbac".as_ref()])
}

pub(super) fn serve(options: &Options, images: &Path, arguments: &[&OsStr]) -> Result<Cluster> {
    let (operator, folder) = (&options.operator, &options.folder);
    let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("local.log"));
    let check = Command::new(operator).args(["local", "--check"]).output();
    let check = check.context("cannot start dask-operator")?;
    if !check.status.success() {
        // Where pods are only simulated, no operator runs in one.
        bail!("{}", String::from_utf8_lossy(&check.stdout).trim());
    }
    let mut command = Command::new(operator);
    command
        .args(["local", "--serve", "--no-operator", "--dir"])
        .arg(folder)
        .arg("--images")
        .arg(images)
        .args(arguments)
        .env("DASK_OPERATOR_CACHE", &options.cache);
    let mut running = Running::start(&mut command, &log)?;
    running.wait_for(&kubeconfig, READY_MAX, &log).context("dask-operator local")?;
    Ok(Cluster {
        kubeconfig,
        tools: options.tools.clone(),
        restart: Err("the API server in memory forgets everything when it ends"),
        obstacle_to_own_kind: obstacle_without(options.tools.own_kind.as_ref()),
        guard: Guard::Program { _running: running },
    })
}
