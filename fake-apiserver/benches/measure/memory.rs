//! What 100,000 pods take: here in a process of their own, on a real control plane in its processes.

use std::process::Command;

use fake_apiserver::Server;
use fake_apiserver::request::Request;
use fake_apiserver::server::Config;

use kube::Client;

use super::{pod, requests};

/// The argument of the process that holds them.
pub(crate) const CHILD: &str = "--hold-pods";
const PODS: usize = 100_000;

/// Resident memory of a process that holds the pods, less that of one that holds none, in MiB.
pub(crate) fn of_pods() -> u64 {
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).arg(CHILD).output().expect("this program can be started");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("it prints a number")
}

/// Fills a server and prints what that took.
pub(crate) fn fill() {
    let server = Server::new(Config { controllers: false, ..Config::default() });
    // What the tables of built-in kinds take is not the pods'.
    server.request(&Request::create("v1", "pods", pod("default", PODS))).expect("the pod is made");
    let before = resident("self");
    for number in 0..PODS {
        server.request(&Request::create("v1", "pods", pod("default", number))).expect("the pod is made");
    }
    println!("{}", resident("self").saturating_sub(before) / 1024);
    drop(server);
}

/// By how many MiB the processes of a real control plane grow when as many pods are made there.
pub(crate) async fn of_pods_on(client: Client, processes: &[String]) -> u64 {
    let all = || processes.iter().map(|process| resident(process)).sum::<u64>();
    let before = all();
    requests::over_http(client, PODS).await;
    all().saturating_sub(before) / 1024
}

/// KiB of a process that are in memory.
fn resident(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
