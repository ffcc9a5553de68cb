//! What plugins cost is counted and measured where there are any; without them nothing is done for them.

use std::sync::Arc;
use std::time::Duration;

use dask_operator::api::crds::crds;
use dask_operator::clock::Clock;
use dask_operator::metrics::Metrics;
use dask_operator::plugin::{self, Change, ChildType, Entry, Registry, Roster, config};
use dask_operator::run::{Deps, run};
use dask_operator::scheduler::scripted::ScriptedScheduler;
use dask_operator::sim::story;
use dask_operator::store::served::definitions;
use dask_operator::store::{FakeStore, MeteringStore, Store};
use fake_apiserver::Server;
use fake_apiserver::server::Config;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::world::*;

/// A plugin that is data.
fn data(name: &str) -> Entry {
    let edit =
        json!({"op": "merge", "child": "service", "patch": {"metadata": {"annotations": {"a": "${name}"}}}});
    let plugin = serde_json::from_value(json!({"name": name, "edits": [edit]})).expect("a plugin");
    config::entry(plugin, None).expect("it can be")
}

/// The value of a series on a page of metrics.
fn value(page: &str, series: &str) -> u64 {
    let line =
        page.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("{series}: {page}"));
    line.trim().parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn each_call_in_the_process_is_counted_and_measured() {
    let store = Arc::new(MeteringStore::new(FakeStore::new(Server::new(Config::default()))));
    for definition in crds() {
        let definition = serde_json::from_value(definition).expect("an object");
        store.create(&definitions(), &definition, "test").await.expect("our definitions are accepted");
    }
    let panicking = native(maps("panics"), |view| {
        assert!(view.parent["metadata"]["name"] != "b", "no b");
        Change::default()
    });
    let registry = Registry::new(vec![native(maps("code"), |_| Change::default()), data("data"), panicking]);
    let metrics = Metrics::new((**store).clone());
    let deps = Deps {
        plugins: Roster::fixed(registry.expect("they can live together")),
        metrics: metrics.clone(),
        ..Deps::new(
            store.clone(),
            Arc::new(ScriptedScheduler::new()),
            Clock::starting_at(Timestamp::UNIX_EPOCH),
        )
    };
    let health = deps.health.clone();
    let clusters =
        ChildType::new(dask_operator::names::API_VERSION, "DaskCluster", "daskclusters").resource();
    let people = async {
        for name in ["a", "b"] {
            let cluster = serde_json::from_value(story::cluster(name, 0)).expect("an object");
            store.create(&clusters, &cluster, "test").await.expect("it is accepted");
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let page = metrics.render(&health).await;
        for plugin in ["code", "data", "panics"] {
            let calls = |outcome: &str| {
                let series =
                    format!("dask_operator_plugin_calls_total{{plugin=\"{plugin}\",outcome=\"{outcome}\"}}");
                value(&page, &series)
            };
            let all = calls("Answered") + if plugin == "panics" { calls("Panicked") } else { 0 };
            let measured = format!("dask_operator_plugin_call_duration_seconds_count{{plugin=\"{plugin}\"}}");
            assert!(all >= 2 && value(&page, &measured) == all, "{plugin}: {page}");
        }
    };
    tokio::select! {
        () = run(deps, std::future::pending()) => {}
        () = people => {}
    }
}

#[test]
fn calls_outside_are_measured_by_the_engines_time_and_those_inside_not_at_all() {
    let mut sim = sim(vec![outside(maps("slow")), native(maps("code"), |_| Change::default())]);
    sim.advisors.set("slow", Box::new(|_, _| (SignedDuration::from_secs(3), Ok(Change::default()))));
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 30);
    let tally = &sim.engine.tally;
    let calls = tally.advice[&("slow".to_owned(), "Answered")];
    assert_eq!(tally.advised["slow"].count(), calls);
    assert!((tally.advised["slow"].seconds() - 3.0 * calls as f64).abs() < 1e-9);
    assert!(!tally.advised.contains_key("code"), "equal histories have equal numbers");
}

#[test]
fn without_plugins_nothing_is_built_shown_or_allocated_for_them() {
    let mut sim = sim(vec![]);
    cluster(&mut sim, "a", 2);
    wait(&mut sim, 30);
    let now = sim.now();
    let parents: Vec<_> = sim.engine.world.cache.resources().cloned().collect();
    assert!(parents.len() >= 2, "a cluster and its group");
    let world = &mut sim.engine.world;
    let cost = allocation_counter::measure(|| {
        for parent in &parents {
            assert!(plugin::consult(world, &parent.key, now).is_empty());
            let shape = plugin::shape(world, parent, || unreachable!("nothing is built for nobody"), now);
            assert!(!shape.held && !shape.unsure && !shape.edits() && shape.conditions.is_empty());
            let [notes, children] = plugin::stages(world, parent, &shape, &mut Vec::new());
            assert!(notes.is_empty() && children.is_empty());
        }
        assert!(world.plugins.next_question().is_none() && world.plugins.next_due().is_none());
    });
    assert_eq!(cost.count_total, 0, "{cost:?}");
    assert!(world.plugins.is_empty() && world.plugins.extras.is_empty());
}
