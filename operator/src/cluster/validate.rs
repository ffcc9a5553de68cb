//! From the loose DaskCluster to one that can be built without failing.

use crate::api::DaskClusterSpec;
use crate::observe::Resource;
use crate::{names, podspec, spec};

/// A DaskCluster that can be built.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The typed spec.
    pub spec: DaskClusterSpec,
}

/// Why a DaskCluster cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Checks name and spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    names::check_cluster_name(resource.name())
        .map_err(|message| Invalid { reason: "InvalidName", message })?;
    let invalid = |message| Invalid { reason: "InvalidSpec", message };
    let spec: DaskClusterSpec = spec::read(resource).map_err(invalid)?;
    podspec::check(&spec.scheduler.spec, "spec.scheduler.spec").map_err(invalid)?;
    podspec::check(&spec.worker.spec, "spec.worker.spec").map_err(invalid)?;
    if spec.worker.replicas < 0 {
        return Err(invalid(format!(
            "spec.worker.replicas is {}; it must be at least 0",
            spec.worker.replicas
        )));
    }
    Ok(Valid { spec })
}
