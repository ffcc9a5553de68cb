//! Plugins that misbehave, in random histories: the operator comes to rest, says which plugin it was, and loses no child.

use std::sync::atomic::{AtomicU64, Ordering};

use dask_operator::names;
use dask_operator::plugin::{ADDED_MAX, AskError, Change, Edit, OnError, Role, View};
use dask_operator::seed::Seed;
use dask_operator::sim::{Sim, delete, patch, story};
use jiff::SignedDuration;
use serde_json::json;

use crate::world::*;

/// Histories of each fault: an even and an odd number differ in what is done about a plugin that fails.
const HISTORIES: u64 = 2;

/// What a plugin may do wrong. Each is a function of the view, of how often it was asked, and of a number drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It takes its time.
    Slow,
    /// It never answers.
    Failing,
    /// It answers now and then.
    Flapping,
    /// It answers something else each time.
    Differing,
    /// It adds what it has not declared.
    Forbidden,
    /// It wants to be somebody else.
    Identity,
    /// It adds one more each time it sees what it has added.
    Growing,
    /// Its answer is too large.
    Large,
    /// It panics, or what comes closest to that from outside.
    Broken,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::Slow,
        Self::Failing,
        Self::Flapping,
        Self::Differing,
        Self::Forbidden,
        Self::Identity,
        Self::Growing,
        Self::Large,
        Self::Broken,
    ];

    fn answer(self, view: &View, number: u64, drawn: u64) -> (SignedDuration, Result<Change, AskError>) {
        let failed = || Err(AskError::new("Failed", "plugin.example:80 answered 500"));
        let good = || change([map(name(view, "note"), "x")]);
        let after = if self == Self::Slow { (drawn % 20) as i64 } else { (drawn % 2) as i64 };
        let answer = match self {
            Self::Failing => failed(),
            Self::Flapping if drawn.is_multiple_of(2) => failed(),
            Self::Slow | Self::Flapping => Ok(good()),
            Self::Differing => Ok(change([
                map(name(view, &format!("n{}", drawn % 5)), &number.to_string()),
                Edit::Merge {
                    child: Role::Scheduler,
                    patch: json!({"metadata": {"annotations": {"n": number.to_string()}}}),
                },
            ])),
            Self::Forbidden => Ok(change([Edit::Add {
                object: json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
            }])),
            Self::Identity => Ok(change([Edit::Merge {
                child: Role::Service,
                patch: json!({"metadata": {"labels": {names::CLUSTER_NAME: "alpha"}}}),
            }])),
            Self::Growing => {
                let there = view.observed.iter().filter(|child| child.role.is_none()).count();
                let more = (0..=there).map(|number| map(name(view, &format!("g{number}")), "x"));
                Ok(change(more.collect::<Vec<_>>()))
            }
            Self::Large => Ok(change([map(name(view, "large"), &"x".repeat(300_000))])),
            Self::Broken => Err(AskError::new("Malformed", "the answer is none")),
        };
        (SignedDuration::from_secs(after), answer)
    }

    /// Whether there is something to be said of it when everything has come to rest.
    fn is_told(self) -> bool {
        matches!(self, Self::Failing | Self::Forbidden | Self::Identity | Self::Large | Self::Broken)
    }
}

fn name(view: &View, what: &str) -> String {
    format!("{}-{what}", view.parent["metadata"]["name"].as_str().unwrap_or_default())
}

/// A history with a plugin that misbehaves about the cluster `beta` alone.
fn play(fault: Fault, on_error: OnError, seed: u64) -> Sim {
    let mut draw = Seed(seed);
    let declaration = dask_operator::plugin::Declaration { on_error, ..maps("wild") };
    let mut sim = sim(vec![outside(declaration)]);
    let mut numbers = Seed(seed + 1_000);
    sim.advisors.set(
        "wild",
        Box::new(move |view, number| {
            if view.parent["metadata"]["name"] == "beta" {
                fault.answer(view, number, numbers.below(1_000) as u64)
            } else {
                (SignedDuration::ZERO, Ok(change([map(name(view, "note"), "x")])))
            }
        }),
    );
    for cluster in ["alpha", "beta"] {
        crate::world::cluster(&mut sim, cluster, 2);
    }
    for _ in 0..60 {
        let number = draw.below(1_000_000);
        match draw.below(12) {
            0..=5 => {
                sim.step_by(number);
            }
            6 | 7 => sim.advance(SignedDuration::from_secs(1 + draw.below(10) as i64)),
            8 => {
                let cluster = ["alpha", "beta"][draw.below(2)];
                let body = json!({"spec": {"worker": {"replicas": draw.below(4)}}});
                sim.user(&patch(names::API_VERSION, "daskclusters", NAMESPACE, cluster, body))
                    .expect("it is there");
            }
            9 => {
                let cluster = ["alpha", "beta"][draw.below(2)];
                edit(&mut sim, cluster, json!({"metadata": {"labels": {"n": draw.below(3).to_string()}}}));
            }
            10 => {
                let maps = added(&sim);
                if let Some(name) = (!maps.is_empty()).then(|| maps[draw.below(maps.len())].clone()) {
                    sim.user(&delete("v1", "configmaps", NAMESPACE, &name)).expect("it can be deleted");
                }
            }
            _ => sim.restart(),
        }
    }
    sim.advance(SignedDuration::from_mins(15));
    sim
}

