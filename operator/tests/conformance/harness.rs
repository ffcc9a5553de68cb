//! Runs every body on every arm, in the order of the tables, and prints what `cargo test` would print.

use std::{panic::AssertUnwindSafe, process::ExitCode, time::Instant};

use dask_operator::store::Store;
use futures::FutureExt;

use crate::{
    arms::{self, Arm, Started},
    bodies::{self, Body, support},
};

/// What `cargo test` and test runners pass on.
struct Options {
    filters: Vec<String>,
    exact: bool,
    list: bool,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    ignored: usize,
    filtered: usize,
    failed: Vec<String>,
}

pub(crate) fn main() -> ExitCode {
    let options = options();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let begun = Instant::now();
    let mut tally = Tally::default();
    for arm in arms::all() {
        runtime.block_on(run_arm(&arm, &options, &mut tally));
    }
    if options.list {
        return ExitCode::SUCCESS;
    }
    let verdict = if tally.failed.is_empty() { "ok" } else { "FAILED" };
    for name in &tally.failed {
        println!("    failed: {name}");
    }
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        tally.passed,
        tally.failed.len(),
        tally.ignored,
        tally.filtered,
        begun.elapsed().as_secs_f64()
    );
    if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> Options {
    let mut options = Options { filters: Vec::new(), exact: false, list: false };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--exact" => options.exact = true,
            "--list" => options.list = true,
            flag if flag.starts_with('-') => {}
            filter => options.filters.push(filter.to_owned()),
        }
    }
    options
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| if self.exact { name == filter } else { name.contains(filter) };
        self.filters.is_empty() || self.filters.iter().any(matches)
    }
}

async fn run_arm(arm: &Arm, options: &Options, tally: &mut Tally) {
    let cases: Vec<(String, Body)> = bodies::all()
        .into_iter()
        .map(|(name, body)| (format!("{}::{name}", arm.name), body))
        .filter(|(name, _)| options.wants(name))
        .collect();
    tally.filtered += bodies::all().len() - cases.len();
    if options.list {
        for (name, _) in &cases {
            println!("{name}: test");
        }
        return;
    }
    if cases.is_empty() {
        return;
    }
    match (arm.start)().await {
        Ok(mut started) => {
            for (name, body) in cases {
                run(&mut *started, &name, body, tally).await;
            }
        }
        Err(reason) => {
            println!("arm {} is skipped: {reason}", arm.name);
            for (name, _) in &cases {
                println!("test {name} ... ignored");
            }
            tally.ignored += cases.len();
        }
    }
}

async fn run(started: &mut dyn Started, name: &str, body: Body, tally: &mut Tally) {
    let store = started.store().await;
    let namespace = format!("conformance-{}", name.rsplit("::").next().unwrap_or(name).replace('_', "-"));
    let namespace = namespace[..namespace.len().min(58)].trim_end_matches('-').to_owned();
    let outcome = AssertUnwindSafe(async {
        support::make_namespace(&*store, &namespace).await;
        tokio::time::timeout(support::PATIENCE, body(&*store, &namespace))
            .await
            .expect("the body ends in time");
    })
    .catch_unwind()
    .await;
    support::drop_namespace(&*store as &dyn Store, &namespace).await;
    if outcome.is_ok() {
        println!("test {name} ... ok");
        tally.passed += 1;
    } else {
        println!("test {name} ... FAILED");
        tally.failed.push(name.to_owned());
    }
}
