//! Running pytest and reading what our plugin (`suites/ledger_plugin.py`) says of each test.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Run;
use super::cluster::kubectl;
use super::ledger::{Ending, Results};
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

/// Runs `python -m pytest` with these arguments in a folder, in which pytest-kind finds a cluster: ours.
///
/// pytest-kind asks a program `kind` which clusters there are and uses a kubectl and a kubeconfig, all three below
/// `.pytest-kind/NAME`, and downloads the programs it does not find there.
pub(super) fn run(run: &Run<'_>, python: &Path, folder: &Path, arguments: &[&str]) -> Result<Results> {
    stand_in_for_kind(run, folder)?;
    let results = run.cache.join("results.jsonl");
    let _ = std::fs::remove_file(&results);
    let mut command = Command::new(python);
    command.current_dir(folder).args(["-m", "pytest", "-p", "ledger_plugin", "--tb=short"]).args(arguments);
    if let Some(filter) = run.filter {
        command.args(["-k", filter]);
    }
    command
        .env("PYTHONPATH", shell::root().join("suites"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("LEDGER_RESULTS", &results)
        .env("KUBECONFIG", folder.join(".pytest-kind/pytest-kind/kubeconfig"));
    let status = command.status().context("cannot start pytest")?;
    if !status.code().is_some_and(|code| RAN.contains(&code)) {
        bail!("pytest ended with {status}");
    }
    read(&std::fs::read_to_string(&results).context("pytest left no results")?)
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
    std::fs::copy(&run.cluster.kubeconfig, place.join("kubeconfig"))
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