/// Objects that there are, by kind and uid: none of them may vanish.
fn schedulers(sim: &Sim) -> Vec<String> {
    let mut found = Vec::new();
    for (api_version, plural) in [("apps/v1", "deployments"), ("v1", "services")] {
        let objects = sim.list(api_version, plural).into_iter();
        let ours = objects.filter(|object| !object["metadata"]["labels"][names::CLUSTER_NAME].is_null());
        found.extend(ours.map(|object| object["metadata"]["uid"].to_string()));
    }
    found
}

fn check(fault: Fault) {
    for seed in 0..HISTORIES {
        let on_error = if seed % 2 == 0 { OnError::Fail } else { OnError::Skip };
        let told = format!("{fault:?} with seed {seed}");
        let mut sim = play(fault, on_error, seed);
        // The neighbour has all it wants.
        assert!(
            story::judge(&sim).iter().all(|wrong| wrong.contains("beta")),
            "{told}: {:?}",
            story::judge(&sim)
        );
        assert_eq!(condition(&sim, "alpha", "PluginsReady"), "True Answered: wild", "{told}");
        assert!(added(&sim).contains(&"alpha-note".to_owned()), "{told}");
        let said = condition(&sim, "beta", "PluginsReady");
        if fault.is_told() {
            assert!(said.starts_with("False ") && said.contains("plugin wild: "), "{told}: {said}");
        }
        assert!(added(&sim).len() <= ADDED_MAX + 1, "{told}: {:?}", added(&sim));
        if on_error == OnError::Skip || !fault.is_told() {
            assert!(children(&sim, "beta").0, "{told}: {said}");
        }
        // It has come to rest: questions may be repeated, nothing is written.
        let (before, writes) = (schedulers(&sim), sim.store.writes());
        sim.advance(SignedDuration::from_mins(10));
        assert_eq!(sim.store.writes(), writes, "{told}: it goes on writing");
        assert_eq!(schedulers(&sim), before, "{told}: children were exchanged");
        // With the plugin well again, everything is as it should be; nothing was leaked, and all of it goes.
        sim.advisors.set(
            "wild",
            Box::new(|view, _| (SignedDuration::ZERO, Ok(change([map(name(view, "note"), "x")])))),
        );
        edit(&mut sim, "beta", json!({"metadata": {"labels": {"well": "again"}}}));
        sim.advance(SignedDuration::from_mins(15));
        assert_eq!(story::judge(&sim), [""; 0], "{told}");
        assert_eq!(added(&sim), ["alpha-note", "beta-note"], "{told}");
        for cluster in ["alpha", "beta"] {
            sim.user(&delete(names::API_VERSION, "daskclusters", NAMESPACE, cluster))
                .expect("it can be deleted");
        }
        sim.advance(SignedDuration::from_mins(5));
        assert!(story::labelled(&sim).is_empty() && added(&sim).is_empty(), "{told}");
    }
}

#[test]
fn a_misbehaving_plugin_neither_leaks_nor_blocks_anybody_else() {
    for fault in Fault::ALL {
        check(fault);
    }
}

#[test]
fn a_history_with_plugins_is_a_function_of_its_seed() {
    let hash = |seed| play(Fault::Differing, OnError::Fail, seed).hash();
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}

#[test]
fn a_native_plugin_that_panics_or_is_not_pure_is_held_by_the_same_bounds() {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let panicking = native(dask_operator::plugin::Declaration::new("panics"), |view| {
        assert!(view.parent["metadata"]["name"] != "beta", "no beta");
        Change::default()
    });
    let counting = native(maps("counts"), |view| {
        let number = CALLS.fetch_add(1, Ordering::Relaxed);
        change([map(name(view, &format!("n{number}")), "x")])
    });
    let mut sim = sim(vec![panicking, counting]);
    for cluster in ["alpha", "beta"] {
        crate::world::cluster(&mut sim, cluster, 1);
    }
    sim.advance(SignedDuration::from_mins(20));
    assert_eq!(children(&sim, "alpha"), (true, 1));
    let said = condition(&sim, "beta", "PluginsReady");
    assert!(said.starts_with("False Panicked: plugin panics: it panicked: no beta"), "{said}");
    let said = condition(&sim, "alpha", "PluginsReady");
    assert!(said.starts_with("False Unsteady: plugin counts: it answered differently 8 times"), "{said}");
    let writes = sim.store.writes();
    sim.advance(SignedDuration::from_mins(10));
    assert_eq!(sim.store.writes(), writes);
}
