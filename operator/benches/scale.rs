//! Measures the server in memory and the operator on it: `cargo xtask bench`.
//!
//! Figures are printed as Markdown; ratios are taken within one run, so that the machine drops out of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dask_operator::clock::Clock;
use dask_operator::names;
use dask_operator::run::{Deps, run};
use dask_operator::scheduler::scripted::ScriptedScheduler;
use dask_operator::sim::crowd::Crowd;
use dask_operator::sim::{create, request, story};
use dask_operator::store::fake::FakeStore;
use dask_operator::store::metering::MeteringStore;
use fake_apiserver::Server;
use fake_apiserver::request::{Request, Verb};
use fake_apiserver::response::Reply;
use fake_apiserver::server::Config;
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Objects made to measure creation.
const OBJECTS: usize = 20_000;
/// Requests over HTTP.
const HTTP_OBJECTS: usize = 5_000;
/// Connections they share.
const HTTP_AT_ONCE: usize = 32;
/// Clusters of the operator's measurement.
const CLUSTERS: usize = 1_000;
/// Workers of each.
const WORKERS: usize = 10;
/// How long an idle operator is watched.
const IDLE: Duration = Duration::from_secs(10);
/// Simulated seconds for which autoscaled clusters rest.
const RESTING: i64 = 600;
/// Longest time the operator may need before the measurement is given up.
const PATIENCE: Duration = Duration::from_mins(10);

pub(crate) fn main() {
    // `cargo test` runs benches with this argument to see that they build and start; measuring is for `cargo xtask bench`.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| measured | figure |\n|---|---|");
    crowd();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let in_process = creates_in_process();
    row("creates in process, small objects", format!("{in_process:.0} /s"));
    let over_http = runtime.block_on(creates_over_http());
    row("creates over HTTP, the same objects", format!("{over_http:.0} /s"));
    row("HTTP to in process", format!("{:.2}", over_http / in_process));
    runtime.block_on(operator());
}

/// The engine alone: memory of what it knows, and what autoscaled clusters cost that are at rest.
fn crowd() {
    drop(Crowd::new(1, 1, false));
    let start = resident();
    let empty = Crowd::new(CLUSTERS, 0, false);
    let between = resident();
    let full = Crowd::new(CLUSTERS, WORKERS, false);
    let (of_empty, of_full) = (between - start, resident() - between);
    drop((empty, full));
    let per_cluster = of_empty as f64 / CLUSTERS as f64;
    row("memory of the operator per cluster: scheduler, Service, group", format!("{per_cluster:.1} KiB"));
    let per_worker = of_full.saturating_sub(of_empty) as f64 / (CLUSTERS * WORKERS) as f64;
    row("memory of the operator per worker", format!("{per_worker:.2} KiB"));
    let mut crowd = Crowd::new(CLUSTERS, WORKERS, true);
    crowd.advance(SignedDuration::from_secs(30));
    let (writes, start) = (crowd.writes, Instant::now());
    crowd.questions.clear();
    crowd.advance(SignedDuration::from_secs(RESTING));
    let share = start.elapsed().as_secs_f64() / RESTING as f64;
    row(&format!("{CLUSTERS} autoscaled clusters at rest: writes in {RESTING} s"), crowd.writes - writes);
    let a_second = crowd.questions.len() as f64 / RESTING as f64;
    row("their schedulers are asked", format!("{a_second:.0} times a second"));
    let mut in_each_tenth = BTreeMap::new();
    for asked in &crowd.questions {
        *in_each_tenth.entry(asked.as_millisecond() / 100).or_insert(0_u64) += 1;
    }
    row("most of them within 100 ms", in_each_tenth.values().max().copied().unwrap_or(0));
    row("share of one core that deciding takes", format!("{:.2} %", share * 100.0));
}

fn row(name: &str, figure: impl std::fmt::Display) {
    println!("| {name} | {figure} |");
}

fn small(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("small-{number}"), "namespace": "default", "labels": {"n": (number % 10).to_string()}},
        "data": {"key": "value"},
    })
}

fn creates_in_process() -> f64 {
    let server = Server::new(Config::default());
    let requests: Vec<Request> =
        (0..OBJECTS).map(|n| create("v1", "configmaps", Some("default"), &small(n))).collect();
    let start = Instant::now();
    for request in &requests {
        server.request(request).expect("a small object is accepted");
    }
    OBJECTS as f64 / start.elapsed().as_secs_f64()
}

