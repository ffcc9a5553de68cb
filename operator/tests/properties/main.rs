//! Properties of the operator on the deterministic core: each one test, each printing what reproduces a failure.

mod autoscaling;
mod crowds;
mod updates;

use dask_operator::names;
use dask_operator::scheduler::scripted::Fault;
use dask_operator::sim::{Sim, SimConfig, create, dask, delete, patch, story, transcript::Transcript};
use dask_operator::store::faults::CrashPoint;
use jiff::SignedDuration;
use serde_json::json;

/// Histories per run; `cargo xtask sim` plays any number more.
const HISTORIES: u64 = 60;
const LENGTH: usize = 120;

/// A cluster that is scaled up and down.
fn cluster_scenario(sim: &mut Sim) {
    let object = story::cluster("simple", 2);
    sim.user(&create(names::API_VERSION, "daskclusters", Some("default"), &object))
        .expect("the cluster is accepted");
    sim.advance(SignedDuration::from_secs(20));
    for replicas in [4, 1] {
        let body = json!({"spec": {"worker": {"replicas": replicas}}});
        sim.user(&patch(names::API_VERSION, "daskworkergroups", "default", "simple-default", body))
            .expect("the group is there");
        sim.advance(SignedDuration::from_mins(5));
    }
}

/// A job that succeeds.
fn job_scenario(sim: &mut Sim) {
    let object = story::job("sum", 0);
    sim.user(&create(names::API_VERSION, "daskjobs", Some("default"), &object)).expect("the job is accepted");
    sim.advance(SignedDuration::from_mins(10));
}

/// The end of a scenario in words, with a crash at one write if asked for; and how many writes there were.
fn end_of(scenario: fn(&mut Sim), crash: Option<(u64, CrashPoint)>) -> (String, u64) {
    let mut sim = Sim::new(SimConfig::default());
    sim.settle();
    if let Some((nth, point)) = crash {
        sim.store.crash_at_write(sim.store.writes() + nth, point);
    }
    let before = sim.store.writes();
    scenario(&mut sim);
    if crash.is_some() {
        assert_eq!(sim.crashes(), 1, "{crash:?}: the crash did not happen");
    }
    let mut transcript = Transcript::new();
    transcript.world(&sim);
    let text = transcript.finish();
    let objects: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("Event ")).collect();
    (objects.join("\n"), sim.store.writes() - before)
}

fn crash_anywhere(scenario: fn(&mut Sim)) {
    let (expected, writes) = end_of(scenario, None);
    assert!(writes >= 5, "the scenario writes only {writes} times");
    for nth in 1..=writes {
        for point in CrashPoint::ALL {
            let (end, _) = end_of(scenario, Some((nth, point)));
            assert_eq!(end, expected, "after a crash at write {nth} of {writes}, {point:?}");
        }
    }
}

#[test]
fn a_crash_at_any_write_of_a_clusters_life_changes_nothing_about_its_end() {
    crash_anywhere(cluster_scenario);
}

#[test]
fn pain_8_a_crash_at_any_write_of_a_jobs_life_changes_nothing_about_its_end() {
    crash_anywhere(job_scenario);
}

#[test]
fn every_history_converges_and_stays() {
    for seed in 0..HISTORIES {
        let mut story = story::play(seed, LENGTH);
        let mut wrong = story::judge(&story.sim);
        wrong.append(&mut story.unfinished);
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}; replay with `cargo xtask sim --seed {seed}`");
        let writes = story.sim.store.writes();
        story.sim.advance(SignedDuration::from_mins(10));
        assert_eq!(
            story.sim.store.writes(),
            writes,
            "seed {seed}: it goes on writing though nothing changes"
        );
    }
}

#[test]
fn every_history_leaves_nothing_when_its_resources_are_deleted() {
    for seed in 0..HISTORIES / 2 {
        let mut story = story::play(seed, LENGTH);
        for plural in ["daskjobs", "daskclusters", "daskworkergroups"] {
            for object in story.sim.list(names::API_VERSION, plural) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                story
                    .sim
                    .user(&delete(names::API_VERSION, plural, "default", name))
                    .expect("it can be deleted");
            }
        }
        story.sim.advance(SignedDuration::from_mins(5));
        let left = story::labelled(&story.sim);
        assert!(left.is_empty(), "seed {seed}: {left:#?}; replay with `cargo xtask sim --seed {seed}`");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [1, 7] {
        assert_eq!(story::play(seed, LENGTH).sim.hash(), story::play(seed, LENGTH).sim.hash(), "seed {seed}");
    }
    assert_ne!(story::play(1, LENGTH).sim.hash(), story::play(7, LENGTH).sim.hash());
}

