//! What users do, and what they may expect.
//!
//! One file for each idea; `parts` has what several stories are made of.

mod autoscale;
mod bad_input;
mod cluster;
mod crds;
mod disruption;
mod install;
mod job;
mod kube_cluster;
mod namespace;
mod own_kind;
mod parts;
mod plugin;
mod quota;
mod takeover;
mod work;

use anyhow::Result;
use futures::future::BoxFuture;

use crate::provider::Cluster;
use crate::stage::Stage;

/// A story.
#[derive(Clone, Copy)]
pub struct Story {
    /// To name it on the command line, and its namespace.
    pub name: &'static str,
    /// What it shows, in words.
    pub what: &'static str,
    /// What it cannot be told without.
    pub needs: &'static [Need],
    /// Whether no other story may be told meanwhile: it changes what all share.
    pub alone: bool,
    /// Whether an operator is there at its beginning.
    pub has_operator: bool,
    /// Tells it.
    pub tell: for<'a> fn(&'a Stage) -> BoxFuture<'a, Result<()>>,
}

/// Something that not every machine or cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Helm 3.
    Helm,
    /// The Python operator and its chart.
    PythonOperator,
    /// An API server that can be restarted.
    Restart,
    /// The program of `operator/examples/own-kind` in the cluster.
    OwnKind,
    /// That nobody else's Dask clusters are there.
    NobodyElse,
}

impl Story {
    /// Why it cannot be told on this cluster, if it cannot.
    pub fn missing(&self, cluster: &Cluster, had_definitions: bool) -> Option<String> {
        self.needs.iter().find_map(|need| match need {
            Need::Helm if cluster.tools.helm.is_none() => Some(
                "there is no helm 3: it is not on the path, and there is no Go to build it with".to_owned(),
            ),
            Need::PythonOperator if cluster.tools.python_operator.is_none() => {
                Some("the Python operator could not be had from its registry".to_owned())
            }
            Need::Restart => cluster.obstacle_to_restart().map(str::to_owned),
            Need::NobodyElse if had_definitions => Some(
                "Dask's definitions were there before: somebody else may have clusters of these kinds"
                    .to_owned(),
            ),
            Need::OwnKind => cluster.obstacle_to_own_kind().map(str::to_owned),
            Need::Helm | Need::PythonOperator | Need::NobodyElse => None,
        })
    }
}

/// A story in the usual surroundings: an operator of its own, beside others.
const fn usual(
    name: &'static str,
    what: &'static str,
    tell: for<'a> fn(&'a Stage) -> BoxFuture<'a, Result<()>>,
) -> Story {
    Story { name, what, needs: &[], alone: false, has_operator: true, tell }
}

/// Every story, the longest first, so that they end together; those that are told alone at the end.
pub fn all() -> Vec<Story> {
    use Need::{Helm, NobodyElse, OwnKind, PythonOperator, Restart};
    let alone = |story: Story| Story { alone: true, ..story };
    let brings_its_own = |story: Story| Story { has_operator: false, ..story };
    let needs = |story: Story, needs: &'static [Need]| Story { needs, ..story };
    vec![
        usual("autoscale", "a cluster grows with its work and shrinks after it", |stage| {
            Box::pin(autoscale::follows_the_work(stage))
        }),
        needs(
            brings_its_own(usual(
                "election",
                "the second of two operators goes on when the first is gone",
                |stage| Box::pin(disruption::another_takes_over(stage)),
            )),
            &[Helm],
        ),
        needs(
            usual(
                "kubecluster",
                "the Python client creates, connects, scales, adapts, adds groups, reads logs and closes",
                |stage| Box::pin(kube_cluster::does_what_it_offers(stage)),
            ),
            &[PythonOperator],
        ),
        needs(
            usual("own-kind", "a kind of one's own is served by two programs, of which one works", |stage| {
                Box::pin(own_kind::is_served_by_two_of_which_one_works(stage))
            }),
            &[OwnKind],
        ),
        needs(
            brings_its_own(usual(
                "plugin",
                "a plugin is installed by one value of the chart, and taken back",
                |stage| Box::pin(plugin::is_installed_by_a_value_and_taken_back(stage)),
            )),
            &[Helm],
        ),
        usual("job", "a job computes its result and its cluster goes", |stage| {
            Box::pin(job::succeeds(stage))
        }),
        usual("rolling", "a changed template replaces workers under load, and no work is lost", |stage| {
            Box::pin(work::survives_a_rolling_edit(stage))
        }),
        usual("load", "a cluster grows and shrinks under load, and no work is lost", |stage| {
            Box::pin(work::survives_scaling(stage))
        }),
        usual("killed", "an operator that is killed in the middle leaves nothing half done", |stage| {
            Box::pin(disruption::operator_is_killed(stage))
        }),
        usual("idle", "a cluster that is idle for too long goes, not before", |stage| {
            Box::pin(work::ends_when_idle(stage))
        }),
        usual("cluster", "a cluster runs, grows, shrinks, and leaves nothing", |stage| {
            Box::pin(cluster::lives_and_leaves_nothing(stage))
        }),
        usual("group", "a second group joins its cluster and goes with it", |stage| {
            Box::pin(cluster::takes_a_second_group(stage))
        }),
        usual("cascade", "a cluster goes with all that is its, also when the operator is gone", |stage| {
            Box::pin(cluster::goes_without_an_operator(stage))
        }),
        usual("failing-job", "a job that fails says so and its cluster goes", |stage| {
            Box::pin(job::fails(stage))
        }),
        usual(
            "quota",
            "a quota is told of, keeps workers away, and lets them come when it is raised",
            |stage| Box::pin(quota::is_told_and_heeded(stage)),
        ),
        usual("namespace", "an operator of one namespace has no right and does nothing in others", |stage| {
            Box::pin(namespace::is_kept_to(stage))
        }),
        usual("bad-input", "what cannot work is refused, and the rest goes on", |stage| {
            Box::pin(bad_input::is_refused(stage))
        }),
        needs(
            alone(brings_its_own(usual(
                "install",
                "the chart installs an operator for all namespaces, and removes it",
                |stage| Box::pin(install::for_all_namespaces(stage)),
            ))),
            &[Helm, NobodyElse],
        ),
        needs(
            alone(brings_its_own(usual(
                "crds",
                "definitions are exchanged, and back, under clusters that stay",
                |stage| Box::pin(crds::are_exchanged_and_back(stage)),
            ))),
            &[Helm, PythonOperator, NobodyElse],
        ),
        needs(
            alone(brings_its_own(usual(
                "takeover",
                "clusters go over to this operator, and back, and no worker restarts",
                |stage| Box::pin(takeover::and_rollback(stage)),
            ))),
            &[Helm, PythonOperator, NobodyElse],
        ),
        needs(
            alone(usual(
                "restart",
                "an API server that restarts in the middle costs nothing but time",
                |stage| Box::pin(disruption::api_server_restarts(stage)),
            )),
            &[Restart],
        ),
    ]
}
