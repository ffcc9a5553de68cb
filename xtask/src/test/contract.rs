//! The tier `contract`: real schedulers of every supported version of Dask.

use std::thread;

use anyhow::Result;
use dask_operator::local::python;

use super::count::cargo_test;
use super::report::Outcome;
use crate::shell;

/// How the tests hear of the versions: `version=python`, separated by semicolons.
const VARIABLE: &str = "DASK_OPERATOR_DASKS";

/// Prepares all versions side by side, then asks each.
pub(super) fn contract() -> Outcome {
    match prepare() {
        Ok(versions) => cargo_test(&["--test", "contract"], Some((VARIABLE, versions))),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

/// The value of [`VARIABLE`].
fn prepare() -> Result<String> {
    let cache = shell::target();
    let prepared: Vec<Result<String>> = thread::scope(|scope| {
        let prepare = |version: &'static str| {
            let cache = &cache;
            scope.spawn(move || -> Result<String> {
                let python =
                    python::prepare_version(cache, version, &mut |line| println!("{version}: {line}"))?;
                Ok(format!("{version}={}", python.program().display()))
            })
        };
        let running: Vec<_> = python::versions().map(prepare).collect();
        running
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("preparing Dask was cut short")))
            })
            .collect()
    });
    Ok(prepared.into_iter().collect::<Result<Vec<_>>>()?.join(";"))
}
