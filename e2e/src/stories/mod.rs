//! What users do, and what they may expect.

mod bad_input;
mod cluster;
mod job;

use anyhow::Result;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::stage::Stage;

/// A story.
#[derive(Clone, Copy)]
pub struct Story {
    /// To name it on the command line.
    pub name: &'static str,
    /// What it shows, in words.
    pub what: &'static str,
    /// Whether pods have to run for it.
    pub needs_pods: bool,
    /// Tells it.
    pub tell: for<'a> fn(&'a Stage) -> BoxFuture<'a, Result<()>>,
}

/// Every story, in the order in which they are told.
pub fn all() -> [Story; 5] {
    [
        Story {
            name: "cluster",
            what: "a cluster runs, grows, shrinks, and leaves nothing",
            needs_pods: false,
            tell: |stage| Box::pin(cluster::lives_and_leaves_nothing(stage)),
        },
        Story {
            name: "group",
            what: "a second group joins its cluster and goes with it",
            needs_pods: false,
            tell: |stage| Box::pin(cluster::takes_a_second_group(stage)),
        },
        Story {
            name: "job",
            what: "a job computes its result and its cluster goes",
            needs_pods: true,
            tell: |stage| Box::pin(job::succeeds(stage)),
        },
        Story {
            name: "failing-job",
            what: "a job that fails says so and its cluster goes",
            needs_pods: true,
            tell: |stage| Box::pin(job::fails(stage)),
        },
        Story {
            name: "bad-input",
            what: "what cannot work is refused, and the rest goes on",
            needs_pods: false,
            tell: |stage| Box::pin(bad_input::is_refused(stage)),
        },
    ]
}

/// A shipped manifest under another name, with its Service's selector.
fn renamed(manifest: &str, name: &str, service: &str) -> Result<Value> {
    let mut object: Value = serde_yaml::from_str(manifest)?;
    object["metadata"]["name"] = json!(name);
    if let Some(selector) = object.pointer_mut(service) {
        selector["dask.org/cluster-name"] = json!(name);
    }
    Ok(object)
}

/// The shipped cluster.
fn mk_cluster(name: &str) -> Result<Value> {
    renamed(include_str!("../../../operator/examples/cluster.yaml"), name, "/spec/scheduler/service/selector")
}

/// The shipped job.
fn mk_job(name: &str) -> Result<Value> {
    renamed(
        include_str!("../../../operator/examples/job.yaml"),
        name,
        "/spec/cluster/spec/scheduler/service/selector",
    )
}
