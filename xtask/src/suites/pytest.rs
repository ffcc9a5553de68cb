//! Running pytest and reading what our plugin (`suites/ledger_plugin.py`) says of each test.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::cluster::kubectl;
use super::ledger::{Ending, Results};
use super::{Run, data};
use crate::shell;

/// Exit codes of pytest that mean that the tests ran: all passed, some failed.
const RAN: [i32; 2] = [0, 1];

/// What the plugin says of one phase of one test.
#[derive(Deserialize)]
struct Line {
    test: String,
    phase: String,
    outcome: String,
    why: String,
}

/// `python -m pytest` in a folder, in which pytest-kind finds a cluster: ours.
///
/// pytest-kind asks a program `kind` which clusters there are and uses a kubectl and a kubeconfig, all three below
/// `.pytest-kind/NAME`, and downloads the programs it does not find there.
pub(super) struct Pytest<'a> {
    python: &'a Path,
    folder: &'a Path,
    arguments: &'a [&'a str],
    /// Found before all others on the path.
    pub(super) programs: Option<&'a Path>,
    /// A module in the suite's folder of the repository that is loaded before the suite's own.
    pub(super) plugin: Option<&'a str>,
    pub(super) env: Vec<(&'a str, String)>,
}

impl<'a> Pytest<'a> {
    pub(super) fn new(python: &'a Path, folder: &'a Path, arguments: &'a [&'a str]) -> Self {
        Self { python, folder, arguments, programs: None, plugin: None, env: Vec::new() }
    }

    /// How each test ended.
    pub(super) fn run(&self, run: &Run<'_>) -> Result<Results> {
        stand_in_for_kind(run, self.folder)?;
        let results = run.cache.join("results.jsonl");
        let _ = std::fs::remove_file(&results);
        let mut command = Command::new(self.python);
        command.current_dir(self.folder).args(["-m", "pytest", "-p", "ledger_plugin", "--tb=short"]);
        if let Some(plugin) = self.plugin {
            command.args(["-p", plugin]);
        }
        if let Some(filter) = run.filter {
            command.args(["-k", filter]);
        }
        command
            .args(self.arguments)
            .env("PATH", path(self.programs)?)
            .env("PYTHONPATH", std::env::join_paths([data(run.suite.name), shell::root().join("suites")])?)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("LEDGER_RESULTS", &results)
            .env("KUBECONFIG", self.folder.join(".pytest-kind/pytest-kind/kubeconfig"))
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let status = command.status().context("cannot start pytest")?;
        if !status.code().is_some_and(|code| RAN.contains(&code)) {
            bail!("pytest ended with {status}");
        }
        read(&std::fs::read_to_string(&results).context("pytest left no results")?)
    }
}

/// The path, with these programs first.
fn path(programs: Option<&Path>) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = programs.map(Path::to_owned).into_iter();
    std::env::join_paths(first.chain(std::env::split_paths(&path)))
        .context("the cache's path has a colon in it")
}

fn stand_in_for_kind(run: &Run<'_>, folder: &Path) -> Result<()> {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let place = folder.join(".pytest-kind/pytest-kind");
    std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let kind = place.join("kind-v0.17.0");
    std::fs::write(&kind, "#!/bin/sh\n[ \"$1 $2\" != 'get clusters' ] || echo pytest-kind\n")?;
    std::fs::set_permissions(&kind, std::fs::Permissions::from_mode(0o755))?;
    let link = place.join("kubectl-v1.25.3");
    let _ = std::fs::remove_file(&link);
    symlink(kubectl()?, &link)?;
    std::fs::copy(&run.cluster()?.kubeconfig, place.join("kubeconfig"))
        .context("the kubeconfig is not there")?;
    Ok(())
}

/// One ending for each test, from the endings of its phases: the worst counts.
fn read(text: &str) -> Result<Results> {
    let mut results = Results::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).context("the results are not the plugin's")?;
        let why = line.why.lines().next().unwrap_or_default().trim().to_owned();
        let ending = match (line.outcome.as_str(), line.phase.as_str()) {
            ("failed", "call") => Ending::Failed(why),
            ("failed", phase) => Ending::Failed(format!("{phase}: {why}")),
            ("skipped", _) => Ending::Skipped(why),
            _ => Ending::Passed,
        };
        let worst = results.entry(line.test).or_insert(Ending::Passed);
        if ending > *worst {
            *worst = ending;
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_phase_of_a_test_counts() {
        let lines = [
            r#"{"test": "a", "phase": "setup", "outcome": "passed", "why": ""}"#,
            r#"{"test": "a", "phase": "call", "outcome": "failed", "why": "assert 1 == 2\n + more"}"#,
            r#"{"test": "a", "phase": "teardown", "outcome": "passed", "why": ""}"#,
            r#"{"test": "b", "phase": "setup", "outcome": "skipped", "why": "by hand"}"#,
            r#"{"test": "b", "phase": "teardown", "outcome": "passed", "why": ""}"#,
        ];
        let results = read(&lines.join("\n")).unwrap();
        assert_eq!(results["a"], Ending::Failed("assert 1 == 2".into()));
        assert_eq!(results["b"], Ending::Skipped("by hand".into()));
    }
}
