//! A real API server and its controllers, whose one node is this machine: `e2e-control-plane` (see `src/bin`).
//!
//! `KUBEBUILDER_ASSETS` names a folder with the four programs, as envtest has two of them; without it they are looked for on
//! the path. Where `DASK_OPERATOR_CONTROL_PLANE` names a kubeconfig, that cluster is used, with whatever nodes it has.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Cluster, Guard, images, obstacle_without};
use crate::Options;
use crate::process::Running;

/// What a control plane consists of.
const PROGRAMS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// The first start downloads Dask.
const READY_MAX: Duration = Duration::from_mins(15);

/// The folder with a control plane's programs.
///
/// # Errors
/// When there is none; says where they were looked for.
pub fn programs() -> Result<PathBuf> {
    let given = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = given.map_or_else(|| std::env::split_paths(&path).collect(), |folder| vec![folder]);
    folders
        .into_iter()
        .find(|folder| PROGRAMS.iter().all(|program| folder.join(program).is_file()))
        .with_context(|| {
            format!("no folder has all of {}: name one in KUBEBUILDER_ASSETS", PROGRAMS.join(", "))
        })
}

pub(super) fn up(options: &Options) -> Result<Cluster> {
    if let Some(kubeconfig) = std::env::var_os("DASK_OPERATOR_CONTROL_PLANE").map(PathBuf::from) {
        return Ok(Cluster {
            kubeconfig,
            tools: options.tools.clone(),
            restart: Err("the control plane was started by somebody else (DASK_OPERATOR_CONTROL_PLANE)"),
            obstacle_to_own_kind: Some("nothing is loaded into a cluster that was started by somebody else"),
            guard: Guard::Nothing,
        });
    }
    let programs = programs()?;
    let helper = options.operator.with_file_name("e2e-control-plane");
    if !helper.is_file() {
        bail!("{} is not there: build the workspace", helper.display());
    }
    let (folder, log) = (options.folder.join("control-plane"), options.folder.join("control-plane.log"));
    let mut command = Command::new(helper);
    command.arg("--programs").arg(programs).arg("--dir").arg(&folder);
    command.arg("--images").arg(images::write(options)?).arg("--cache").arg(&options.cache);
    let mut running = Running::start(&mut command, &log)?;
    let kubeconfig = folder.join("kubeconfig");
    running.wait_for(&kubeconfig, READY_MAX, &log).context("the control plane")?;
    Ok(Cluster {
        kubeconfig,
        tools: options.tools.clone(),
        restart: Ok(["kill", "-HUP", &running.id().to_string()].map(str::to_owned).to_vec()),
        obstacle_to_own_kind: obstacle_without(options.tools.own_kind.as_ref()),
        guard: Guard::Program { _running: running },
    })
}
