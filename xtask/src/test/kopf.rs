//! The tier `kopf`: plugins written for the Python operator, run by kopf beside ours.

use anyhow::Result;

use super::count::cargo_test;
use super::report::Outcome;
use crate::shell;
use crate::suites::python;

/// How the tests hear of the Python that has kopf.
const VARIABLE: &str = "DASK_OPERATOR_KOPF";

/// Prepares kopf and the Python operator, then runs the plugins of users.
pub(super) fn kopf() -> Outcome {
    match prepare() {
        Ok(python) => cargo_test(&["--test", "kopf_plugins"], Some((VARIABLE, python))),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

/// The value of [`VARIABLE`].
fn prepare() -> Result<String> {
    let cache = std::path::absolute(shell::target().join("kopf-plugins"))?;
    let python = python::environment(&cache, &shell::root().join("suites/kopf-plugins/requirements.txt"))?;
    Ok(python.display().to_string())
}
