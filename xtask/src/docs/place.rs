//! Where a page's commands are run: a cluster of its own without an operator, a folder, and the programs that readers have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ::e2e::process::Running;
use anyhow::{Context, Result, bail};

use crate::shell;

/// How long the commands of one block may take; each waits for something itself, and says so.
const BLOCK_MAX: Duration = Duration::from_mins(5);
/// The first start downloads Dask.
const READY_MAX: Duration = Duration::from_mins(5);
/// How often a command that runs is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of output that are shown of a command that failed.
const LINES_SHOWN: usize = 40;
/// What of the repository the pages name.
const LINKED: [&str; 2] = ["charts", "operator"];

/// For as long as it lives.
pub(super) struct Place {
    folder: PathBuf,
    kubeconfig: PathBuf,
    _cluster: Running,
    path: std::ffi::OsString,
    log: File,
}

impl Place {
    /// `name` is the page's; `python` an environment with the Python operator; `programs` are folders of programs.
    pub(super) fn new(name: &str, python: &Path, programs: &[PathBuf]) -> Result<Self> {
        let run = shell::target().join("docs").join(std::process::id().to_string());
        let run = std::path::absolute(run.join(name))?;
        let folder = run.join("work");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for linked in LINKED {
            std::os::unix::fs::symlink(
                std::path::absolute(shell::root().join(linked))?,
                folder.join(linked),
            )?;
        }
        std::os::unix::fs::symlink(upstream(python)?, folder.join("upstream"))?;
        let ours = std::path::absolute(shell::program(""))?;
        let images = run.join("images.yaml");
        fs::write(&images, catalogue(&ours, python))?;
        let (kubeconfig, log) = (run.join("kubeconfig"), run.join("local.log"));
        let mut serve = Command::new(ours.join("dask-operator"));
        serve.args(["local", "--serve", "--no-operator", "--dir"]).arg(&run).arg("--images").arg(&images);
        let mut cluster = Running::start(serve.env("DASK_OPERATOR_CACHE", shell::target()), &log)?;
        cluster.wait_for(&kubeconfig, READY_MAX, &log).context("dask-operator local")?;
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let all = programs.iter().cloned().chain([ours]).chain(std::env::split_paths(&inherited));
        let path = std::env::join_paths(all)?;
        Ok(Self { folder, kubeconfig, _cluster: cluster, path, log: File::create(run.join("commands.log"))? })
    }

    /// Where the page's files are.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs a script; what it wrote is shown if it fails.
    pub(super) fn run(&mut self, script: &str) -> Result<()> {
        let output = self.folder.with_extension("output");
        let file = File::create(&output)?;
        let mut child = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(&self.folder)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", &self.path)
            // Helm's own files are the reader's.
            .env("HOME", &self.folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start bash")?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begun.elapsed() > BLOCK_MAX {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(LOOK);
        };
        let said = fs::read(&output)?;
        let said = String::from_utf8_lossy(&said);
        std::io::Write::write_all(&mut self.log, format!("$ {script}{said}\n").as_bytes())?;
        let last: Vec<&str> = said.lines().rev().take(LINES_SHOWN).collect();
        let last: String = last.into_iter().rev().flat_map(|line| ["\n    ", line]).collect();
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("`{}` ended with {status}:{last}", script.trim()),
            None => bail!("`{}` had not ended after {} s:{last}", script.trim(), BLOCK_MAX.as_secs()),
        }
    }
}

/// The Python operator's chart, which its package brings along.
fn upstream(python: &Path) -> Result<PathBuf> {
    let inside = "site-packages/dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator";
    for entry in fs::read_dir(python.join("lib"))? {
        let chart = entry?.path().join(inside);
        if chart.exists() {
            return Ok(chart);
        }
    }
    bail!("{} has no chart of the Python operator", python.display())
}

/// Images of both operators; the Python one goes by the tag of its release.
fn catalogue(ours: &Path, python: &Path) -> String {
    let entry = |image: &str, entrypoint: &str, folder: &Path| {
        format!(
            "- image: \"{image}\"\n  entrypoint: [{entrypoint}]\n  pathPrepend: [\"{}\"]\n",
            folder.display()
        )
    };
    let repository = "ghcr.io/dask/dask-kubernetes-operator";
    [
        "images:\n".to_owned(),
        entry(&format!("{repository}:{}", env!("CARGO_PKG_VERSION")), "dask-operator, run", ours),
        entry(
            &format!("{repository}:2026.3.0"),
            "python, -m, kopf, run, --module=dask_kubernetes.operator.controller",
            &python.join("bin"),
        ),
    ]
    .concat()
}
