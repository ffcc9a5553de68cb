//! `cargo xtask demo`: first contact. A DaskJob on real Dask processes, without Kubernetes, shown from beginning to end.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// What the shipped job must print: the sum of the squares of 0..1999999 is n(n-1)(2n-1)/6.
const EXPECTED: &str = "sum of squares of 0..1999999 = 2666664666667000000";
/// Generous: the first run downloads Dask.
const SECONDS_MAX: &str = "600";
/// How `dask-operator local --check` ends where pods cannot be processes.
const CANNOT: i32 = 3;

/// Run the shipped DaskJob on real Dask processes, show it, and check its result.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Use the program as it was built last.
    #[arg(long)]
    no_build: bool,
}

impl Demo {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        if let Some(reason) = obstacle()? {
            bail!("{reason}; try it on Linux, as root or where user namespaces are allowed");
        }
        demo()
    }
}

/// Runs the built program; its Python environment and its logs are below `target`.
pub(crate) fn demo() -> Result<()> {
    let folder = shell::target().join("demo");
    let log = folder.join("logs/demo-runner.log");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    shell::run(
        Command::new(shell::program("dask-operator"))
            .args(["local", "--timeout", SECONDS_MAX, "--dir"])
            .arg(&folder)
            .env("DASK_OPERATOR_CACHE", shell::target()),
    )
    .with_context(|| format!("the logs are in {}", folder.join("logs").display()))?;
    let text =
        std::fs::read_to_string(&log).with_context(|| format!("the job left no log at {}", log.display()))?;
    if !text.lines().any(|line| line == EXPECTED) {
        bail!("the job's log {} does not say {EXPECTED:?}", log.display());
    }
    println!("the job's result is right: {EXPECTED}");
    Ok(())
}

/// Why this machine cannot run it, if it cannot. The program must have been built.
pub(crate) fn obstacle() -> Result<Option<String>> {
    let mut command = Command::new(shell::program("dask-operator"));
    let check = command.args(["local", "--check"]).output().context("cannot start dask-operator")?;
    Ok(match check.status.code() {
        Some(0) => None,
        Some(CANNOT) => Some(String::from_utf8_lossy(&check.stdout).trim().to_owned()),
        _ => bail!("dask-operator local --check failed: {}", String::from_utf8_lossy(&check.stderr).trim()),
    })
}
