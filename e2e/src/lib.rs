//! User stories, told once, against any cluster.
//!
//! | module | what it is |
//! |---|---|
//! | [`provider`] | where a cluster comes from: local, a bare control plane, kind, or whatever the kubeconfig points at |
//! | [`stories`] | what users do, and what they may expect; nothing here knows the provider |
//! | [`campaign`] | random histories on real Dask, on which nothing may be lost |
//! | [`stage`] | the cluster as a story sees it: a client, a namespace, and ways to wait |

pub mod campaign;
pub mod process;
pub mod provider;
pub mod stage;
pub mod stories;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::Running;
use crate::provider::Provider;
use crate::stage::Stage;

/// How long one story may take.
const STORY_MAX: Duration = Duration::from_mins(5);

/// What is needed to tell the stories.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the cluster comes from.
    pub provider: Provider,
    /// The program `dask-operator`.
    pub operator: PathBuf,
    /// Where the local provider keeps its Python environment between runs.
    pub cache: PathBuf,
    /// A folder for this run: logs, kubeconfigs.
    pub folder: PathBuf,
    /// Only these stories; all of them if empty.
    pub only: Vec<String>,
}

/// How one story ended.
#[derive(Debug)]
pub struct Ending {
    /// The story.
    pub story: &'static str,
    /// `Err` says what was not as expected.
    pub result: Result<Told>,
    /// How long it took.
    pub took: Duration,
}

/// Whether a story was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// To its end.
    Whole,
    /// Not at all: it needs pods that run, and this cluster has none.
    NeedsPods,
}

/// Brings up the cluster, tells the stories one after the other, and takes everything down again.
///
/// # Errors
/// When there is no cluster to tell them on. A story that fails is an [`Ending`].
pub fn run(options: &Options) -> Result<Vec<Ending>> {
    std::fs::create_dir_all(&options.folder).context("cannot make a folder for this run")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cluster = options.provider.up(options)?;
    runtime.block_on(async {
        let namespace = format!("dask-e2e-{}", std::process::id());
        let stage = Stage::open(&cluster, &namespace).await?;
        let operator =
            if cluster.has_operator { None } else { Some(start_operator(options, &cluster, &stage).await?) };
        let mut endings = Vec::new();
        for story in stories::all() {
            if !options.only.is_empty() && !options.only.iter().any(|name| name == story.name) {
                continue;
            }
            println!("\n── {}: {}", story.name, story.what);
            let begun = Instant::now();
            let result = if story.needs_pods && !stage.runs_pods {
                Ok(Told::NeedsPods)
            } else {
                match tokio::time::timeout(STORY_MAX, (story.tell)(&stage)).await {
                    Ok(told) => told.map(|()| Told::Whole),
                    Err(_) => Err(anyhow::anyhow!("not over after {} s", STORY_MAX.as_secs())),
                }
            };
            endings.push(Ending { story: story.name, result, took: begun.elapsed() });
        }
        drop(operator);
        stage.close().await?;
        Ok(endings)
    })
}

/// The operator as a process of this machine, for a cluster that comes without one.
async fn start_operator(options: &Options, cluster: &provider::Cluster, stage: &Stage) -> Result<Running> {
    stage.install_definitions().await?;
    let mut command = std::process::Command::new(&options.operator);
    command.args(["run", "--namespace", &stage.namespace]).env("KUBECONFIG", &cluster.kubeconfig);
    Running::start(&mut command, &options.folder.join("operator.log"))
}
