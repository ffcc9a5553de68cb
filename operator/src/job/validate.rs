//! From the loose DaskJob to one that can be built without failing.

use jiff::SignedDuration;

use crate::api::{DaskJobSpec, RawPodSpec, RetryCluster};
use crate::observe::Resource;
use crate::spec::{self, Invalid};
use crate::{names, podspec};

/// A DaskJob that can be built.
#[derive(Clone, Debug)]
pub struct Valid {
    /// The typed spec.
    pub spec: DaskJobSpec,
    /// The runner's pod spec, which the CRD does not demand.
    pub runner: RawPodSpec,
    /// How many failures are made good by another run; `None` where nothing but the runner's own end counts.
    pub backoff_limit: Option<u32>,
    /// How long the job may take.
    pub deadline: Option<SignedDuration>,
    /// How long the job stays after its end.
    pub ttl: Option<SignedDuration>,
    /// The job is to have no pods.
    pub suspend: bool,
    /// Each run gets a new cluster.
    pub fresh: bool,
}

/// Checks name and spec.
pub fn validate(resource: &Resource) -> Result<Valid, Invalid> {
    names::check_cluster_name(resource.name())
        .map_err(|message| Invalid::name(format!("{message}; the job's cluster has the job's name")))?;
    let spec: DaskJobSpec = spec::read(resource)?;
    let missing = || Invalid::spec("spec.job.spec is missing: it says what runs");
    let runner = spec.job.spec.clone().ok_or_else(missing)?;
    podspec::check(&runner, "spec.job.spec")?;
    podspec::check(&spec.cluster.spec.scheduler.spec, "spec.cluster.spec.scheduler.spec")?;
    podspec::check(&spec.cluster.spec.worker.spec, "spec.cluster.spec.worker.spec")?;
    let number = |name: &str, given: Option<i64>| {
        given.map(|number| spec::natural(&format!("spec.{name}"), number)).transpose()
    };
    let seconds = |name: &str, given: Option<i64>| {
        Ok(number(name, given)?.map(|seconds| SignedDuration::from_secs(i64::from(seconds))))
    };
    Ok(Valid {
        backoff_limit: number("backoffLimit", spec.backoff_limit)?,
        deadline: seconds("activeDeadlineSeconds", spec.active_deadline_seconds)?,
        ttl: seconds("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished)?,
        suspend: spec.suspend == Some(true),
        fresh: spec.retry_cluster.unwrap_or_default() == RetryCluster::Fresh,
        runner,
        spec,
    })
}
