//! The contract with Dask: what the operator relies on, asked of real schedulers of each supported version.
//!
//! `cargo xtask test contract` prepares the versions and names them in `DASK_OPERATOR_DASKS`, as `version=python` separated by
//! semicolons; without it every case is counted as ignored.

mod cases;
mod cluster;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::FutureExt;

use cluster::Cluster;

/// A case that hangs must fail; on two busy cores none takes a tenth of it.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let versions = std::env::var("DASK_OPERATOR_DASKS").unwrap_or_default();
    let versions: Vec<(&str, &str)> = versions.split(';').filter_map(|entry| entry.split_once('=')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in cases::ALL {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let (mut passed, mut ignored, mut failed) = (0, 0, Vec::new());
    if versions.is_empty() {
        println!("no version of Dask is named in DASK_OPERATOR_DASKS: run `cargo xtask test contract`");
        ignored = cases::ALL.iter().filter(|(name, _)| wanted(name)).count();
    }
    for (version, python) in versions {
        let mut cluster = Cluster::new(version, python);
        for (name, case) in cases::ALL {
            let name = format!("{version}::{name}");
            if !wanted(&name) {
                continue;
            }
            let run =
                async { tokio::time::timeout(PATIENCE, case(&mut cluster)).await.expect("it ends in time") };
            if runtime.block_on(AssertUnwindSafe(run).catch_unwind()).is_ok() {
                println!("test {name} ... ok");
                passed += 1;
            } else {
                println!("test {name} ... FAILED");
                failed.push(name);
                // Whatever it left behind must not be the next case's.
                cluster = Cluster::new(version, python);
            }
        }
    }
    for name in &failed {
        println!("    failed: {name}");
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; {ignored} ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
