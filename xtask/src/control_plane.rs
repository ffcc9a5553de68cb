//! The real Kubernetes control plane that facts and answers are taken from.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;

/// The programs beside the API server. Each leaves the number of its process in a file of this name.
const CONTROLLERS: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];
/// Likewise, those that keep objects in memory.
const KEEPERS: [&str; 2] = ["kube-apiserver", "etcd"];

/// A control plane, for as long as this value lives.
pub(crate) struct ControlPlane {
    pub(crate) kubeconfig: PathBuf,
    /// What takes it down, and where its state is; nothing for a cluster that was there before.
    own: Option<(PathBuf, PathBuf)>,
}

impl ControlPlane {
    /// Uses the cluster of `REFERENCE_KUBECONFIG`, or starts one from the folder `CONTROL_PLANE`
    /// (default `../shared/control-plane`; its `up` honours `KUBEBUILDER_ASSETS` and `PORT`).
    pub(crate) fn start() -> Result<Self> {
        if let Some(path) = std::env::var_os("REFERENCE_KUBECONFIG") {
            return Ok(Self { kubeconfig: std::path::absolute(path)?, own: None });
        }
        let folder = std::env::var_os("CONTROL_PLANE")
            .map_or_else(|| shell::root().join("../shared/control-plane"), PathBuf::from);
        let up = folder.join("up");
        if !up.exists() {
            bail!(
                "no reference control plane: {} does not exist. Name a running cluster in REFERENCE_KUBECONFIG, \
                 or a folder with the scripts `up` and `down` in CONTROL_PLANE",
                up.display()
            );
        }
        let state = std::path::absolute(shell::target().join("reference-control-plane"))?;
        let started = Self { kubeconfig: state.join("kubeconfig"), own: Some((folder.join("down"), state)) };
        // What an earlier run may have left would be in the way.
        started.take_down();
        let state = started.kubeconfig.parent().context("the state has no folder")?;
        let output = Command::new(&up)
            .arg(state)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", up.display()))?;
        if !output.status.success() {
            bail!("{} failed ({}); its logs are in {}", up.display(), output.status, state.display());
        }
        Ok(started)
    }

    /// Stops what acts on its own, so that answers depend on the requests alone.
    pub(crate) fn stop_controllers(&self) -> Result<()> {
        let Some((_, state)) = &self.own else {
            println!("REFERENCE_KUBECONFIG must name a cluster without controllers, or recordings vary");
            return Ok(());
        };
        for name in CONTROLLERS {
            shell::run(Command::new("kill").arg(process(state, name)?))?;
        }
        Ok(())
    }

    /// The numbers of the processes that keep objects; none of a cluster that was there before.
    pub(crate) fn keepers(&self) -> Result<Vec<String>> {
        self.own.iter().flat_map(|(_, state)| KEEPERS.map(|name| process(state, name))).collect()
    }

    fn take_down(&self) {
        if let Some((down, state)) = &self.own
            && state.exists()
        {
            let _ = Command::new(down).arg(state).arg("--wipe").stdout(Stdio::null()).status();
        }
    }
}

/// The test program of `fake-apiserver` with the arguments and environment by which it asks a real control plane, and this one.
pub(crate) fn asked_by(test: &str, controllers: bool) -> Result<(ControlPlane, Command)> {
    // Compiled first: a control plane should not wait for a compiler.
    let arguments = ["test", "--locked", "-p", "fake-apiserver", "--test", test];
    shell::run(shell::cargo(&arguments).arg("--no-run"))?;
    let real = ControlPlane::start()?;
    if !controllers {
        real.stop_controllers()?;
    }
    let mut command = shell::cargo(&arguments);
    command.env("FAKE_APISERVER_RECORD", &real.kubeconfig);
    Ok((real, command))
}

/// The number of the process of a program.
fn process(state: &Path, name: &str) -> Result<String> {
    let file = state.join(format!("{name}.pid"));
    let number = std::fs::read_to_string(&file)
        .with_context(|| format!("{} does not say which process it is", file.display()))?;
    Ok(number.trim().to_owned())
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.take_down();
    }
}
