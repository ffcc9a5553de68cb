//! Names, labels and fixed strings of the wire contract.
//!
//! Every name is a function of what owns it, so a stale cache can only collide with an existing object, never duplicate one.

use sha2::{Digest, Sha256};

/// API group of the four kinds.
pub const GROUP: &str = "kubernetes.dask.org";
/// `apiVersion` of the four kinds.
pub const API_VERSION: &str = "kubernetes.dask.org/v1";

/// Label: name of the DaskCluster (on a job's objects: of the job).
pub const CLUSTER_NAME: &str = "dask.org/cluster-name";
/// Label: `scheduler`, `worker`, `workergroup` or `job-runner`.
pub const COMPONENT: &str = "dask.org/component";
/// Label: name of the DaskWorkerGroup.
pub const GROUP_NAME: &str = "dask.org/workergroup-name";
/// Label that keeps Istio's sidecar out; today's operator sets it on every pod.
pub const ISTIO_INJECT: &str = "sidecar.istio.io/inject";
/// Label of our own: one worker Deployment's selector. Upstream's selectors are alike for a whole group.
pub const WORKER_NAME: &str = "operator.dask.org/worker-name";

/// Prefix of the annotations this operator keeps its bookkeeping in. They are never copied to children.
pub const OWN_PREFIX: &str = "operator.dask.org/";
/// Annotation on each child: hash of what was wanted when it was written.
pub const HASH: &str = "operator.dask.org/hash";
/// Label on each child that a plugin added: the plugin's name.
pub const PLUGIN: &str = "operator.dask.org/plugin";
/// Annotation on such a child: the fields that were written, without their values, so that those which are not wanted any more can
/// be taken away.
pub const FIELDS: &str = "operator.dask.org/fields";
/// Annotation on each child of the operator's that was made as plugins edited it: their names.
pub const EDITED_BY: &str = "operator.dask.org/edited-by";
/// Annotation on a parent: the kinds of the children that plugins added to it, by plugin; see [`crate::plugin::ledger`].
pub const ADDED: &str = "operator.dask.org/added";
/// Annotation on a default group: the cluster's worker number that flowed last.
pub const FLOWED_REPLICAS: &str = "operator.dask.org/cluster-replicas";
/// Annotation on a default group: hash of the cluster's template that flowed last.
pub const FLOWED_TEMPLATE: &str = "operator.dask.org/cluster-template";
/// Annotation on a job's cluster: the run it was made for, where that is not the first.
pub const RUN: &str = "operator.dask.org/run";
/// Annotation on a worker: how many times in a row its predecessors failed.
pub const FAILURES: &str = "operator.dask.org/failures";
/// Annotation on a worker: since when it is being retired. Written before the scheduler is asked, so that whoever comes after
/// a crash goes on with the same worker, and nobody counts on it any more.
pub const RETIRING_SINCE: &str = "operator.dask.org/retiring-since";
/// Annotation on a group: since when a scale-down waits for a scheduler that cannot be asked.
pub const UNANSWERED_SINCE: &str = "operator.dask.org/unanswered-since";
/// Annotation users may put on a group (or its cluster, for the default group): seconds a scale-down waits, instead of the
/// operator's setting.
pub const SCALE_DOWN_GRACE: &str = "operator.dask.org/scale-down-grace";
/// Annotation users may put on a DaskCluster: the Secret with which its scheduler is spoken to over TLS.
pub const TLS_SECRET: &str = "operator.dask.org/tls-secret";
/// Annotation on a DaskCluster whose definition stores no conditions: by which path its scheduler answers.
pub const SCHEDULER_PATH: &str = "operator.dask.org/scheduler-path";
/// Annotation of today's operator on a DaskAutoscaler: decimal Unix seconds.
pub const COOLDOWN_UNTIL: &str = "kubernetes.dask.org/cooldown-until";
/// Annotation of our own on a DaskAutoscaler whose cool-downs differ: decimal Unix seconds of the last change.
pub const SCALED_AT: &str = "operator.dask.org/scaled-at";
/// Annotation kopf leaves on every object it has handled.
pub const KOPF_LAST_HANDLED: &str = "kopf.zalando.org/last-handled-configuration";
/// Finalizer kopf leaves on objects with timers; with that operator gone it blocks deletion.
pub const KOPF_FINALIZER: &str = "kopf.zalando.org/KopfFinalizerMarker";

/// Port of the scheduler's comm protocol, whatever its Service says.
pub const COMM_PORT: u16 = 8786;
/// Hexadecimal digits at the end of a worker's name.
const WORKER_DIGITS: usize = 10;
/// Longest DaskCluster name: 63 less the length of `-scheduler`.
pub const CLUSTER_NAME_MAX: usize = 53;

/// Deployment and Service of the scheduler.
pub fn scheduler(cluster: &str) -> String {
    format!("{cluster}-scheduler")
}

/// The worker group a cluster makes for itself.
pub fn default_group(cluster: &str) -> String {
    format!("{cluster}-default")
}

