//! `cargo xtask campaign`: random histories on real Dask; nothing may be computed again because of a scale-down.

use std::fmt::Write as _;
use std::path::PathBuf;

use ::e2e::campaign::{self, Found, Operator};
use ::e2e::{Options, Tools, provider::Provider};
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use dask_operator::local::python;

use crate::{shell, suites};

/// Where figures are kept.
const RESULTS: &str = "benches/CAMPAIGN.md";

/// Play random histories on real Dask, without Kubernetes, and check that no scale-down loses work.
///
/// About nine seconds a history on two cores.
#[derive(clap::Args)]
pub(crate) struct Campaign {
    /// The seed of the first history; the next one's is one more.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many histories.
    #[arg(long, default_value_t = 200)]
    histories: u64,
    /// Play them also on a cluster of the Python operator, beside ours on the same server, as far as it gets meanwhile.
    #[arg(long)]
    beside: bool,
    /// Play them on this version of Dask instead of the newest.
    #[arg(long, value_name = "VERSION", conflicts_with = "update", value_parser = PossibleValuesParser::new(python::versions()))]
    dask: Option<String>,
    /// Keep the figures, in benches/CAMPAIGN.md.
    #[arg(long)]
    update: bool,
    /// Use the program as it was built last.
    #[arg(long)]
    no_build: bool,
}

impl Campaign {
    pub(crate) fn run(self) -> Result<()> {
        if !self.no_build {
            shell::build()?;
        }
        let options = Options {
            provider: Provider::Local,
            operator: shell::program("dask-operator"),
            cache: shell::target(),
            folder: shell::target().join("campaign").join(std::process::id().to_string()),
            only: Vec::new(),
            at_once: 1,
            tools: Tools::default(),
        };
        let python = if self.beside { Some(suites::python_operator()?.programs) } else { None };
        let dask = self.dask.map(|version| prepare(&version)).transpose()?;
        let seeds = self.seed..self.seed + self.histories;
        let found = campaign::run(&options, python.as_deref(), dask.as_deref(), seeds)?;
        let table = table(&found);
        println!("\n{table}");
        for (operator, why) in
            found.iter().filter_map(|found| Some((found.operator, found.stopped.as_ref()?)))
        {
            println!("{} went no further: {why}", operator.name());
        }
        if self.update {
            let text = format!(
                "# Work lost to scale-downs\n\n\
                 Made by `cargo xtask campaign --update{}`: random histories on real Dask, each operator's on its own cluster \
                 of one server, at the same time.\n\n{table}",
                if self.beside { " --beside" } else { "" }
            );
            std::fs::write(shell::root().join(RESULTS), text)
                .with_context(|| format!("cannot write {RESULTS}"))?;
        }
        let lost = found.iter().filter(|found| found.operator == Operator::Ours).flat_map(complaints);
        let lost: Vec<String> = lost.collect();
        if !lost.is_empty() {
            bail!("{}; the logs are in {}", lost.join("; "), options.folder.display());
        }
        Ok(())
    }
}

/// The folder of programs of this version of Dask.
fn prepare(version: &str) -> Result<PathBuf> {
    let tell = &mut |line: &str| println!("{version}: {line}");
    Ok(std::path::absolute(python::prepare_version(&shell::target(), version, tell)?.bin)?)
}

/// The figures, a column for each operator.
fn table(found: &[Found]) -> String {
    type Figure = fn(&Found) -> u64;
    let rows: [(&str, Figure); 9] = [
        ("histories", |found| found.histories),
        ("of these, with a killed worker", |found| found.killing),
        ("results computed", |found| found.computed),
        ("workers that left", |found| found.removed),
        ("tasks begun again for a killed worker", |found| found.again - found.guilty.len() as u64),
        ("tasks begun again because of a scale-down", |found| found.guilty.len() as u64),
        ("wrong results", |found| found.wrong.len() as u64),
        ("histories that left more workers than wanted", |found| found.larger.len() as u64),
        ("seconds", |found| found.took.as_secs()),
    ];
    let names: Vec<&str> = found.iter().map(|found| found.operator.name()).collect();
    let mut text = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for (what, figure) in rows {
        let figures: Vec<String> = found.iter().map(|found| figure(found).to_string()).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {what} | {} |", figures.join(" | "));
    }
    text
}

fn complaints(found: &Found) -> Vec<String> {
    let again = found.guilty.iter().map(|task| format!("begun again (seed, task): {task:?}"));
    let wrong = found.wrong.iter().map(|task| format!("wrong (seed, task): {task:?}"));
    let larger = found.larger.iter().map(|left| format!("too many workers left (seed, how many): {left:?}"));
    // Each history makes the group smaller at its end: where fewer workers left, they had not even come.
    let idle = (found.removed < found.histories).then(|| {
        format!("only {} workers left, so that little was tried: is the machine too busy?", found.removed)
    });
    again.chain(wrong).chain(larger).chain(idle).chain(found.stopped.clone()).collect()
}
