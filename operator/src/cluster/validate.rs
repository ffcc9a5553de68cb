//! From the loose DaskCluster to one that can be built without failing.

use crate::api::{DaskClusterSpec, SchedulerUpdateType};
use crate::observe::Resource;
use crate::spec::{self, Invalid};
use crate::worker_group::Update;
use crate::{names, podspec};

/// A DaskCluster that can be built.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The typed spec.
    pub spec: DaskClusterSpec,
    /// A scheduler made from an earlier template is replaced at once.
    pub recreate: bool,
}

/// Checks name and spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    names::check_cluster_name(resource.name()).map_err(Invalid::name)?;
    let spec: DaskClusterSpec = spec::read(resource)?;
    podspec::check(&spec.scheduler.spec, "spec.scheduler.spec")?;
    podspec::check(&spec.worker.spec, "spec.worker.spec")?;
    spec::natural("spec.worker.replicas", spec.worker.replicas)?;
    // Said here, where the user looks; the group would say it too.
    Update::read(spec.worker.update_strategy.as_ref(), "spec.worker.updateStrategy")?;
    let strategy = spec.scheduler.update_strategy.clone().unwrap_or_default();
    Ok(Valid { recreate: strategy.type_ == SchedulerUpdateType::Recreate, spec })
}
