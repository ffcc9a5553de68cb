//! User stories, told once, against any cluster.
//!
//! | module | what it is |
//! |---|---|
//! | [`provider`] | where a cluster comes from: local, a control plane, kind, or whatever the kubeconfig points at |
//! | [`stories`] | what users do, and what they may expect; nothing here knows the provider |
//! | [`campaign`] | random histories on real Dask, on which nothing may be lost |
//! | [`stage`] | the cluster as a story sees it: a client, a namespace, and ways to wait |
//! | [`chart`], [`definitions`] | what is installed into the cluster, and how |
//! | [`program`] | a Python program in a pod, and what it says |
//! | [`dump`] | what is kept of a story that failed |
//! | [`refusals`] | what an operator had no right to |
//! | [`leftovers`] | what stories that were cut off have left in a cluster that stays |
//!
//! Every story has a namespace and an operator of its own there, which runs from the image as the chart installs it for one
//! namespace: with exactly the rights of the chart's Role. So stories are told at the same time, and do to their operator what
//! they like. Those that change what all share are told alone.

pub mod campaign;
pub mod chart;
pub mod definitions;
pub mod dump;
pub mod leftovers;
pub mod process;
pub mod program;
pub mod provider;
pub mod refusals;
pub mod stage;
pub mod stories;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use kube::Client;

use crate::provider::{Cluster, Provider};
use crate::stage::Stage;
use crate::stories::Story;

/// How long one story may take.
const STORY_MAX: Duration = Duration::from_mins(10);

/// What is needed to tell the stories.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the cluster comes from.
    pub provider: Provider,
    /// The program `dask-operator`.
    pub operator: PathBuf,
    /// Where the Python environment is kept between runs.
    pub cache: PathBuf,
    /// A folder for this run: logs, kubeconfigs, what is kept of failures.
    pub folder: PathBuf,
    /// Only these stories; all of them if empty.
    pub only: Vec<String>,
    /// So many stories at once.
    pub at_once: usize,
    /// Programs of others.
    pub tools: Tools,
}

/// Programs of others that stories may need; without one, those that need it are skipped.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// Helm 3.
    pub helm: Option<PathBuf>,
    /// The Python operator, to take over from and to go back to.
    pub python_operator: Option<PythonOperator>,
    /// The program of `operator/examples/own-kind`.
    pub own_kind: Option<PathBuf>,
}

/// The Python operator of dask-kubernetes.
#[derive(Clone, Debug)]
pub struct PythonOperator {
    /// Its version, which is its image's tag too.
    pub version: &'static str,
    /// The folder of the programs of an environment that has it.
    pub programs: PathBuf,
    /// Its Helm chart.
    pub chart: PathBuf,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// To its end.
    Whole,
    /// Not at all, and why.
    Skipped(String),
}

/// Brings up the cluster, tells the stories, and takes everything down again.
///
/// # Errors
/// When there is no cluster to tell them on, or no such story. A story that fails is an [`Ending`].
pub fn run(options: &Options) -> Result<Vec<Ending>> {
    let wanted = wanted(&options.only)?;
    std::fs::create_dir_all(&options.folder).context("cannot make a folder for this run")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cluster = Arc::new(options.provider.up(options)?);
    runtime.block_on(async {
        let client = cluster.client().await?;
        // A cluster of our own may come with them.
        let had_definitions = !cluster.is_ours() && definitions::any(&client).await?;
        let teller = Teller { options, cluster: &cluster, had_definitions };
        let told = process::unless_told_to_end(Box::pin(teller.tell_all(&client, wanted))).await;
        if cluster.is_ours() {
            return told;
        }
        let begun = Instant::now();
        let removed = clean(&client, had_definitions, told.is_err()).await;
        together(told, removed, begun.elapsed())
    })
}

/// Takes away what stories have left in a cluster that stays.
async fn clean(client: &Client, had_definitions: bool, cut_off: bool) -> Result<()> {
    let namespaces = leftovers::remove(client, &prefix()).await?;
    if cut_off && !namespaces.is_empty() {
        println!("cut off: {} are being deleted", namespaces.join(", "));
    }
    if !had_definitions {
        definitions::remove(client).await?;
    }
    Ok(())
}

/// How everything ended: what could not be removed is one more ending, and does not hide the others.
fn together(told: Result<Vec<Ending>>, removed: Result<()>, took: Duration) -> Result<Vec<Ending>> {
    let Err(left) = removed.context("something is left in the cluster") else { return told };
    match told {
        Ok(mut endings) => {
            println!("leftovers FAILED: {left:#}");
            endings.push(Ending { story: "leftovers", result: Err(left), took });
            Ok(endings)
        }
        Err(error) => Err(error.context(format!("{left:#}; and before that"))),
    }
}

