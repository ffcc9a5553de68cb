use std::collections::BTreeSet;
use std::sync::Arc;

use fake_apiserver::Server;
use fake_apiserver::server::Config;
use jiff::{SignedDuration, Timestamp};

use super::tally::Ended;
use super::*;
use crate::api::crds;
use crate::clock::Clock;
use crate::observe::Kind;
use crate::run::{Deps, run};
use crate::scheduler::scripted::ScriptedScheduler;
use crate::sim::{Sim, SimConfig, create, definitions, story};
use crate::store::{FakeStore, MeteringStore};

/// A cluster of three workers that has come up.
fn running() -> Sim {
    let mut sim = Sim::new(SimConfig::default());
    sim.user(&create(crate::names::API_VERSION, "daskclusters", Some("default"), &story::cluster("ex", 3)))
        .unwrap();
    sim.advance(SignedDuration::from_secs(60));
    sim
}

fn page(sim: &Sim) -> String {
    text::render(
        &Meter::default().figures(),
        Some(Observed::of(&sim.engine, BTreeMap::new(), sim.now())),
        true,
        &Health::default(),
    )
}

/// Names of all families on a page, without those that only OpenMetrics' suffixes tell apart.
fn families(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

/// Every name of ours in a text, without the suffixes of series.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    // The entry points of packages that were written for the Python operator are called so, too.
    let words = words.filter(|word| *word != "dask_operator_plugin");
    let ours = words.filter(|word| word.starts_with("dask_operator_") && !word.ends_with('_'));
    ours.map(|word| {
        ["_bucket", "_count", "_sum", "_total"]
            .iter()
            .find_map(|suffix| word.strip_suffix(suffix))
            .unwrap_or(word)
            .to_owned()
    })
    .collect()
}

#[test]
fn a_cluster_that_comes_up_is_counted_once() {
    let mut sim = running();
    let tally = &sim.engine.tally;
    assert_eq!(tally.started[&Kind::Cluster].count(), 1);
    assert!(tally.reconciles[&(Kind::Cluster, Ended::Changed)].count() >= 2, "{tally:?}");
    assert!(tally.reconciles[&(Kind::WorkerGroup, Ended::Unchanged)].count() >= 1, "{tally:?}");
    assert_eq!(tally.failures.len(), 0);
    let shown = page(&sim);
    for line in [
        "dask_operator_clusters{namespace=\"default\",phase=\"Running\"} 1",
        "dask_operator_workers{namespace=\"default\",phase=\"Ready\"} 3",
        "dask_operator_creation_to_running_duration_seconds_count{kind=\"DaskCluster\"} 1",
        "dask_operator_definition_fields_missing{kind=\"DaskCluster\"} 0",
        "dask_operator_queue_depth{state=\"due\"} 0",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    sim.user(&crate::sim::delete(crate::names::API_VERSION, "daskclusters", "default", "ex")).unwrap();
    sim.advance(SignedDuration::from_secs(60));
    let gone = page(&sim);
    assert!(!gone.contains("phase=\"Running\""), "{gone}");
    assert!(
        gone.contains("dask_operator_creation_to_running_duration_seconds_count{kind=\"DaskCluster\"} 1")
    );
}

#[test]
fn fields_that_an_installed_definition_lacks_are_counted() {
    let mut sim = running();
    for request in definitions::older() {
        sim.user(&request).unwrap();
    }
    sim.advance(SignedDuration::from_secs(60));
    let shown = page(&sim);
    assert!(!shown.contains("dask_operator_definition_fields_missing{kind=\"DaskCluster\"} 0"), "{shown}");
}

#[test]
fn equal_histories_have_equal_numbers() {
    assert_eq!(page(&running()), page(&running()));
}

/// Whoever reads the table in the chart's README finds every series there, and none that does not exist.
#[test]
fn the_readme_names_every_series_and_no_other() {
    let told = named(include_str!("../../../charts/dask-kubernetes-operator/README.md"));
    let shown = page(&running());
    let exported: BTreeSet<String> = families(&shown).into_iter().map(str::to_owned).collect();
    assert_eq!(told, exported);
}

#[test]
fn the_dashboard_names_only_series_that_exist() {
    let shown = page(&running());
    let exported: BTreeSet<String> = families(&shown).into_iter().map(str::to_owned).collect();
    let dashboard = named(include_str!("../../../charts/dask-kubernetes-operator/files/dashboard.json"));
    assert!(dashboard.len() > 8, "{dashboard:?}");
    let unknown: Vec<_> = dashboard.difference(&exported).collect();
    assert!(unknown.is_empty(), "named and not exported: {unknown:?}");
}

fn deps(metrics: Metrics, store: Arc<dyn crate::store::Store>) -> Deps {
    let clock = Clock::starting_at(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
    Deps { metrics, ..Deps::new(store, Arc::new(ScriptedScheduler::new()), clock) }
}

fn store() -> Arc<MeteringStore<FakeStore>> {
    let server = Server::new(Config::default());
    for crd in crds() {
        server.request(&create(definitions::API_VERSION, definitions::PLURAL, None, &crd)).unwrap();
    }
    Arc::new(MeteringStore::new(FakeStore::new(server)))
}

#[tokio::test(start_paused = true)]
async fn the_loop_answers_and_is_alive_as_long_as_it_runs() {
    let store = store();
    let metrics = Metrics::new((**store).clone());
    let deps = deps(metrics.clone(), store);
    let (health, clock) = (deps.health.clone(), deps.clock);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut running = Box::pin(run(deps, async move {
        let _ = stopped.await;
    }));
    let shown = tokio::select! {
        () = &mut running => panic!("it was not told to end"),
        shown = async {
            tokio::time::sleep(Duration::from_mins(2)).await;
            metrics.render(&health).await
        } => shown,
    };
    assert!(shown.contains("dask_operator_api_requests_total{verb=\"watch\",kind=\"DaskCluster\",subresource=\"\",code=\"OK\"} 1"), "{shown}");
    assert!(shown.contains("dask_operator_queue_depth{state=\"due\"} 0"), "{shown}");
    assert!(health.is_alive(clock.now()) && health.is_ready());
    // The loop hangs: nobody polls it.
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(!health.is_alive(clock.now()));
    let silent = metrics.render(&health).await;
    assert!(
        !silent.contains("queue_depth") && silent.contains("dask_operator_api_requests_total{"),
        "{silent}"
    );
    stop.send(()).unwrap();
    running.await;
    let ended = metrics.render(&health).await;
    assert!(!ended.contains("queue_depth") && ended.contains("dask_operator_working 0"), "{ended}");
}
