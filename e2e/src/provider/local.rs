//! `dask-operator local --serve`: nothing is needed but this machine.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cluster, Guard};
use crate::Options;
use crate::process::Running;

/// The first start downloads Dask.
const READY_MAX: Duration = Duration::from_mins(5);

pub(super) fn up(options: &Options) -> Result<Cluster> {
    serve(options, &[])
}

/// The same without the operator, whose place others take: pods with images of this catalogue.
pub(super) fn without_operator(options: &Options, images: &Path) -> Result<Cluster> {
    let arguments = ["--no-operator".as_ref(), "--images".as_ref(), images.as_os_str()];
    Ok(Cluster { has_operator: false, ..serve(options, &arguments)? })
}

fn serve(options: &Options, arguments: &[&OsStr]) -> Result<Cluster> {
    let (operator, folder) = (&options.operator, &options.folder);
    let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("local.log"));
    let check =
        Command::new(operator).args(["local", "--check"]).status().context("cannot start dask-operator")?;
    let mut command = Command::new(operator);
    command
        .args(["local", "--serve", "--dir"])
        .arg(folder)
        .args(arguments)
        .env("DASK_OPERATOR_CACHE", &options.cache);
    let mut running = Running::start(&mut command, &log)?;
    running.wait_for(&kubeconfig, READY_MAX, &log).context("dask-operator local")?;
    let guard = Guard::Program { _running: running };
    // Where processes cannot be pods, pods are simulated: then no job computes anything.
    Ok(Cluster { has_operator: true, runs_pods: check.success(), guard, ..Cluster::keeps(kubeconfig) })
}
