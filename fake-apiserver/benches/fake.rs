//! Measures the server in memory: `cargo xtask bench fake`.
//!
//! Figures are printed as Markdown. While `FAKE_APISERVER_REAL` names the kubeconfig of a real control plane, the same
//! scripts run against that one too, and the ratios are printed beside them.

mod measure;

use std::time::Duration;

use fake_apiserver::Server;
use fake_apiserver::server::Config;
use measure::{binary, memory, requests, watchers};

/// Names the kubeconfig of a real control plane.
const REAL: &str = "FAKE_APISERVER_REAL";
/// Seconds until that control plane was ready.
const REAL_READY: &str = "FAKE_APISERVER_REAL_READY";
/// The numbers of its processes that keep objects, separated by commas.
const REAL_PROCESSES: &str = "FAKE_APISERVER_REAL_PROCESSES";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test` runs benches with this argument to see that they build and start.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if arguments.iter().any(|argument| argument == memory::CHILD) {
        memory::fill();
        return;
    }
    let only = arguments.iter().skip(1).find(|argument| !argument.starts_with('-')).cloned();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    println!("| measured | figure | real control plane | ratio | target |\n|---|---|---|---|---|");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let real = std::env::var_os(REAL).map(|path| runtime.block_on(measure::client(path.as_ref())));
    if wanted("ready") {
        let seconds: Option<f64> = std::env::var(REAL_READY).ok().and_then(|seconds| seconds.parse().ok());
        let beside = |took: Duration| {
            seconds.map(|real| (format!("{:.0} ms", real * 1000.0), real / took.as_secs_f64()))
        };
        let took = requests::first_answer();
        row("ready in process", &millis(took), beside(took), "≤ 10 ms");
        let took = binary::ready();
        row("ready as a TLS binary", &millis(took), beside(took), "≤ 50 ms");
    }
    if wanted("creates") {
        // A real control plane is reached over HTTP alone: its one figure stands beside all three.
        let real = real.as_ref();
        let real = real.map(|client| runtime.block_on(requests::over_http(client.clone(), requests::SOME)));
        let beside = |ours: f64| real.map(|real| (rate(real), ours / real));
        let pods = requests::in_process(false);
        row("pods created in process", &rate(pods), beside(pods), "≥ 20,000 /s");
        let pods = requests::in_process(true);
        row("pods created in process, controllers and nodes at work", &rate(pods), beside(pods), "");
        let ours = runtime.block_on(async {
            let server = Server::new(Config { controllers: false, ..Config::default() });
            requests::over_http(measure::serve(&server).await, requests::MANY).await
        });
        row("pods created over HTTP, 16 connections", &rate(ours), beside(ours), "≥ 5,000 /s");
    }
    if wanted("watchers") {
        let late = runtime.block_on(watchers::in_process(1000, 1000));
        row("1,000 watchers of 1,000 events/s: 99 of 100 arrive within", &millis(late), None, "≤ 20 ms");
        let (ours, real) = runtime.block_on(async {
            let server = Server::new(Config { controllers: false, ..Config::default() });
            let ours = watchers::over_http(measure::serve(&server).await, 50, 50).await;
            match &real {
                Some(client) => (ours, Some(watchers::over_http(client.clone(), 50, 50).await)),
                None => (ours, None),
            }
        });
        let real = real.map(|real| (millis(real), real.as_secs_f64() / ours.as_secs_f64()));
        row("50 watchers of 50 events/s over HTTP: 99 of 100 arrive within", &millis(ours), real, "");
    }
    if wanted("memory") {
        let ours = memory::of_pods();
        let processes = std::env::var(REAL_PROCESSES).ok();
        let processes: Vec<_> =
            processes.iter().flat_map(|list| list.split(',').map(str::to_owned)).collect();
        let real = real.filter(|_| !processes.is_empty());
        let real = real.map(|client| runtime.block_on(memory::of_pods_on(client, &processes)));
        let real = real.map(|real| (format!("{real} MiB"), real as f64 / ours as f64));
        // 400 MB in the unit that is printed.
        row("memory of 100,000 pods", &format!("{ours} MiB"), real, "≤ 381 MiB");
    }
}

fn rate(a_second: f64) -> String {
    format!("{a_second:.0} /s")
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// One line; `real` is the other server's figure, and how many times better this one is.
fn row(what: &str, figure: &str, real: Option<(String, f64)>, target: &str) {
    let (real, ratio) =
        real.map_or((String::new(), String::new()), |(real, ratio)| (real, format!("{ratio:.1}")));
    println!("| {what} | {figure} | {real} | {ratio} | {target} |");
}
