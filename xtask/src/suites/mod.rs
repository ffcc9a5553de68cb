//! `cargo xtask suites`: other projects' tests, unmodified, on our server, each held to its ledger.
//!
//! A suite comes from its registry at a pinned version into a cache below the target folder; nothing of it is in the
//! repository. What is: `suites/NAME/`, its requirements, what its pods' images stand for, and the ledger.
//!
//! A suite may be run in several arms, for instance with one operator and with another; each has its own ledger.

pub(crate) mod cluster;
mod controller_runtime;
mod dask_kubernetes;
mod helm;
mod kr8s;
mod kube_rs;
mod ledger;
mod pytest;
pub(crate) mod python;

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};

use ::e2e::{PythonOperator, process};
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;

use self::cluster::Cluster;
use self::ledger::{Ledger, Results};
use crate::shell;

/// Run other projects' test suites against the API server in memory, and hold each to its ledger.
#[derive(clap::Args)]
pub(crate) struct Suites {
    /// Only these suites; all of them if none is named.
    #[arg(value_name = "SUITE", value_parser = PossibleValuesParser::new(names()))]
    only: Vec<String>,
    /// Only these arms of suites that have arms.
    #[arg(long, value_name = "ARM", value_parser = PossibleValuesParser::new(arms()))]
    arm: Vec<String>,
    /// Write the ledgers: reasons that are there stay, and those that are missing are left for you to write.
    #[arg(long, conflicts_with_all = ["filter", "kubeconfig"])]
    update: bool,
    /// Only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run each suite so many times, each time on a new server; a test counts as its worst time.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Run against this cluster instead, to see what a real one makes of a test.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Use the programs as they were built last.
    #[arg(long)]
    no_build: bool,
}

/// One foreign suite, in one of its arms.
#[derive(Clone, Copy)]
struct Suite {
    name: &'static str,
    /// Empty if it has but one.
    arm: &'static str,
    version: &'static str,
    /// What this machine lacks for it and cannot be made here.
    lacks: fn(&Suite) -> Option<&'static str>,
    run: fn(&Run<'_>) -> Result<Results>,
}

/// What a suite is given to run.
struct Run<'a> {
    suite: Suite,
    /// Where it keeps what it fetches and builds; survives from run to run.
    cache: &'a Path,
    /// The cluster to run against, if it is not to be one of ours.
    kubeconfig: Option<&'a Path>,
    cluster: OnceCell<Cluster>,
    filter: Option<&'a str>,
}

/// Cheapest first.
const SUITES: [Suite; 8] = [
    helm(helm::THREE),
    helm(helm::FOUR),
    Suite {
        name: kube_rs::NAME,
        arm: "",
        version: kube_rs::VERSION,
        lacks: kube_rs::lacks,
        run: kube_rs::run,
    },
    Suite {
        name: controller_runtime::NAME,
        arm: "",
        version: controller_runtime::VERSION,
        lacks: controller_runtime::lacks,
        run: controller_runtime::run,
    },
    Suite { name: "kr8s", arm: "", version: kr8s::VERSION, lacks: nothing, run: kr8s::run },
    dask_kubernetes(dask_kubernetes::PYTHON),
    dask_kubernetes(dask_kubernetes::DEPLOYMENT),
    dask_kubernetes(dask_kubernetes::POD),
];

const fn dask_kubernetes(arm: &'static str) -> Suite {
    Suite {
        name: dask_kubernetes::NAME,
        arm,
        version: dask_kubernetes::VERSION,
        lacks: nothing,
        run: dask_kubernetes::run,
    }
}

const fn helm(arm: &'static str) -> Suite {
    Suite { name: helm::NAME, arm, version: helm::version(arm), lacks: helm::lacks, run: helm::run }
}

/// Of suites in Python: what they need comes from their registry.
fn nothing(_: &Suite) -> Option<&'static str> {
    None
}

fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
    names.dedup();
    names
}

fn arms() -> Vec<&'static str> {
    SUITES.iter().map(|suite| suite.arm).filter(|arm| !arm.is_empty()).collect()
}

impl Suites {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        process::passing_on(|| self.play_all())
    }

    fn play_all(&self) -> Result<()> {
        let mut bad = Vec::new();
        for suite in SUITES.into_iter().filter(|suite| self.wants(suite)) {
            if let Some(what) = (suite.lacks)(&suite) {
                println!("\n{suite}: skipped: {what}");
                continue;
            }
            let mut worst = Results::new();
            for time in 1..=self.times {
                println!(
                    "\n━━ {suite}{}",
                    if self.times > 1 { format!(", time {time}") } else { String::new() }
                );
                let results = play(suite, self.kubeconfig.as_deref(), self.filter.as_deref())?;
                ledger::worsen(&mut worst, results);
            }
            let mut ledger = Ledger::read(&suite)?;
            if self.update {
                ledger.update(&worst);
                ledger.write(&suite)?;
            }
            let verdict = ledger.judge(&worst, self.filter.is_some());
            println!("\n{suite}: {verdict}");
            // A real cluster is asked for its opinion; the ledger is ours.
            if self.kubeconfig.is_none() && !verdict.is_good() {
                bad.push(suite.to_string());
            }
        }
        if !bad.is_empty() {
            bail!("not as their ledgers say: {}", bad.join(", "));
        }
        Ok(())
    }

    fn wants(&self, suite: &Suite) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|wanted| wanted == name);
        named(&self.only, suite.name) && named(&self.arm, suite.arm)
    }
}

impl Suite {
    /// Where its ledger is.
    fn ledger(&self) -> PathBuf {
        let arm = if self.arm.is_empty() { String::new() } else { format!("-{}", self.arm) };
        data(self.name).join(format!("ledger{arm}.yaml"))
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        if self.arm.is_empty() { Ok(()) } else { write!(f, " ({})", self.arm) }
    }
}

impl Run<'_> {
    /// The cluster to run against; started when it is first asked for.
    fn cluster(&self) -> Result<&Cluster> {
        if let Some(cluster) = self.cluster.get() {
            return Ok(cluster);
        }
        let cluster = match self.kubeconfig {
            Some(path) => Cluster::at(path)?,
            None => Cluster::start(self.cache, &data(self.suite.name).join("images.yaml"))?,
        };
        Ok(self.cluster.get_or_init(|| cluster))
    }
}

fn play(suite: Suite, kubeconfig: Option<&Path>, filter: Option<&str>) -> Result<Results> {
    let cache = cache(suite.name, suite.version)?;
    (suite.run)(&Run { suite, cache: &cache, kubeconfig, cluster: OnceCell::new(), filter })
        .with_context(|| format!("the suite {suite} could not be run; see {}", cache.display()))
}

/// The Python operator of the suite dask-kubernetes: its environment and its chart, fetched if they are not there.
pub(crate) fn python_operator() -> Result<PythonOperator> {
    dask_kubernetes::operator(&cache(dask_kubernetes::NAME, dask_kubernetes::VERSION)?)
}

/// Where a suite keeps what it fetches and builds.
fn cache(name: &str, version: &str) -> Result<PathBuf> {
    let cache = shell::target().join("suites").join(format!("{name}-{version}"));
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(std::path::absolute(cache)?)
}

/// What the repository has for a suite.
fn data(suite: &str) -> PathBuf {
    shell::root().join("suites").join(suite)
}
