//! The campaign: random histories on real Dask, on which nothing may be computed again because of a scale-down.
//!
//! Tasks are handed in, their results held and released, the group made larger and smaller, workers killed, while tasks run.
//! At the end of each history every result must be right, and the scheduler's own transition log, with what the tasks noted
//! of themselves, must not show that anything was begun or computed twice because a worker was taken away.
//!
//! | module | what it is |
//! |---|---|
//! | [`history`] | what happens, from a seed; pure |
//! | [`client`] | the Dask client, a pod that is told what to do |

mod client;
pub mod history;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dask_operator::api::{DaskCluster, DaskWorkerGroup};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use self::client::Client;
use self::history::{Act, history};
use crate::Options;
use crate::stage::Stage;

/// The cluster of a campaign, and its group.
const CLUSTER: &str = "campaign";
const GROUP: &str = "campaign-default";
/// How long one history may take.
const HISTORY_MAX: Duration = Duration::from_mins(5);

/// What a campaign found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Histories played.
    pub histories: u64,
    /// Of these, with a killed worker.
    pub killing: u64,
    /// Results computed, by the scheduler's transition log.
    pub computed: u64,
    /// Workers that left the scheduler.
    pub removed: u64,
    /// Tasks begun or computed more than once, for whatever reason.
    pub again: u64,
    /// Of these, because of a scale-down: the seed of the history, the task, and the worker that went.
    pub guilty: Vec<(u64, Value)>,
    /// Wrong results: the seed and the task.
    pub wrong: Vec<(u64, Value)>,
    /// How long the histories took.
    pub took: Duration,
}

/// Plays histories with these seeds on one cluster.
///
/// # Errors
/// When the cluster cannot be had, or a history does not come to its end.
pub fn run(options: &Options, seeds: std::ops::Range<u64>) -> Result<Found> {
    std::fs::create_dir_all(&options.folder).context("cannot make a folder for this run")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cluster = options.provider.up(options)?;
    ensure!(cluster.runs_pods, "a campaign needs pods that run");
    runtime.block_on(async {
        let stage = Stage::open(&cluster, "campaign").await?;
        stage.create::<DaskCluster>(&mk_cluster()?).await?;
        stage.until::<Pod>("the first workers", &worker_labels(), |pods| !pods.is_empty()).await?;
        let mut client = Client::start(&stage, &options.folder, CLUSTER).await?;
        let mut found = Found::default();
        let begun = Instant::now();
        for seed in seeds {
            let played = tokio::time::timeout(HISTORY_MAX, play(&stage, &mut client, seed, &mut found)).await;
            played
                .context("it was not over in time")
                .flatten()
                .with_context(|| format!("history {seed}; the logs are in {}", options.folder.display()))?;
            found.took = begun.elapsed();
            let (again, guilty) = (found.again, found.guilty.len());
            println!(
                "history {seed}: {} results so far, {again} begun again, {guilty} by a scale-down",
                found.computed
            );
        }
        stage.close().await?;
        Ok(found)
    })
}

async fn play(stage: &Stage, client: &mut Client, seed: u64, found: &mut Found) -> Result<()> {
    let mut killed = Vec::new();
    let mut wanted = 0;
    for act in history(seed) {
        match act {
            Act::Submit(tasks) => {
                client.ask("submit", json!({"tasks": tasks})).await?;
            }
            Act::Release(keys) => {
                client.ask("release", json!({"keys": keys})).await?;
            }
            Act::Scale(replicas) => {
                wanted = replicas;
                let patch = json!({"spec": {"worker": {"replicas": replicas}}});
                stage.patch::<DaskWorkerGroup>(GROUP, &patch).await?;
            }
            Act::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Act::Kill(number) => killed.extend(kill(stage, number).await?),
        }
    }
    let wrong = client.ask("settle", json!({})).await?;
    found.wrong.extend(wrong.as_array().into_iter().flatten().map(|key| (seed, key.clone())));
    smaller(stage, wanted).await?;
    let audit = client.ask("audit", json!({"killed": killed})).await?;
    let number = |key: &str| audit[key].as_u64().unwrap_or_default();
    found.histories += 1;
    found.killing += u64::from(!killed.is_empty());
    found.computed += number("computed");
    found.removed += number("removed");
    found.again += number("again");
    found.guilty.extend(audit["guilty"].as_array().into_iter().flatten().map(|key| (seed, key.clone())));
    Ok(())
}

/// Ends a worker as the loss of its node does; its address.
async fn kill(stage: &Stage, number: usize) -> Result<Option<String>> {
    let pods = stage.api::<Pod>().list(&ListParams::default().labels(&worker_labels())).await?.items;
    let ip = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let running: Vec<_> =
        pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && ip(pod).is_some()).collect();
    let Some(pod) = (!running.is_empty()).then(|| running[number % running.len()]) else { return Ok(None) };
    let api: Api<Pod> = stage.api();
    api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
    Ok(ip(pod))
}

/// Waits until the group has no more workers than wanted.
async fn smaller(stage: &Stage, wanted: usize) -> Result<()> {
    let pods =
        stage.until::<Pod>("the group to be smaller", &worker_labels(), |pods| pods.len() <= wanted).await?;
    ensure!(pods.len() == wanted, "{} workers are left, {wanted} are wanted", pods.len());
    Ok(())
}

fn worker_labels() -> String {
    format!("dask.org/cluster-name={CLUSTER},dask.org/component=worker")
}

/// A cluster as the documentation shows it, with Dask's defaults but for the length of the scheduler's logs.
fn mk_cluster() -> Result<Value> {
    let mut object: Value = serde_yaml::from_str(include_str!("../../../operator/examples/cluster.yaml"))?;
    object["metadata"]["name"] = json!(CLUSTER);
    object["spec"]["scheduler"]["service"]["selector"]["dask.org/cluster-name"] = json!(CLUSTER);
    let long = json!({"name": "DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH", "value": "10000000"});
    object["spec"]["scheduler"]["spec"]["containers"][0]["env"] = json!([long]);
    let worker = &mut object["spec"]["worker"]["spec"]["containers"][0];
    worker["args"] =
        json!(["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", "1", "--no-dashboard"]);
    Ok(object)
}
