//! The rights that the operator needs, and why: no more and no less than what it calls.
//!
//! `cargo xtask codegen chart` writes them into the chart; `operator/tests/rights.rs` compares them with what the operator
//! does in every scenario and in random histories.

use crate::names::GROUP;

/// The right to do something to some resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resources by their plural, with `/` and the subresource if it is one.
    pub resources: &'static [&'static str],
    /// Only objects of these names; empty for all.
    pub names: &'static [&'static str],
    /// Verbs of the API server.
    pub verbs: &'static [&'static str],
    /// What they are used for.
    pub why: &'static str,
}

impl Rule {
    const fn new(
        group: &'static str,
        resources: &'static [&'static str],
        verbs: &'static [&'static str],
        why: &'static str,
    ) -> Self {
        Self { group, resources, names: &[], verbs, why }
    }
}

/// Needed in each namespace the operator works for: of a Role, or of a ClusterRole for all of them.
pub const NAMESPACED: &[Rule] = &[
    Rule::new(
        GROUP,
        &["daskclusters"],
        &["get", "list", "watch", "create", "patch", "delete"],
        "made and removed for a DaskJob, removed when idle; its phase where there is no status endpoint; kopf's finalizer",
    ),
    Rule::new(
        GROUP,
        &["daskworkergroups"],
        &["get", "list", "watch", "create", "patch"],
        "the default group of a cluster, its number of workers, the owner of the others",
    ),
    Rule::new(
        GROUP,
        &["daskautoscalers"],
        &["get", "list", "watch", "patch"],
        "its cool-down, owner and kopf's finalizer; whether it is gone when a patch of it finds nothing",
    ),
    Rule::new(
        GROUP,
        &["daskjobs"],
        &["get", "list", "watch", "delete"],
        "to be followed, and removed some time after their end where they ask for it; whether one is gone when its status finds nothing",
    ),
    Rule::new(
        GROUP,
        &["daskclusters/status", "daskworkergroups/status", "daskjobs/status", "daskautoscalers/status"],
        &["patch"],
        "what is reported",
    ),
    Rule::new(
        "",
        &["pods"],
        &["get", "list", "watch", "create", "patch", "delete"],
        "workers, marked before they are retired, and job runners",
    ),
    Rule::new(
        "",
        &["services"],
        &["get", "list", "watch", "create", "patch", "delete"],
        "the address of a scheduler, made anew where its spec says so",
    ),
    Rule::new(
        "apps",
        &["deployments"],
        &["get", "list", "watch", "create", "patch", "delete"],
        "schedulers, and workers that are carried by Deployments",
    ),
    Rule::new("", &["events"], &["create"], "what is worth telling"),
];

/// Needed at cluster scope, and only to be exact: without them discovery tells which endpoints there are.
pub const CLUSTER: &[Rule] = &[Rule {
    group: "apiextensions.k8s.io",
    resources: &["customresourcedefinitions"],
    names: &DEFINITIONS,
    // A list or a watch of one object by its name is allowed by the name.
    verbs: &["get", "list", "watch"],
    why: "which fields the installed definitions keep, now and after they are exchanged",
}];

/// Needed where the API server lets only those block the deletion of an owner who may update its finalizers (the admission
/// plugin `OwnerReferencesPermissionEnforcement`, which OpenShift switches on): children are made with `blockOwnerDeletion`.
pub const BLOCKING: &[Rule] = &[Rule::new(
    GROUP,
    &["daskclusters/finalizers", "daskworkergroups/finalizers", "daskjobs/finalizers"],
    &["update"],
    "children hold their owner until they are gone",
)];

/// Needed by the job that brings the definitions to this version, for as long as it runs: creating cannot be limited to names.
pub const UPGRADE: &[Rule] = &[
    Rule::new(
        "apiextensions.k8s.io",
        &["customresourcedefinitions"],
        &["create"],
        "definitions that are missing",
    ),
    Rule {
        group: "apiextensions.k8s.io",
        resources: &["customresourcedefinitions"],
        names: &DEFINITIONS,
        verbs: &["get", "patch"],
        why: "definitions of another version",
    },
];

/// Needed in the operator's own namespace where a leader is elected: creating cannot be limited to names.
pub const ELECTION: &[Rule] = &[
    Rule::new("coordination.k8s.io", &["leases"], &["create"], "the lease that the replicas share"),
    Rule {
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: &[RELEASE],
        verbs: &["get", "patch"],
        why: "who holds it, and holding it",
    },
];

/// Stands for the full name of a release, which its lease has too; filled in by the chart.
const RELEASE: &str = "{{ include \"dask-kubernetes-operator.fullname\" . }}";

/// The names of our definitions.
const DEFINITIONS: [&str; 4] = [
    "daskautoscalers.kubernetes.dask.org",
    "daskclusters.kubernetes.dask.org",
    "daskjobs.kubernetes.dask.org",
    "daskworkergroups.kubernetes.dask.org",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_definitions_are_ours() {
        let mut names: Vec<String> = crate::api::crds::crds()
            .iter()
            .filter_map(|crd| crd["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        assert_eq!(names, DEFINITIONS);
    }

    #[test]
    fn no_rule_holds_for_everything() {
        for rule in [NAMESPACED, CLUSTER, BLOCKING, UPGRADE, ELECTION].concat() {
            assert!(!rule.verbs.contains(&"*") && !rule.resources.contains(&"*"), "{rule:?}");
        }
    }
}
