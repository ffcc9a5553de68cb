//! What can be set about the built-in controllers and the simulated nodes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::kubelet::Life;

/// Settings of the built-in controllers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Controllers that do not run, by their names (see [`super::Controllers::names`]).
    pub disabled: BTreeSet<String>,
    /// Simulated nodes that are registered at the start.
    pub nodes: Vec<NodeOptions>,
    /// How pods on simulated nodes live; the first rule that matches a pod wins, annotations of the pod come on top.
    pub rules: Vec<Rule>,
    /// The life of pods that no rule matches.
    pub life: Life,
    /// Address given to Services of type LoadBalancer; without it they stay pending, as on a cluster without a cloud.
    pub load_balancer: Option<String>,
    /// PEM bundle in each namespace's ConfigMap `kube-root-ca.crt`.
    pub root_ca: String,
    /// Whether controllers record Events.
    pub record_events: bool,
    /// How long an Event is kept after its last change (the real server's default is an hour).
    pub event_ttl: SignedDuration,
    /// How many Events are kept at most; the oldest go first.
    pub max_events: usize,
    /// Lines kept of one simulated container's log.
    pub max_log_lines: usize,
}

impl Default for Options {
    /// One large simulated node on which pods run and end at once: what most tests want.
    fn default() -> Self {
        Self {
            disabled: BTreeSet::new(),
            nodes: vec![NodeOptions::default()],
            rules: vec![Rule {
                owner_kind: Some("Job".into()),
                life: Life { exit_after: Some(SignedDuration::ZERO), ..Life::default() },
                ..Rule::default()
            }],
            life: Life::default(),
            load_balancer: None,
            root_ca: String::new(),
            record_events: true,
            event_ttl: SignedDuration::from_hours(1),
            max_events: 20_000,
            max_log_lines: 1_000,
        }
    }
}

impl Options {
    /// Pods take a second to start and to end, as on a small real node with its images present.
    pub fn lifelike() -> Self {
        let second = SignedDuration::from_secs(1);
        let life = Life { start_after: second, terminate_after: second, ..Life::default() };
        let completes = Life { exit_after: Some(second), ..life.clone() };
        let rule = Rule { owner_kind: Some("Job".into()), life: completes, ..Rule::default() };
        Self { rules: vec![rule], life, ..Self::default() }
    }
}

/// One simulated node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Name of the Node object.
    pub name: String,
    /// Address of the node, the pods' `hostIP`.
    pub address: String,
    /// Labels besides the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Capacity and allocatable, as quantities.
    pub capacity: BTreeMap<String, String>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        let capacity = [("cpu", "100k"), ("memory", "1Pi"), ("ephemeral-storage", "1Pi"), ("pods", "200k")];
        Self {
            name: "node-1".into(),
            address: "10.0.0.1".into(),
            labels: BTreeMap::new(),
            capacity: capacity.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }
}

/// Which pods live a life. Every given condition must hold.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// An image of one of the pod's containers, with `*` for any text.
    pub image: Option<String>,
    /// Labels of the pod.
    pub labels: BTreeMap<String, String>,
    /// Kind of the pod's controller.
    pub owner_kind: Option<String>,
    /// The life.
    pub life: Life,
}
