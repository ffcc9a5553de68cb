//! `cargo xtask workflows`: what GitHub would refuse, and what no job may do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{shell, tools};

/// Check the workflows with actionlint; builds it if it is not there.
#[derive(clap::Args)]
pub(crate) struct Workflows {}

impl Workflows {
    #[allow(clippy::unused_self, reason = "verbs are run alike")]
    pub(crate) fn run(self) -> Result<()> {
        check(&tools::ACTIONLINT.ready()?)
    }
}

/// No workflow has a mistake, each action is named by its commit, and each job ends at some time.
pub(crate) fn check(actionlint: &Path) -> Result<()> {
    let paths = paths()?;
    ensure!(!paths.is_empty(), "there are no workflows");
    for path in &paths {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let careless = careless(&text);
        ensure!(careless.is_empty(), "{}:\n  {}", path.display(), careless.join("\n  "));
    }
    shell::run(Command::new(actionlint).arg("-no-color").args(&paths))
        .context("see what actionlint says above")
}

fn paths() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in
        fs::read_dir(shell::root().join(".github/workflows")).context("cannot read .github/workflows")?
    {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// What actionlint does not mind: actions by a name that can be moved, jobs without a limit.
fn careless(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let Some((_, action)) = line.split_once("uses: ") else { continue };
        let commit = action.split('@').nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        if commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push(format!("{action} is not named by its commit"));
        }
    }
    let jobs = text.matches("runs-on:").count();
    let limits = text.matches("timeout-minutes:").count();
    if limits < jobs {
        found.push(format!("{} of {jobs} jobs have no timeout-minutes", jobs - limits));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_that_can_be_moved_and_a_job_without_a_limit_are_found() {
        let text = "jobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: actions/checkout@v4\n";
        assert_eq!(careless(text).len(), 2);
        let commit = "0123456789012345678901234567890123456789";
        let text = format!("runs-on: x\ntimeout-minutes: 5\n- uses: actions/checkout@{commit} # v4\n");
        assert_eq!(careless(&text), Vec::<String>::new());
    }
}
