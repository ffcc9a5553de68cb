//! The tier `kopf`: plugins written for the Python operator, run by kopf beside ours.

use anyhow::Result;

use super::count::Count;
use super::report::Outcome;
use crate::shell;
use crate::suites::python;

/// How the tests hear of the Python that has kopf.
const VARIABLE: &str = "DASK_OPERATOR_KOPF";

/// Prepares kopf and the Python operator, then runs the plugins of users.
pub(super) fn kopf() -> Outcome {
    match run() {
        Ok(outcome) => outcome,
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

fn run() -> Result<Outcome> {
    let cache = std::path::absolute(shell::target().join("kopf-plugins"))?;
    let python = python::environment(&cache, &shell::root().join("suites/kopf-plugins/requirements.txt"))?;
    let mut count = Count::default();
    // All features of the workspace, so that nothing is compiled anew for this.
    let mut command = shell::cargo(&["test", "--workspace", "--locked", "--test", "kopf_plugins"]);
    let success = shell::watch(command.env(VARIABLE, python), |line| count.see(line))?;
    Ok(count.outcome(success))
}
