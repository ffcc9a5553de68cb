//! dask-kubernetes, the Python operator and its client: the tests of its source distribution, with its operator and with ours.
//!
//! The Python operator has a race that a busy machine may lose, here as on any cluster: it writes the phase `Pending` over `Running`, and
//! `KubeCluster` then says that the cluster was not actioned after 60 seconds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::PythonOperator;

use super::cluster::kubectl;
use super::ledger::Results;
use super::pytest::Pytest;
use super::{Run, data, python};

pub(super) const NAME: &str = "dask-kubernetes";
pub(super) const VERSION: &str = "2026.3.0";

/// The operators that the suite is run with.
pub(super) const PYTHON: &str = "python";
pub(super) const DEPLOYMENT: &str = "deployment";
pub(super) const POD: &str = "pod";

/// The suite's own settings, but for the limit of a minute for a test that hangs: a test with two clusters spends forty seconds of it
/// on names that do not resolve outside the cluster, so that a busy machine would be taken for a fault.
const ARGUMENTS: [&str; 3] = ["-o", "timeout=180", "dask_kubernetes"];

/// Stand-ins for programs that the suite wants on the path, by name.
///
/// It has docker build the image that `images.yaml` names, and only looks whether there is a helm. Definitions come as
/// upstream released them, in its chart: those beside them refer to a Kubernetes schema on the network.
const STAND_INS: [(&str, &str); 3] = [
    ("docker", "exit 0"),
    ("helm", "echo 'the suite needs helm after all' >&2; exit 1"),
    (
        "k8s-crd-resolver",
        "for out; do in=$prev prev=$out; done\n\
         exec cp \"$(dirname \"$in\")/../deployment/helm/dask-kubernetes-operator/crds/$(basename \"$in\")\" \"$out\"",
    ),
];

pub(super) fn run(run: &Run<'_>) -> Result<Results> {
    let python = python::environment(run.cache, &data(NAME).join("requirements.txt"))?;
    let source = python::source(run.cache, &python, "dask_kubernetes", VERSION)?;
    let programs = programs(run.cache)?;
    let mut pytest = Pytest::new(&python, &source, &ARGUMENTS);
    pytest.programs = Some(&programs);
    if run.suite.arm == PYTHON {
        return pytest.run(run);
    }
    let place = data(NAME).join("operator.yaml");
    let cluster = run.cluster()?;
    cluster.apply(&place)?;
    pytest.plugin = Some("operator_runner");
    pytest.env.push(("OPERATOR_ARGUMENTS", format!("--worker-carrier={}", run.suite.arm)));
    let results = pytest.run(run);
    let removed = cluster.remove(&place);
    results.and_then(|results| removed.map(|()| results))
}

/// The operator itself, as a user of its release has it.
pub(super) fn operator(cache: &Path) -> Result<PythonOperator> {
    let python = python::environment(cache, &data(NAME).join("requirements.txt"))?;
    let source = python::source(cache, &python, "dask_kubernetes", VERSION)?;
    Ok(PythonOperator {
        version: VERSION,
        programs: cache.join("python/bin"),
        chart: source.join("dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator"),
    })
}

/// A folder with the programs that the suite looks for on the path.
fn programs(cache: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = cache.join("programs");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, script) in STAND_INS {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let link = folder.join("kubectl");
    let _ = std::fs::remove_file(&link);
    symlink(kubectl()?, &link).with_context(|| format!("cannot make {}", link.display()))?;
    Ok(folder)
}