#[test]
fn histories_reach_every_kind_of_event() {
    let mut reached = std::collections::BTreeMap::new();
    for seed in 0..10 {
        for (what, times) in story::play(seed, LENGTH).reached {
            *reached.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "step",
        "time",
        "cluster",
        "scale",
        "job",
        "pod killed",
        "removed",
        "fault",
        "restart",
        "tasks",
        "scheduler fault",
    ] {
        assert!(reached.get(what).copied().unwrap_or(0) >= 3, "{what} was hardly reached: {reached:?}");
    }
}

/// A cluster that has tasks and is made smaller twice; one call to its scheduler fails so, if asked for. How many calls there
/// were, and what is wrong at the end.
fn scale_down_with(fault: Option<(u64, Fault)>) -> (u64, Vec<String>) {
    let mut sim = Sim::new(SimConfig::default());
    let object = story::cluster("simple", 4);
    sim.user(&create(names::API_VERSION, "daskclusters", Some("default"), &object))
        .expect("the cluster is accepted");
    sim.advance(SignedDuration::from_secs(20));
    let host = dask::host(&sim, "default", "simple").expect("the Service is there");
    let mut calls = 0;
    sim.scheduler.behave(&host, |behaviour| {
        behaviour.faults.extend(fault.map(|(nth, fault)| (behaviour.calls + nth, fault)));
        calls = behaviour.calls;
    });
    for replicas in [2, 1] {
        for takes in [1, 3, 2, 5, 4, 3] {
            sim.scheduler.set(&host, |model| model.submit(SignedDuration::from_secs(takes), 100));
        }
        sim.advance(SignedDuration::from_secs(2));
        let body = json!({"spec": {"worker": {"replicas": replicas}}});
        sim.user(&patch(names::API_VERSION, "daskworkergroups", "default", "simple-default", body))
            .expect("the group is there");
        sim.advance(SignedDuration::from_mins(4));
    }
    let mut wrong = story::judge(&sim);
    let (held, all) = sim.scheduler.set(&host, |model| model.results());
    if held < all {
        wrong.push(format!("{held} of {all} tasks have their result"));
    }
    sim.scheduler.behave(&host, |behaviour| calls = behaviour.calls - calls);
    (calls, wrong)
}

#[test]
fn pain_1_no_fault_of_the_scheduler_at_any_call_loses_work_or_stops_a_scale_down() {
    let (calls, wrong) = scale_down_with(None);
    assert!(calls >= 6 && wrong.is_empty(), "{calls} calls; {wrong:#?}");
    for nth in 0..calls {
        for fault in Fault::ALL {
            let (_, wrong) = scale_down_with(Some((nth, fault)));
            assert!(wrong.is_empty(), "{fault:?} at call {nth} of {calls}: {wrong:#?}");
        }
    }
}

/// A worker that registers after the scheduler was asked may have been given work by the time it is chosen.
#[test]
fn pain_1_a_group_that_shrinks_while_its_workers_start_loses_no_work() {
    for after in (0..12).map(|step| SignedDuration::from_millis(step * 250)) {
        let mut sim = Sim::new(SimConfig::default());
        let object = story::cluster("simple", 1);
        sim.user(&create(names::API_VERSION, "daskclusters", Some("default"), &object))
            .expect("the cluster is accepted");
        sim.advance(SignedDuration::from_secs(20));
        let host = dask::host(&sim, "default", "simple").expect("the Service is there");
        for takes in [20, 10, 3, 2, 5, 4, 10, 3] {
            sim.scheduler.set(&host, |model| model.submit(SignedDuration::from_secs(takes), 100));
        }
        let scale = |sim: &mut Sim, replicas| {
            let body = json!({"spec": {"worker": {"replicas": replicas}}});
            sim.user(&patch(names::API_VERSION, "daskworkergroups", "default", "simple-default", body))
                .expect("the group is there");
        };
        scale(&mut sim, 4);
        sim.advance(after);
        scale(&mut sim, 3);
        sim.advance(SignedDuration::from_secs(1));
        scale(&mut sim, 2);
        sim.advance(SignedDuration::from_mins(2));
        let mut wrong = story::judge(&sim);
        let (held, all) = sim.scheduler.set(&host, |model| model.results());
        if held < all {
            wrong.push(format!("{held} of {all} tasks have their result"));
        }
        assert!(wrong.is_empty(), "scaled down after {after}: {wrong:#?}");
    }
}

#[test]
fn pain_17_an_idle_cluster_costs_no_request_and_no_event() {
    let mut sim = Sim::new(SimConfig::default());
    cluster_scenario(&mut sim);
    sim.store.inner().take();
    sim.advance(SignedDuration::from_hours(1));
    let calls: Vec<String> = sim.store.inner().take().iter().map(ToString::to_string).collect();
    assert!(calls.is_empty(), "{calls:#?}");
}
