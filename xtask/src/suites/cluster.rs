//! The server that a suite runs against.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::process::Running;

use crate::{demo, shell};

/// The server answers within milliseconds; a loaded machine is given more.
const READY_MAX: Duration = Duration::from_mins(1);

/// A cluster, for as long as this value lives.
pub(super) struct Cluster {
    /// Everything in it, no paths to other files: suites read certificates from it.
    pub(super) kubeconfig: PathBuf,
    running: Option<Running>,
}

impl Cluster {
    /// Starts the built `fake-apiserver` with its files in `folder`; pods are processes where the machine can.
    ///
    /// In `images`, `<cache>` stands for that folder and `<programs>` for that of our own programs.
    pub(super) fn start(folder: &Path, images: &Path) -> Result<Self> {
        let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("fake-apiserver.log"));
        let catalogue = std::fs::read_to_string(images)
            .with_context(|| format!("cannot read {}", images.display()))?
            .replace("<cache>", &folder.to_string_lossy())
            .replace("<programs>", &std::path::absolute(shell::program(""))?.to_string_lossy());
        let images = folder.join("images.yaml");
        std::fs::write(&images, catalogue).with_context(|| format!("cannot write {}", images.display()))?;
        let _ = std::fs::remove_file(&kubeconfig);
        let mut command = Command::new(shell::program("fake-apiserver"));
        command.args(["serve", "--kubeconfig"]).arg(&kubeconfig);
        match demo::obstacle()? {
            None => {
                command.arg("--processes").arg("--images").arg(&images);
            }
            Some(reason) => println!("pods are simulated, not run: {reason}"),
        }
        let mut running = Running::start(&mut command, &log)?;
        running.wait_for(&kubeconfig, READY_MAX, &log).context("fake-apiserver")?;
        Ok(Self { kubeconfig, running: Some(running) })
    }

    /// Makes what a manifest says.
    pub(super) fn apply(&self, manifest: &Path) -> Result<()> {
        shell::run(self.kubectl()?.args(["apply", "--filename"]).arg(manifest))
    }

    /// Makes what a manifest says and waits until its Deployments are available.
    pub(super) fn deploy(&self, manifest: &Path) -> Result<()> {
        self.apply(manifest)?;
        shell::run(
            self.kubectl()?
                .args(["wait", "--for=condition=Available", "--timeout=60s", "--filename"])
                .arg(manifest),
        )
    }

    /// Takes away what a manifest has made, from a cluster that stays.
    pub(super) fn remove(&self, manifest: &Path) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        shell::run(
            self.kubectl()?
                .args(["delete", "--ignore-not-found", "--timeout=2m", "--filename"])
                .arg(manifest),
        )
    }

    fn kubectl(&self) -> Result<Command> {
        let mut command = Command::new(kubectl()?);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        Ok(command)
    }

    /// A cluster that is up already.
    pub(super) fn at(kubeconfig: &Path) -> Result<Self> {
        let output = Command::new(kubectl()?)
            .args(["config", "view", "--raw", "--flatten", "--minify", "--kubeconfig"])
            .arg(kubeconfig)
            .output()
            .context("cannot start kubectl")?;
        if !output.status.success() {
            bail!(
                "kubectl cannot read {}: {}",
                kubeconfig.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let flat = shell::target().join("suites").join("current.kubeconfig");
        std::fs::write(&flat, output.stdout).with_context(|| format!("cannot write {}", flat.display()))?;
        Ok(Self { kubeconfig: std::path::absolute(flat)?, running: None })
    }
}

/// A kubectl that is no dispatcher, if there is one: suites call it hundreds of times.
pub(crate) fn kubectl() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .find_map(|folder| folder.join("kubectl").canonicalize().ok())
        .context("no kubectl on PATH: install one")?;
    let beside = |minor: u16| found.with_file_name(format!("kubectl.1.{minor}"));
    Ok((27..=99).rev().map(beside).find(|program| program.is_file()).unwrap_or(found))
}
