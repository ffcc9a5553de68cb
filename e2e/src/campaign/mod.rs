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

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dask_operator::api::{DaskAutoscaler, DaskCluster, DaskWorkerGroup};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use self::client::Client;
use self::history::{Act, history};
use crate::provider::{self, Cluster};
use crate::stage::Stage;
use crate::{Options, process};

/// The cluster of a campaign, and its group.
const CLUSTER: &str = "campaign";
const GROUP: &str = "campaign-default";
/// Where the operators' pods run.
const OPERATORS: &str = "operators";
/// How long one history may take.
const HISTORY_MAX: Duration = Duration::from_mins(5);
/// How long is waited for workers that start; a group that never gets them is told of at the end.
const JOIN_MAX: Duration = Duration::from_mins(1);
/// How long a group may take, once nothing is computed any more, until it has as few workers as it was told to.
const SMALLER_MAX: Duration = Duration::from_secs(30);

/// Whose operator keeps the cluster that a history is played on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// This one.
    Ours,
    /// The Python operator of dask-kubernetes.
    Python,
}

/// What a campaign found with one operator.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whose.
    pub operator: Operator,
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
    /// Histories at whose end the group did not get as small as it was told to: the seed, and how many workers were left.
    pub larger: Vec<(u64, usize)>,
    /// How long the histories took.
    pub took: Duration,
    /// Why no more histories were played, if they did not come to their end.
    pub stopped: Option<String>,
}

/// An operator with a cluster and a client in a namespace of its own.
struct Arm {
    stage: Stage,
    client: Client,
    found: Found,
}

impl Operator {
    /// What it is called, which is also its namespace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "dask-operator",
            Self::Python => "dask-kubernetes",
        }
    }

    fn pod(self) -> Value {
        let namespace = self.name();
        let watched = format!("--namespace={namespace}");
        let arguments = match self {
            Self::Ours => json!(["run", watched]),
            Self::Python => json!(["kopf", "run", "--module=dask_kubernetes.operator.controller", watched]),
        };
        json!({
            "metadata": {"name": namespace},
            "spec": {"containers": [{"name": "operator", "image": format!("{namespace}:campaign"), "args": arguments}]},
        })
    }
}

/// Plays histories with these seeds on a cluster of ours and, with `python`, at the same time on one of the Python operator,
/// on the same server.
///
/// Each goes on at its own pace; the Python operator's histories end when ours have been played.
///
/// `python`: the folder of programs of an environment with dask-kubernetes. `dask`: that of another Dask than the pinned one.
///
/// # Errors
/// When the clusters cannot be had.
pub fn run(
    options: &Options,
    python: Option<&Path>,
    dask: Option<&Path>,
    seeds: std::ops::Range<u64>,
) -> Result<Vec<Found>> {
    std::fs::create_dir_all(&options.folder).context("cannot make a folder for this run")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cluster = Arc::new(provider::local_with(options, &images(options, python, dask)?)?);
    runtime.block_on(process::unless_told_to_end(async {
        let operators = Stage::open(&cluster, OPERATORS).await?;
        let mut arms = Vec::new();
        for operator in [Operator::Ours].into_iter().chain(python.map(|_| Operator::Python)) {
            operators.create::<Pod>(&operator.pod()).await?;
            arms.push(Arm::open(&cluster, options, operator).await?);
        }
        let (ours, others) = arms.split_first_mut().context("nobody plays")?;
        let are_over = AtomicBool::new(false);
        let ours = async {
            ours.play_all(seeds.clone(), &are_over).await;
            are_over.store(true, Ordering::Relaxed);
        };
        let others = others.iter_mut().map(|arm| arm.play_all(seeds.clone(), &are_over));
        futures::future::join(ours, futures::future::join_all(others)).await;
        Ok(arms.into_iter().map(|arm| arm.found).collect())
    }))
}

