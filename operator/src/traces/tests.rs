use std::sync::Arc;

use fake_apiserver::Server;
use fake_apiserver::server::Config;
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::api::crds;
use crate::clock::Clock;
use crate::engine::What;
use crate::execute;
use crate::metrics::tally::Ended;
use crate::names;
use crate::observe::{Key, Kind};
use crate::run::{Deps, run};
use crate::scheduler::scripted::ScriptedScheduler;
use crate::sim::{create, definitions, story};
use crate::store::{Event, FakeStore, Scope, Store};

fn store() -> FakeStore {
    let server = Server::new(Config::default());
    for crd in crds() {
        server.request(&create(definitions::API_VERSION, definitions::PLURAL, None, &crd)).unwrap();
    }
    FakeStore::new(server)
}

/// Runs until the cluster does; everything that was told is with the collector then.
async fn spans_of_a_clusters_start(collector: &MockServer) -> Vec<Value> {
    let (traces, exporter) = Traces::to(collector.uri().parse().unwrap(), 7);
    let store = store();
    let cluster = story::cluster("ex", 1);
    store.server().request(&create(names::API_VERSION, "daskclusters", Some("default"), &cluster)).unwrap();
    let mut clusters = store.watch(&execute::kind_resource(Kind::Cluster), &Scope::everywhere());
    let runs = async move {
        while let Some(event) = clusters.next().await {
            if let Ok(Event::InitApply(cluster) | Event::Apply(cluster)) = event
                && cluster.data["status"]["phase"] == "Running"
            {
                return;
            }
        }
    };
    let scheduler = Arc::new(ScriptedScheduler::new());
    let deps = Deps { traces, ..Deps::new(Arc::new(store), scheduler, Clock::system()) };
    let sending = tokio::spawn(exporter.run());
    run(deps, runs).await;
    sending.await.unwrap();
    let requests = collector.received_requests().await.unwrap();
    let bodies = requests.iter().map(|request| request.body_json::<Value>().unwrap());
    bodies
        .flat_map(|body| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone())
        .collect()
}

fn attribute<'a>(span: &'a Value, key: &str) -> Option<&'a str> {
    let all = span["attributes"].as_array().into_iter().flatten();
    all.filter(|attribute| attribute["key"] == key)
        .find_map(|attribute| attribute["value"]["stringValue"].as_str())
}

#[tokio::test]
async fn the_collector_is_told_of_each_look_at_a_resource_and_its_cause() {
    let collector = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .and(header("content-type", "application/json"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&collector)
        .await;
    let spans = spans_of_a_clusters_start(&collector).await;
    let first = spans.iter().find(|span| span["name"] == "reconcile DaskCluster").unwrap();
    assert_eq!(attribute(first, "dask.resource.name"), Some("ex"));
    assert_eq!(attribute(first, "dask.reconcile.cause"), Some("DaskCluster seen"));
    assert_eq!(attribute(first, "dask.reconcile.outcome"), Some("changed"));
    assert!(first["attributes"].to_string().contains("ex-scheduler"), "{first}");
    let later = spans.iter().filter(|span| span["name"] == "reconcile DaskCluster");
    let causes: Vec<_> = later.filter_map(|span| attribute(span, "dask.reconcile.cause")).collect();
    assert!(causes.contains(&"Service seen"), "{causes:?}");
    let mut ids: Vec<_> = spans.iter().map(|span| &span["traceId"]).map(Value::to_string).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "each has a trace of its own");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (traces, exporter) = Traces::to(endpoint.parse().unwrap(), 7);
    let now = Timestamp::UNIX_EPOCH;
    let report = Report {
        key: Key::new(Kind::Cluster, "default", "ex"),
        cause: Cause::Seen(What::Resource(Kind::Cluster)),
        due: now,
        begun: now,
        ended: now,
        outcome: Ended::Unchanged,
        steps: Vec::new(),
        failure: None,
    };
    let lost = traces.lost.clone();
    // More than may wait: what is too much is lost at once.
    traces.send(std::iter::repeat_n(report, WAITING_MAX + 3));
    assert_eq!(lost.load(Ordering::Relaxed), 3);
    drop(traces);
    exporter.run().await;
    assert_eq!(lost.load(Ordering::Relaxed), WAITING_MAX as u64 + 3);
}

#[test]
fn nothing_is_kept_where_nobody_wants_it() {
    let mut reports = report::Reports::default();
    let key = Key::new(Kind::Cluster, "default", "ex");
    let look = |reports: &mut report::Reports| {
        reports.note(&key, &Cause::Answer);
        reports.note(&key, &Cause::Definitions);
        reports.begin(&key, None, Timestamp::UNIX_EPOCH);
        reports.end(&key, Ended::Failed, std::iter::empty(), None, Timestamp::UNIX_EPOCH);
        reports.take()
    };
    assert_eq!(look(&mut reports), []);
    reports.want();
    // The first cause counts, and after a failure it is that.
    assert_eq!(look(&mut reports)[0].cause, Cause::Answer);
    assert_eq!(look(&mut reports)[0].cause, Cause::Retry);
}
