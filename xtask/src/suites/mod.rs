//! `cargo xtask suites`: other projects' tests, unmodified, on our server, each held to its ledger.
//!
//! A suite comes from its registry at a pinned version into a cache below the target folder; nothing of it is in the
//! repository. What is: `suites/NAME/`, its requirements, what its pods' images stand for, and the ledger.

mod cluster;
mod kr8s;
mod ledger;
mod pytest;
mod python;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::cluster::Cluster;
use self::ledger::{Ledger, Results};
use crate::shell;

/// Run other projects' test suites against the API server in memory, and hold each to its ledger.
#[derive(clap::Args)]
pub(crate) struct Suites {
    /// Only these suites; all of them if none is named.
    #[arg(value_name = "SUITE", value_parser = SUITES.map(|suite| suite.name))]
    only: Vec<String>,
    /// Write the ledgers: reasons that are there stay, and those that are missing are left for you to write.
    #[arg(long, conflicts_with_all = ["filter", "kubeconfig"])]
    update: bool,
    /// Only tests whose name contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run against this cluster instead, to see what a real one makes of a test.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Use the programs as they were built last.
    #[arg(long)]
    no_build: bool,
}

/// One foreign suite.
#[derive(Clone, Copy)]
struct Suite {
    name: &'static str,
    version: &'static str,
    run: fn(&Run<'_>) -> Result<Results>,
}

/// What a suite is given to run.
struct Run<'a> {
    suite: Suite,
    /// Where it keeps what it fetches and builds; survives from run to run.
    cache: &'a Path,
    cluster: &'a Cluster,
    filter: Option<&'a str>,
}

/// Cheapest first.
const SUITES: [Suite; 1] = [Suite { name: "kr8s", version: kr8s::VERSION, run: kr8s::run }];

impl Suites {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        let mut bad = Vec::new();
        for suite in SUITES {
            if !self.only.is_empty() && !self.only.iter().any(|name| name == suite.name) {
                continue;
            }
            println!("\n━━ {} {}", suite.name, suite.version);
            let results = play(suite, self.kubeconfig.as_deref(), self.filter.as_deref())?;
            let mut ledger = Ledger::read(suite.name, suite.version)?;
            if self.update {
                ledger.update(&results);
                ledger.write(suite.name)?;
            }
            let verdict = ledger.judge(&results, self.filter.is_some());
            println!("{verdict}");
            // A real cluster is asked for its opinion; the ledger is ours.
            if self.kubeconfig.is_none() && !verdict.is_good() {
                bad.push(suite.name);
            }
        }
        if !bad.is_empty() {
            bail!("not as their ledgers say: {}", bad.join(", "));
        }
        Ok(())
    }
}

fn play(suite: Suite, kubeconfig: Option<&Path>, filter: Option<&str>) -> Result<Results> {
    let cache = shell::target().join("suites").join(format!("{}-{}", suite.name, suite.version));
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let cache = std::path::absolute(cache)?;
    let cluster = match kubeconfig {
        Some(path) => Cluster::at(path)?,
        None => Cluster::start(&cache, &data(suite.name).join("images.yaml"))?,
    };
    (suite.run)(&Run { suite, cache: &cache, cluster: &cluster, filter })
        .with_context(|| format!("the suite {} could not be run; see {}", suite.name, cache.display()))
}

/// What the repository has for a suite.
fn data(suite: &str) -> PathBuf {
    shell::root().join("suites").join(suite)
}
