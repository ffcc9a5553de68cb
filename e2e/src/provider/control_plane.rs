//! A real control plane without nodes: objects are judged by the real API server, but no pod runs.
//!
//! `DASK_OPERATOR_CONTROL_PLANE` names a folder with two programs: `up DIR` starts a control plane whose state is in `DIR`
//! and leaves `DIR/kubeconfig`; `down DIR` stops it. What they use (for instance `KUBEBUILDER_ASSETS`) is their affair.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Cluster, Guard};
use crate::process;

pub(super) fn up(folder: &Path) -> Result<Cluster> {
    let programs = std::env::var_os("DASK_OPERATOR_CONTROL_PLANE").map(PathBuf::from);
    let programs = programs.context(
        "no control plane is known: set DASK_OPERATOR_CONTROL_PLANE to a folder with the programs `up` and `down`",
    )?;
    let state = folder.join("control-plane");
    process::run(Command::new(programs.join("up")).arg(&state))?;
    let mut down = Command::new(programs.join("down"));
    down.arg(&state);
    Ok(Cluster { runs_pods: false, guard: Guard::Command(down), ..Cluster::keeps(state.join("kubeconfig")) })
}