/// Writes down what the images of the operators, and of another Dask, stand for.
fn images(options: &Options, python: Option<&Path>, dask: Option<&Path>) -> Result<PathBuf> {
    let program = std::path::absolute(&options.operator)?;
    let mut images = vec![json!({
        "image": format!("{}:campaign", Operator::Ours.name()),
        "entrypoint": ["dask-operator"],
        "pathPrepend": [program.parent()],
    })];
    images.extend(python.map(
        |programs| json!({"image": format!("{}:campaign", Operator::Python.name()), "pathPrepend": [programs]}),
    ));
    images.extend(dask.map(|programs| json!({"image": "ghcr.io/dask/dask:*", "pathPrepend": [programs]})));
    let path = options.folder.join("images.yaml");
    std::fs::write(&path, serde_yaml::to_string(&json!({"images": images}))?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

impl Arm {
    async fn open(cluster: &Arc<Cluster>, options: &Options, operator: Operator) -> Result<Self> {
        let stage = Stage::open(cluster, operator.name()).await?;
        stage.create::<DaskCluster>(&mk_cluster()?).await?;
        stage.until::<Pod>("the first workers", &worker_labels(), |pods| !pods.is_empty()).await?;
        let folder = options.folder.join(operator.name());
        std::fs::create_dir_all(&folder)?;
        let client = Client::start(&stage, &folder, CLUSTER).await?;
        let found = Found {
            operator,
            histories: 0,
            killing: 0,
            computed: 0,
            removed: 0,
            again: 0,
            guilty: Vec::new(),
            wrong: Vec::new(),
            larger: Vec::new(),
            took: Duration::ZERO,
            stopped: None,
        };
        Ok(Self { stage, client, found })
    }

    /// One history after the other, until all are played, it is told to end, or one cannot be played.
    async fn play_all(&mut self, seeds: std::ops::Range<u64>, end: &AtomicBool) {
        for seed in seeds {
            if end.load(Ordering::Relaxed) || self.found.stopped.is_some() {
                return;
            }
            self.play(seed).await;
        }
    }

    /// One history, and what is to be said of it.
    async fn play(&mut self, seed: u64) {
        let begun = Instant::now();
        let played = play(&self.stage, &mut self.client, seed, &mut self.found);
        let played = tokio::time::timeout(HISTORY_MAX, played).await.context("it was not over in time");
        let found = &mut self.found;
        found.took += begun.elapsed();
        let name = found.operator.name();
        if let Err(error) = played.flatten() {
            println!("{name}, history {seed}: {error:#}");
            found.stopped = Some(format!("history {seed}: {error:#}"));
            return;
        }
        println!(
            "{name}, history {seed}: {} results so far, {} begun again, {} by a scale-down, {} wrong, {} times too many workers left",
            found.computed,
            found.again,
            found.guilty.len(),
            found.wrong.len(),
            found.larger.len()
        );
    }
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
            Act::Adapt { maximum, millis } => adapt(stage, maximum, Duration::from_millis(millis)).await?,
            Act::Join(workers) => {
                client.ask("join", json!({"workers": workers, "seconds": JOIN_MAX.as_secs()})).await?;
            }
            Act::Pass(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Act::Kill(number) => killed.extend(kill(stage, number).await?),
        }
    }
    let wrong = client.ask("settle", json!({})).await?;
    found.wrong.extend(wrong.as_array().into_iter().flatten().map(|key| (seed, key.clone())));
    found.larger.extend(larger(stage, wanted).await?.map(|left| (seed, left)));
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

/// Lets an autoscaler decide for a while.
async fn adapt(stage: &Stage, maximum: usize, time: Duration) -> Result<()> {
    let autoscaler = json!({
        "metadata": {"name": CLUSTER},
        "spec": {"cluster": CLUSTER, "minimum": 1, "maximum": maximum},
    });
    stage.create::<DaskAutoscaler>(&autoscaler).await?;
    tokio::time::sleep(time).await;
    stage.api::<DaskAutoscaler>().delete(CLUSTER, &DeleteParams::default()).await?;
    stage.until::<DaskAutoscaler>("the autoscaler to be gone", "", <[_]>::is_empty).await?;
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

/// Waits until the group has as many workers as wanted; how many it has, if it does not get there.
async fn larger(stage: &Stage, wanted: usize) -> Result<Option<usize>> {
    let labels = worker_labels();
    let waiting = stage.until::<Pod>("the group to be smaller", &labels, |pods| pods.len() == wanted);
    match tokio::time::timeout(SMALLER_MAX, waiting).await {
        Ok(pods) => pods.map(|_| None),
        Err(_) => Ok(Some(stage.count::<Pod>(&labels).await?)),
    }
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