/// The pod of a job's run; the first has the number 0, and the name that today's operator gives.
pub fn runner(job: &str, run: u32) -> String {
    match run {
        0 => format!("{job}-runner"),
        run => format!("{job}-runner-{run}"),
    }
}

/// Which run of a job a pod is for, by its name.
pub fn run_of(job: &str, pod: &str) -> Option<u32> {
    let rest = pod.strip_prefix(job)?.strip_prefix("-runner")?;
    if rest.is_empty() {
        return Some(0);
    }
    let number = rest.strip_prefix('-')?;
    number.parse().ok().filter(|run: &u32| *run > 0 && run.to_string() == number)
}

/// The worker in `slot` of the group with `group_uid`: `{group}-worker-{10 hex}`.
pub fn worker(group: &str, group_uid: &str, slot: u32) -> String {
    format!("{group}-worker-{}", hex(&[group_uid, &slot.to_string()], WORKER_DIGITS))
}

/// Whether the operator gives such a name to a child of this kind, whosever child it may be.
pub fn is_given(kind: &str, name: &str) -> bool {
    let is_worker = || {
        let number = name.rsplit_once("-worker-").map(|(_, number)| number).unwrap_or_default();
        number.len() == WORKER_DIGITS && number.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    let is_runner =
        || name.ends_with("-runner") || name.rsplit_once("-runner-").is_some_and(|(_, run)| is_number(run));
    match kind {
        "Service" => name.ends_with("-scheduler"),
        "Deployment" => name.ends_with("-scheduler") || is_worker(),
        "Pod" => is_worker() || is_runner(),
        "DaskWorkerGroup" => name.ends_with("-default"),
        _ => false,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// Address under which workers and runners reach the scheduler.
pub fn scheduler_address(cluster: &str, namespace: &str, domain: &str, tls: bool) -> String {
    let scheme = if tls { "tls" } else { "tcp" };
    format!("{scheme}://{}.{namespace}.svc.{domain}:{COMM_PORT}", scheduler(cluster))
}

/// What is wrong with a DaskCluster name, if anything.
///
/// The Service's name must be a DNS label of at most 63 characters; today's operator checks the same rule.
pub fn check_cluster_name(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > CLUSTER_NAME_MAX {
        return Err(format!(
            "the name has {} characters; at most {CLUSTER_NAME_MAX} leave room for the Service {name}-scheduler",
            name.len()
        ));
    }
    if !name.chars().all(inner) || name.starts_with('-') || name.ends_with('-') {
        return Err(format!(
            "the name {name} must consist of lower case letters, digits and '-', and begin and end with a letter or digit"
        ));
    }
    Ok(())
}

/// The first `digits` hexadecimal digits of the hash of some texts.
pub fn hex(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut text = String::with_capacity(digits + 1);
    for byte in hash.finalize().iter().take(digits.div_ceil(2)) {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_name_is_a_function_of_group_and_slot() {
        let name = worker("simple-default", "u-1", 0);
        assert_eq!(name, worker("simple-default", "u-1", 0));
        assert_ne!(name, worker("simple-default", "u-1", 1));
        assert_ne!(name, worker("simple-default", "u-2", 0));
        assert_eq!(name.len(), "simple-default-worker-".len() + 10);
    }

    #[test]
    fn names_that_the_operator_gives_are_known_whosever_they_are() {
        assert!(is_given("Service", &scheduler("a")) && is_given("Deployment", &scheduler("a")));
        assert!(
            is_given("Pod", &worker("a-default", "u", 3)) && is_given("Deployment", &worker("g", "u", 3))
        );
        assert!(is_given("Pod", &runner("sum", 0)) && is_given("Pod", &runner("sum", 12)));
        assert!(is_given("DaskWorkerGroup", &default_group("a")));
        let free = [
            ("PodDisruptionBudget", "a-scheduler"),
            ("Service", "a-dashboard"),
            ("Pod", "a-worker-node"),
            ("Pod", "a-runner-x"),
            ("Pod", "12"),
            ("DaskWorkerGroup", "a-gpu"),
        ];
        assert!(free.iter().all(|(kind, name)| !is_given(kind, name)));
    }

    #[test]
    fn a_run_is_told_by_its_pods_name() {
        for run in [0, 1, 12] {
            assert_eq!(run_of("sum", &runner("sum", run)), Some(run));
        }
        for other in ["sum", "sum-runner-0", "sum-runner-01", "sum-runner-x", "sums-runner", "sum-runner-"] {
            assert_eq!(run_of("sum", other), None, "{other}");
        }
    }

    #[test]
    fn cluster_names_follow_the_rule_of_the_scheduler_service() {
        for good in ["a", "valid-name", "9x", &"a".repeat(53)] {
            assert!(check_cluster_name(good).is_ok(), "{good}");
        }
        for bad in ["", "invalid.chars.in.name", "Upper", "-a", "a-", "under_score", &"a".repeat(54)] {
            assert!(check_cluster_name(bad).is_err(), "{bad}");
        }
    }
}
