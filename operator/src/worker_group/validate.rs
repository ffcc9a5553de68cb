//! From the loose DaskWorkerGroup to one that can be built without failing.

use super::update::Update;
use crate::api::DaskWorkerGroupSpec;
use crate::observe::Resource;
use crate::podspec;
use crate::spec::{self, Invalid};

/// Longest group name: it is the value of a label.
const NAME_MAX: usize = 63;

/// A DaskWorkerGroup that can be built.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The typed spec.
    pub spec: DaskWorkerGroupSpec,
    /// How many workers there are to be.
    pub replicas: usize,
    /// How workers made from an earlier template are replaced.
    pub update: Update,
}

/// Checks name and spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    let name = resource.name();
    if name.len() > NAME_MAX {
        let said = format!("the name has {} characters; as a label value it may have {NAME_MAX}", name.len());
        return Err(Invalid::name(said));
    }
    let spec: DaskWorkerGroupSpec = spec::read(resource)?;
    if spec.cluster.is_empty() {
        return Err(Invalid::spec("spec.cluster is empty; it names the DaskCluster the workers belong to"));
    }
    podspec::check(&spec.worker.spec, "spec.worker.spec")?;
    let replicas = spec::natural("spec.worker.replicas", spec.worker.replicas)? as usize;
    let update = Update::read(spec.worker.update_strategy.as_ref(), "spec.worker.updateStrategy")?;
    Ok(Valid { spec, replicas, update })
}
