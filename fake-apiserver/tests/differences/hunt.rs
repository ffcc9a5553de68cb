//! Looks for differences that no script has: random sequences of what three managers do to one object, played on a real
//! server and on this one. A difference is shrunk and printed as a script, which belongs to a topic in `script/`.
//!
//! `cargo xtask hunt` plays them on a real control plane. Otherwise a few are played on two servers in memory, which must agree.

mod kinds;
mod shape;

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use serde_json::{Value, json};

use self::kinds::{Kind, all};
use self::shape::{merged, strategy};
use crate::compare;
use crate::script::{Script, Step};
use crate::target::Target;

/// Sequences without a real server.
const FEW: u64 = 20;
/// Name of the object that everything happens to.
const NAME: &str = "one";
/// Sequences in a hunt, and the number that they are made from.
const COUNT: &str = "FAKE_APISERVER_HUNT";
const SEED: &str = "FAKE_APISERVER_HUNT_SEED";

/// What of an object a request carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All that a valid object needs, and some more.
    Whole,
    /// Some fields.
    Some,
    /// Some fields, some of them to be removed.
    Removing,
    /// Likewise, with the directives of a strategic merge.
    Directing,
}

#[test]
fn random_sequences_have_the_same_answers() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (hunted, seed) = (number(COUNT), number(SEED).unwrap_or_default());
    let cases = hunted.unwrap_or(FEW);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let real = hunted.map(|_| runtime.block_on(Target::recorded()).expect("no kubeconfig is named"));
    let config =
        Config { cases: cases as u32, max_shrink_iters: 300, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let (namespaces, requests) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&sequence(), |steps| {
        // Each in a namespace of its own, also while it is shrunk, and when the hunt is repeated.
        namespaces.set(namespaces.get() + 1);
        requests.set(requests.get() + steps.len());
        let script = Script::of(format!("hunt-{}-{}", std::process::id(), namespaces.get()), steps);
        let (theirs, ours) = runtime.block_on(async {
            let (fake, other) = (Target::fake(), Target::fake());
            let real = real.as_ref().unwrap_or(&other);
            for target in [real, &fake] {
                kinds::define(target).await;
            }
            (crate::play(&script, real).await, crate::play(&script, &fake).await)
        });
        let found = compare::differences(&theirs, &ours);
        if found.is_empty() {
            return Ok(());
        }
        let text = serde_yaml::to_string(&as_written(&script.steps)).unwrap();
        Err(TestCaseError::fail(format!("{}\n{text}", found.join("\n"))))
    });
    println!("{} sequences, {} requests", namespaces.get(), requests.get());
    match result {
        Ok(()) => {}
        // The script says it all.
        Err(TestError::Fail(why, _)) => panic!("seed {seed}: {why}"),
        Err(error) => panic!("seed {seed}: {error}"),
    }
}

/// Steps as one writes them, without what says nothing.
fn as_written(steps: &[Step]) -> Value {
    let mut steps = json!(steps);
    let says = |value: &Value| ![json!(null), json!(false), json!([]), json!({})].contains(value);
    for step in steps.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        step.retain(|_, value| says(value));
    }
    steps
}

/// A beginning that makes the object, mostly, and what comes after it.
fn sequence() -> impl Strategy<Value = Vec<Step>> {
    proptest::sample::select(all()).prop_flat_map(|kind| {
        let first = prop_oneof![apply(&kind, Part::Whole), post(&kind)];
        (first, vec(step(&kind), 1..12)).prop_map(|(first, mut rest)| {
            rest.insert(0, first);
            rest
        })
    })
}

fn step(kind: &Kind) -> BoxedStrategy<Step> {
    prop_oneof![
        6 => apply(kind, Part::Whole),
        3 => apply(kind, Part::Some),
        2 => put(kind),
        1 => post(kind),
        3 => patch(kind, "merge", Part::Removing),
        3 => patch(kind, if kind.is_built_in { "strategic" } else { "merge" }, Part::Directing),
        3 => operations(kind),
        2 => subresource(kind),
        1 => delete(kind),
        1 => Just(Step::new(format!("GET {}", kind.object(NAME)), None, None)),
    ]
    .boxed()
}

