//! From the loose DaskCluster to one that can be built without failing.

use crate::api::DaskClusterSpec;
use crate::observe::Resource;
use crate::spec::{self, Invalid};
use crate::{names, podspec};

/// A DaskCluster that can be built.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The typed spec.
    pub spec: DaskClusterSpec,
}

/// Checks name and spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    names::check_cluster_name(resource.name()).map_err(Invalid::name)?;
    let spec: DaskClusterSpec = spec::read(resource)?;
    podspec::check(&spec.scheduler.spec, "spec.scheduler.spec")?;
    podspec::check(&spec.worker.spec, "spec.worker.spec")?;
    spec::natural("spec.worker.replicas", spec.worker.replicas)?;
    Ok(Valid { spec })
}