/// What the names of this run's namespaces begin with.
fn prefix() -> String {
    format!("dask-e2e-{}-", std::process::id())
}

/// The stories of these names.
fn wanted(names: &[String]) -> Result<Vec<Story>> {
    let all = stories::all();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|story| story.name == *name)) {
        let known: Vec<_> = all.iter().map(|story| story.name).collect();
        bail!("there is no story {unknown:?}; there are {}", known.join(", "));
    }
    Ok(all
        .into_iter()
        .filter(|story| names.is_empty() || names.iter().any(|name| name == story.name))
        .collect())
}

fn progress(endings: &[Ending], all: usize) {
    let Some(last) = endings.last() else { return };
    let word = match &last.result {
        Ok(Told::Whole) => "passed",
        Ok(Told::Skipped(_)) => "skipped",
        Err(_) => "FAILED",
    };
    println!("{} of {all}: {} {word} after {:.1} s", endings.len(), last.story, last.took.as_secs_f64());
    if let Err(error) = &last.result {
        println!("  {error:#}");
    }
}

struct Teller<'a> {
    options: &'a Options,
    cluster: &'a Arc<Cluster>,
    had_definitions: bool,
}

impl Teller<'_> {
    async fn tell_all(&self, client: &Client, wanted: Vec<Story>) -> Result<Vec<Ending>> {
        if self.had_definitions {
            println!("the cluster has Dask's definitions already: they stay as they are");
        } else {
            definitions::exchange(client, &dask_operator::api::crds()).await?;
        }
        let (alone, together): (Vec<Story>, Vec<Story>) = wanted.into_iter().partition(|story| story.alone);
        let all = alone.len() + together.len();
        let mut telling = futures::stream::iter(together)
            .map(|story| self.tell(story))
            .buffer_unordered(self.options.at_once.max(1));
        let mut endings = Vec::new();
        while let Some(ending) = telling.next().await {
            endings.push(ending);
            progress(&endings, all);
        }
        for story in alone {
            endings.push(self.tell(story).await);
            progress(&endings, all);
            if !self.had_definitions {
                definitions::exchange(client, &dask_operator::api::crds()).await?;
            }
        }
        Ok(endings)
    }

    async fn tell(&self, story: Story) -> Ending {
        let begun = Instant::now();
        let result = if let Some(reason) = story.missing(self.cluster, self.had_definitions) {
            Ok(Told::Skipped(reason))
        } else {
            println!("── {}: {}", story.name, story.what);
            self.perform(story).await.map(|()| Told::Whole)
        };
        Ending { story: story.name, result, took: begun.elapsed() }
    }

    async fn perform(&self, story: Story) -> Result<()> {
        let namespace = format!("{}{}", prefix(), story.name);
        let stage = Stage::open(self.cluster, &namespace).await?;
        let telling = async {
            if story.has_operator {
                stage.install().await?;
            }
            (story.tell)(&stage).await?;
            stage.nothing_was_refused().await
        };
        let told = match tokio::time::timeout(STORY_MAX, telling).await {
            Ok(told) => told,
            Err(_) => Err(anyhow::anyhow!("not over after {} s", STORY_MAX.as_secs())),
        };
        if told.is_err() {
            let folder = self.options.folder.join(story.name);
            if let Err(error) = dump::keep(&stage, &folder).await {
                println!("{}: not everything could be kept: {error:#}", story.name);
            }
            println!("{}: what was in its namespaces is in {}", story.name, folder.display());
        }
        let closed = stage.close().await;
        told.and(closed)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn ended(told: Result<Vec<Ending>>, removed: Result<()>) -> Result<Vec<(&'static str, bool)>> {
        let endings = together(told, removed, Duration::ZERO)?;
        Ok(endings.iter().map(|ending| (ending.story, ending.result.is_ok())).collect())
    }

    #[test]
    fn what_could_not_be_removed_does_not_hide_how_the_stories_ended() {
        let told = || vec![Ending { story: "cluster", result: Ok(Told::Whole), took: Duration::ZERO }];
        let failed = || Err(anyhow!("refused"));
        assert_eq!(ended(Ok(told()), Ok(())).unwrap(), [("cluster", true)]);
        assert_eq!(ended(Ok(told()), failed()).unwrap(), [("cluster", true), ("leftovers", false)]);
        let both = format!("{:#}", ended(Err(anyhow!("no cluster")), failed()).unwrap_err());
        assert!(both.contains("refused") && both.ends_with("no cluster"), "{both}");
        assert_eq!(ended(Err(anyhow!("no cluster")), Ok(())).unwrap_err().to_string(), "no cluster");
    }
}
