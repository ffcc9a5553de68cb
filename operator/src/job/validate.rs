//! From the loose DaskJob to one that can be built without failing.

use crate::api::{DaskJobSpec, RawPodSpec};
use crate::observe::Resource;
use crate::{names, podspec, spec};

/// A DaskJob that can be built.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The typed spec.
    pub spec: DaskJobSpec,
    /// The runner's pod spec, which the CRD does not demand.
    pub runner: RawPodSpec,
}

/// Why a DaskJob cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// No edit of the job can cure it: a name cannot be changed.
    pub hopeless: bool,
}

/// Checks name and spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    names::check_cluster_name(resource.name()).map_err(|message| Invalid {
        reason: "InvalidName",
        message: format!("{message}; the job's cluster has the job's name"),
        hopeless: true,
    })?;
    let invalid = |message| Invalid { reason: "InvalidSpec", message, hopeless: false };
    let spec: DaskJobSpec = spec::read(resource).map_err(invalid)?;
    let runner =
        spec.job.spec.clone().ok_or_else(|| invalid("spec.job.spec is missing: it says what runs".into()))?;
    podspec::check(&runner, "spec.job.spec").map_err(invalid)?;
    podspec::check(&spec.cluster.spec.scheduler.spec, "spec.cluster.spec.scheduler.spec").map_err(invalid)?;
    podspec::check(&spec.cluster.spec.worker.spec, "spec.cluster.spec.worker.spec").map_err(invalid)?;
    Ok(Valid { spec, runner })
}
