//! From the loose DaskWorkerGroup to one that can be built without failing.

use crate::api::DaskWorkerGroupSpec;
use crate::observe::Resource;
use crate::{podspec, spec};

/// Longest group name: it is the value of a label.
const NAME_MAX: usize = 63;

/// A DaskWorkerGroup that can be built.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The typed spec.
    pub spec: DaskWorkerGroupSpec,
    /// How many workers there are to be.
    pub replicas: usize,
}

/// Why a DaskWorkerGroup cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Checks name and spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    let name = resource.name();
    if name.len() > NAME_MAX {
        let message =
            format!("the name has {} characters; as a label value it may have {NAME_MAX}", name.len());
        return Err(Invalid { reason: "InvalidName", message });
    }
    let invalid = |message| Invalid { reason: "InvalidSpec", message };
    let spec: DaskWorkerGroupSpec = spec::read(resource).map_err(invalid)?;
    if spec.cluster.is_empty() {
        return Err(invalid("spec.cluster is empty; it names the DaskCluster the workers belong to".into()));
    }
    podspec::check(&spec.worker.spec, "spec.worker.spec").map_err(invalid)?;
    let replicas = usize::try_from(spec.worker.replicas).map_err(|_| {
        invalid(format!("spec.worker.replicas is {}; it must be at least 0", spec.worker.replicas))
    })?;
    Ok(Valid { spec, replicas })
}
