//! `cargo xtask bench`: measurements, written to `benches/` with what they were measured on.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::control_plane::ControlPlane;
use crate::shell;

/// Measure the server in memory and the operator on it; writes benches/RESULTS.md and benches/FAKE.md.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Only this; both if nothing is named.
    #[arg(value_enum)]
    only: Option<What>,
    /// Only print; leave the files as they are.
    #[arg(long)]
    print: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The operator, on the server in memory, and what plugins cost it.
    Operator,
    /// Only what plugins cost: printed, and kept with the operator's figures.
    Plugins,
    /// The operator with the system's allocator and with mimalloc; only where it is named.
    Allocators,
    /// The server in memory, and a real control plane beside it where there is one.
    Fake,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let wanted = self.only.map_or_else(|| vec![What::Operator, What::Fake], |only| vec![only]);
        for what in wanted {
            let table = match what {
                What::Operator => measure("dask-operator", "scale", None)? + "\n" + &plugins()?,
                What::Plugins => plugins()?,
                What::Allocators => allocators()?,
                What::Fake => fake()?,
            };
            if !self.print {
                keep(what, &table)?;
            }
        }
        Ok(())
    }
}

fn plugins() -> Result<String> {
    measure("dask-operator", "plugins", None)
}

/// The same rows with each allocator, side by side.
fn allocators() -> Result<String> {
    let system = measure("dask-operator", "scale", None)?;
    let other = measure("dask-operator", "scale-mimalloc", None)?;
    let figure =
        |line: &str| line.trim_end_matches(" |").rsplit_once(" | ").map(|(_, figure)| figure.to_owned());
    let mut table = "| measured | system's allocator (glibc) | mimalloc |\n|---|---|---|\n".to_owned();
    // The first two lines are the head.
    for (line, other) in system.lines().zip(other.lines()).skip(2) {
        // Differences of resident memory: they mean nothing where an allocator keeps what was freed before.
        if line.starts_with("| memory of the operator per") {
            continue;
        }
        let _ = writeln!(table, "{line} {} |", figure(other).unwrap_or_default());
    }
    Ok(table)
}

/// The server in memory beside a real control plane, or alone.
fn fake() -> Result<String> {
    // Compiled first: a control plane should not wait for a compiler.
    shell::run(&mut shell::cargo(&[
        "bench",
        "--locked",
        "-p",
        "fake-apiserver",
        "--bench",
        "fake",
        "--no-run",
    ]))?;
    let start = Instant::now();
    let real = match ControlPlane::start() {
        Ok(real) => real,
        Err(why) => {
            println!("measured without a real control plane: {why:#}");
            return measure("fake-apiserver", "fake", None);
        }
    };
    let ready = start.elapsed();
    // The scripts make no work for controllers, and the server in memory runs none either.
    real.stop_controllers()?;
    measure("fake-apiserver", "fake", Some((&real, ready)))
}

/// The rows that a bench prints.
fn measure(package: &str, bench: &str, real: Option<(&ControlPlane, Duration)>) -> Result<String> {
    let mut table = String::new();
    let mut command = shell::cargo(&["bench", "--locked", "-p", package, "--bench", bench]);
    if let Some((real, ready)) = real {
        command.env("FAKE_APISERVER_REAL", &real.kubeconfig);
        command.env("FAKE_APISERVER_REAL_READY", ready.as_secs_f64().to_string());
        command.env("FAKE_APISERVER_REAL_PROCESSES", real.keepers()?.join(","));
    }
    let success = shell::watch(&mut command, |line| {
        if line.starts_with('|') {
            table.push_str(line);
            table.push('\n');
        }
    })?;
    if !success || table.is_empty() {
        bail!("the bench did not end; what it says is above");
    }
    Ok(table)
}

fn keep(what: What, table: &str) -> Result<()> {
    let (file, verb) = match what {
        What::Operator => ("RESULTS.md", "bench operator"),
        // Half of the operator's file.
        What::Plugins => return Ok(()),
        What::Allocators => ("ALLOCATORS.md", "bench allocators"),
        What::Fake => ("FAKE.md", "bench fake"),
    };
    let mut text = format!("# Results\n\nMade by `cargo xtask {verb}`. Ratios are taken within one run.\n\n");
    let _ = writeln!(text, "Machine: {}\n", machine());
    text.push_str(table);
    std::fs::write(shell::root().join("benches").join(file), text)?;
    println!("written to benches/{file}");
    Ok(())
}

/// Cores, processor and memory: what figures depend on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let first = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
        line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let kib: u64 = first("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    format!("{cores} cores ({}), {} GiB", first("/proc/cpuinfo", "model name"), kib / 1024 / 1024)
}
