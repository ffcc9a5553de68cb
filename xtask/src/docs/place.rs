//! Where a page's commands are run: a cluster of its own without an operator, a folder, and the programs that readers have.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ::e2e::provider::{self, Cluster, Provider};
use ::e2e::{Options, PythonOperator, Tools};
use anyhow::{Context, Result, bail};

use crate::shell;

/// How long the commands of one block may take; each waits for something itself, and says so.
const BLOCK_MAX: Duration = Duration::from_mins(5);
/// How often a command that runs is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of output that are shown of a command that failed.
const LINES_SHOWN: usize = 40;
/// What of the repository the pages name.
const LINKED: [&str; 2] = ["charts", "operator"];

/// For as long as it lives.
pub(super) struct Place {
    folder: PathBuf,
    cluster: Cluster,
    path: std::ffi::OsString,
    log: File,
}

impl Place {
    /// `name` is the page's; `programs` are folders of programs.
    pub(super) fn new(name: &str, python: &PythonOperator, programs: &[PathBuf]) -> Result<Self> {
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
        std::os::unix::fs::symlink(std::path::absolute(&python.chart)?, folder.join("upstream"))?;
        let ours = std::path::absolute(shell::program(""))?;
        let cluster = provider::local_without_roles(&Options {
            provider: Provider::Local,
            operator: ours.join("dask-operator"),
            cache: shell::target(),
            folder: run.clone(),
            only: Vec::new(),
            at_once: 1,
            tools: Tools { python_operator: Some(python.clone()), ..Tools::default() },
        })?;
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let all = programs.iter().cloned().chain([ours]).chain(std::env::split_paths(&inherited));
        let path = std::env::join_paths(all)?;
        Ok(Self { folder, cluster, path, log: File::create(run.join("commands.log"))? })
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
            .env("KUBECONFIG", &self.cluster.kubeconfig)
            .env("PATH", &self.path)
            // Where a cluster that a page starts itself finds Python Dask.
            .env("DASK_OPERATOR_CACHE", std::path::absolute(shell::target())?)
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
