//! `dask-operator local --serve`: nothing is needed but this machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cluster, Guard};
use crate::process::Running;

/// The first start downloads Dask.
const READY_MAX: Duration = Duration::from_mins(5);

pub(super) fn up(operator: &Path, folder: &Path) -> Result<Cluster> {
    let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("local.log"));
    let check =
        Command::new(operator).args(["local", "--check"]).status().context("cannot start dask-operator")?;
    let mut command = Command::new(operator);
    let mut running = Running::start(command.args(["local", "--serve", "--dir"]).arg(folder), &log)?;
    running.wait_for(&kubeconfig, READY_MAX, &log).context("dask-operator local")?;
    let guard = Guard::Program { _running: running };
    // Where processes cannot be pods, pods are simulated: then no job computes anything.
    Ok(Cluster { has_operator: true, runs_pods: check.success(), guard, ..Cluster::keeps(kubeconfig) })
}
