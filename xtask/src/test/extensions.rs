//! The tier `extensions`: the shipped plugins with the real definitions of the projects that they are for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::count::cargo_test;
use super::report::Outcome;

/// How the tests hear of the definitions: files, separated by semicolons.
const VARIABLE: &str = "DASK_OPERATOR_DEFINITIONS";

/// Go modules that hold definitions, each with the files or the folder in it.
const MODULES: [(&str, &str); 3] = [
    ("istio.io/api@v1.27.1", "kubernetes/customresourcedefinitions.gen.yaml"),
    ("sigs.k8s.io/gateway-api@v1.3.0", "config/crd/standard"),
    ("github.com/cert-manager/cert-manager@v1.18.2", "deploy/crds"),
];

/// Fetches the definitions, then plays each shipped plugin.
pub(super) fn extensions() -> Outcome {
    match files() {
        Ok(files) => cargo_test(&["--test", "extensions"], Some((VARIABLE, files.join(";")))),
        Err(error) => Outcome::skipped(format!("no definitions of other projects: {error:#}")),
    }
}

/// The files of all modules.
fn files() -> Result<Vec<String>> {
    let mut files = Vec::new();
    for (module, place) in MODULES {
        let place = fetched(module)?.join(place);
        if place.is_file() {
            files.push(place.display().to_string());
            continue;
        }
        let entries = fs::read_dir(&place).with_context(|| format!("cannot read {}", place.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path.display().to_string());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Where a Go module is, fetched if it is not there yet.
fn fetched(module: &str) -> Result<PathBuf> {
    let mut command = Command::new("go");
    // Outside of any module of its own.
    command.args(["mod", "download", "-json", module]).current_dir(Path::new("/")).env_remove("GOFLAGS");
    let output = command.output().context("Go is not installed")?;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    ensure!(
        output.status.success(),
        "{module} cannot be fetched: {}",
        answer["Error"]
            .as_str()
            .map_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned(), str::to_owned)
    );
    answer["Dir"].as_str().map(PathBuf::from).with_context(|| format!("Go does not say where {module} is"))
}
