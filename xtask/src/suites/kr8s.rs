//! kr8s, a client in Python: the tests of its source distribution.

use anyhow::Result;

use super::ledger::Results;
use super::pytest::Pytest;
use super::{Run, data, python};

pub(super) const VERSION: &str = "0.20.15";

/// The suite's own settings, without coverage and reruns. A test that hangs ends after three minutes: one of them fetches 200 MB through a
/// forwarded port, for which a busy machine needs more than one.
const ARGUMENTS: [&str; 7] = ["-q", "--keep-cluster", "-o", "addopts=", "-o", "timeout=180", "kr8s"];

pub(super) fn run(run: &Run<'_>) -> Result<Results> {
    run.cluster()?.deploy(&data(run.suite.name).join("cluster.yaml"))?;
    let python = python::environment(run.cache, &data(run.suite.name).join("requirements.txt"))?;
    let source = python::source(run.cache, &python, "kr8s", VERSION)?;
    Pytest::new(&python, &source, &ARGUMENTS).run(run)
}