fn managers() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["red", "green", "blue"])
}

/// What may be added to any write.
fn options() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just("&dryRun=All"), 1 => Just("&fieldValidation=Strict")]
}

fn apply(kind: &Kind, part: Part) -> BoxedStrategy<Step> {
    let (path, head) = (kind.object(NAME), kind.head(NAME));
    let force = prop_oneof![Just(""), Just("&force=true")];
    (managers(), force, options(), strategy(&kind.shape, part))
        .prop_map(move |(manager, force, options, body)| {
            let line = format!("PATCH {path}?fieldManager={manager}{force}{options}");
            Step::new(line, Some("apply"), Some(merged(&head, &body)))
        })
        .boxed()
}

fn put(kind: &Kind) -> BoxedStrategy<Step> {
    let (path, head) = (kind.object(NAME), kind.head(NAME));
    (managers(), options(), strategy(&kind.shape, Part::Whole))
        .prop_map(move |(manager, options, body)| {
            let line = format!("PUT {path}?fieldManager={manager}{options}");
            Step::new(line, None, Some(merged(&head, &body)))
        })
        .boxed()
}

fn post(kind: &Kind) -> BoxedStrategy<Step> {
    let (path, head) = (kind.path.to_owned(), kind.head(NAME));
    (managers(), options(), strategy(&kind.shape, Part::Whole))
        .prop_map(move |(manager, options, body)| {
            let line = format!("POST {path}?fieldManager={manager}{options}");
            Step::new(line, None, Some(merged(&head, &body)))
        })
        .boxed()
}

fn patch(kind: &Kind, content_type: &'static str, part: Part) -> BoxedStrategy<Step> {
    let path = kind.object(NAME);
    (managers(), options(), strategy(&kind.shape, part))
        .prop_map(move |(manager, options, body)| {
            let line = format!("PATCH {path}?fieldManager={manager}{options}");
            Step::new(line, Some(content_type), Some(body))
        })
        .boxed()
}

/// A JSON patch of a few operations.
fn operations(kind: &Kind) -> BoxedStrategy<Step> {
    let path = kind.object(NAME);
    let places = proptest::sample::select(kind.places.clone());
    let operation = (places, proptest::sample::select(vec!["add", "add", "replace", "remove", "test"]));
    let operation = operation.prop_map(|((place, value), verb): ((&str, Value), &str)| {
        if verb == "remove" {
            json!({"op": verb, "path": place})
        } else {
            json!({"op": verb, "path": place, "value": value})
        }
    });
    (managers(), vec(operation, 1..3))
        .prop_map(move |(manager, operations)| {
            let line = format!("PATCH {path}?fieldManager={manager}");
            Step::new(line, Some("json"), Some(Value::Array(operations)))
        })
        .boxed()
}

fn subresource(kind: &Kind) -> BoxedStrategy<Step> {
    let (path, head) = (kind.object(NAME), kind.head(NAME));
    let status = (managers(), prop_oneof![Just("apply"), Just("merge")], strategy(&kind.status, Part::Some))
        .prop_map(move |(manager, content_type, body)| {
            let line = format!("PATCH {path}/status?fieldManager={manager}");
            Step::new(line, Some(content_type), Some(merged(&head, &body)))
        });
    if !kind.has_scale {
        return status.boxed();
    }
    let path = kind.object(NAME);
    let scale = (managers(), 0..3).prop_map(move |(manager, replicas)| {
        let line = format!("PATCH {path}/scale?fieldManager={manager}");
        Step::new(line, Some("merge"), Some(json!({"spec": {"replicas": replicas}})))
    });
    prop_oneof![status, scale].boxed()
}

fn delete(kind: &Kind) -> BoxedStrategy<Step> {
    Just(Step::new(format!("DELETE {}", kind.object(NAME)), None, None)).boxed()
}