async fn creates_over_http() -> f64 {
    use futures::StreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    let server = Server::new(Config::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let serving =
        fake_apiserver::face::serve::serve(listener, server.service(), None, std::future::pending());
    tokio::spawn(serving);
    let url = format!("http://{address}").parse().expect("it is a URL");
    let client = kube::Client::try_from(kube::Config::new(url)).expect("a client is made");
    let api: kube::Api<ConfigMap> = kube::Api::default_namespaced(client);
    let objects: Vec<ConfigMap> =
        (0..HTTP_OBJECTS).map(|n| serde_json::from_value(small(n)).expect("it is a ConfigMap")).collect();
    let start = Instant::now();
    futures::stream::iter(&objects)
        .for_each_concurrent(HTTP_AT_ONCE, |object| {
            let api = api.clone();
            async move {
                api.create(&kube::api::PostParams::default(), object)
                    .await
                    .expect("a small object is accepted");
            }
        })
        .await;
    HTTP_OBJECTS as f64 / start.elapsed().as_secs_f64()
}

/// 1,000 clusters of 10 workers each, beside a bare client that only creates the same number of pods.
async fn operator() {
    let bare = bare_pods();
    let server = Server::new(Config::default());
    for crd in dask_operator::api::crds::crds() {
        server
            .request(&create("apiextensions.k8s.io/v1", "customresourcedefinitions", None, &crd))
            .expect("our definitions are accepted");
    }
    let timers = server.clone();
    tokio::spawn(async move { timers.run().await });
    let store = Arc::new(MeteringStore::new(FakeStore::new(server.clone())));
    let deps = Deps::new(store.clone(), Arc::new(ScriptedScheduler::new()), Clock::system());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(run(deps, async move {
        let _ = stopped.await;
    }));
    let before = resident();
    let start = Instant::now();
    for number in 0..CLUSTERS {
        let mut object = story::cluster(&format!("c{number}"), WORKERS);
        object["metadata"]["namespace"] = "default".into();
        server
            .request(&create(names::API_VERSION, "daskclusters", Some("default"), &object))
            .expect("a cluster is accepted");
    }
    while !all_ready(&server) {
        assert!(start.elapsed() < PATIENCE, "not all workers were ready after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = start.elapsed();
    // Counts in status follow within a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let writes = store.writes();
    let workers = CLUSTERS * WORKERS;
    let calls = store.calls();
    tokio::time::sleep(IDLE).await;
    let idle = store.calls() - calls;
    row(
        &format!("{CLUSTERS} clusters of {WORKERS} workers, from the first request to the last ready worker"),
        format!("{:.1} s", took.as_secs_f64()),
    );
    row("a bare client creating as many pods on the same server", format!("{:.1} s", bare.as_secs_f64()));
    row("operator to bare client", format!("{:.2}", took.as_secs_f64() / bare.as_secs_f64()));
    row("writes of the operator per worker", format!("{:.2}", writes as f64 / workers as f64));
    let pods = by_kind(&store).get("Pod").copied().unwrap_or(0);
    row("of these, pods created per worker", format!("{:.2}", pods as f64 / workers as f64));
    row(
        "peak memory, server and operator together, above the empty start",
        format!("{} MiB", (peak() - before) / 1024),
    );
    row(&format!("requests of the operator in {} idle seconds", IDLE.as_secs()), idle);
    let _ = stop.send(());
    let _ = running.await;
    assert_eq!(idle, 0, "an idle operator asked for something");
}

fn by_kind(store: &MeteringStore<FakeStore>) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for (series, figures) in store.figures() {
        if series.verb == dask_operator::store::call::Verb::Create {
            *kinds.entry(series.kind.clone()).or_insert(0) += figures.calls;
        }
    }
    kinds
}

fn bare_pods() -> Duration {
    let server = Server::new(Config::default());
    let start = Instant::now();
    for number in 0..CLUSTERS * (WORKERS + 1) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("pod-{number}"), "namespace": "default"},
            "spec": {"containers": [{"name": "worker", "image": "ghcr.io/dask/dask"}]},
        });
        server.request(&create("v1", "pods", Some("default"), &pod)).expect("a pod is accepted");
    }
    start.elapsed()
}

fn all_ready(server: &Server) -> bool {
    let listed =
        Request { verb: Verb::List, ..request(names::API_VERSION, "daskworkergroups", Some("default")) };
    let Ok(Reply::List(list)) = server.request(&listed).map(|response| response.reply) else { return false };
    list.items.len() == CLUSTERS
        && list.items.iter().all(|group| group.value()["status"]["readyReplicas"] == WORKERS)
}

/// Resident memory now, KiB.
fn resident() -> u64 {
    memory("VmRSS:")
}

/// Resident memory at its highest, KiB.
fn peak() -> u64 {
    memory("VmHWM:")
}

fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
