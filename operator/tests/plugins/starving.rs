//! What becomes of other clusters while a plugin fails about one, is away, or is shown what changes all the time.

use dask_operator::names;
use dask_operator::plugin::{AskError, Change, Declaration, OnError, Related, View};
use dask_operator::sim::{Sim, create, patch};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::*;

const AT_ONCE: SignedDuration = SignedDuration::ZERO;

fn is(view: &View, name: &str) -> bool {
    view.parent["metadata"]["name"] == name
}

/// A plugin outside that fails about these clusters.
fn frail(sim: &mut Sim, poison: &'static [&'static str]) {
    let answer = move |view: &View, _| {
        let failing = poison.contains(&"*") || poison.iter().any(|name| is(view, name));
        let failed = || Err(AskError::new("Failed", "plugin.example:80 answered 500"));
        (AT_ONCE, if failing { failed() } else { Ok(Change::default()) })
    };
    sim.advisors.set("frail", Box::new(answer));
}

#[test]
fn a_cluster_about_which_a_webhook_always_fails_keeps_it_from_no_other() {
    let mut sim = sim(vec![outside(maps("frail"))]);
    frail(&mut sim, &["poison", "venom"]);
    for name in ["poison", "venom"] {
        cluster(&mut sim, name, 1);
    }
    // By now it is left alone for as long as it ever is.
    wait(&mut sim, 1_800);
    cluster(&mut sim, "fresh", 1);
    wait(&mut sim, 30);
    assert_eq!(children(&sim, "fresh"), (true, 1), "one that has never failed is asked about soon");
    wait(&mut sim, 1_800);
    edit(&mut sim, "fresh", json!({"metadata": {"labels": {"x": "y"}}}));
    wait(&mut sim, 30);
    assert_eq!(condition(&sim, "fresh", "PluginsReady"), "True Answered: frail");

    // It is away for everybody, and comes back for all but those: nobody waits for ever behind them.
    frail(&mut sim, &["*"]);
    cluster(&mut sim, "zebra", 1);
    wait(&mut sim, 1_800);
    assert_eq!(children(&sim, "zebra"), (false, 0));
    frail(&mut sim, &["poison", "venom"]);
    wait(&mut sim, 1_200);
    assert_eq!(children(&sim, "zebra"), (true, 1));
    let asked = sim.advisors.asked("frail");
    assert!(asked < 1_000, "asked {asked} times in two hours");
}

#[test]
fn a_new_cluster_is_held_with_the_reason_or_made_as_was_chosen_while_a_plugin_is_left_alone() {
    for (on_error, expected) in [(OnError::Fail, (false, 0)), (OnError::Skip, (true, 1))] {
        let mut sim = sim(vec![outside(Declaration { on_error, ..maps("frail") })]);
        frail(&mut sim, &["*"]);
        for number in 0..8 {
            cluster(&mut sim, &format!("c{number}"), 0);
        }
        wait(&mut sim, 900);
        for name in ["early", "late", "last"] {
            cluster(&mut sim, name, 1);
        }
        wait(&mut sim, 5);
        for name in ["early", "late", "last"] {
            let said = condition(&sim, name, "PluginsReady");
            assert!(
                said.starts_with("False ") && said.contains("plugin frail: "),
                "{on_error:?} {name}: {said}"
            );
            assert!(said.contains("answered 500"), "it says why: {said}");
        }
        wait(&mut sim, 30);
        for name in ["early", "late", "last"] {
            assert_eq!(children(&sim, name), expected, "{on_error:?} {name}");
        }
    }
}

fn all_maps(name: &str) -> Declaration {
    let mut declaration = maps(name);
    declaration.related.push(Related {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        name: None,
        labels: None,
    });
    declaration
}

fn note(sim: &mut Sim, name: &str, data: &str) {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": data}});
    sim.user(&create("v1", "configmaps", Some(NAMESPACE), &map)).expect("it is accepted");
}

#[test]
fn what_changes_all_the_time_and_is_shown_holds_nobody() {
    let mut sim = sim(vec![outside(all_maps("curious"))]);
    sim.advisors.set(
        "curious",
        Box::new(|view, _| {
            let seen = view.related.iter().find(|object| object["metadata"]["name"] == "busy");
            let text = seen.map(|object| object["data"]["text"].clone()).unwrap_or_default();
            let name = format!("{}-note", view.parent["metadata"]["name"].as_str().unwrap_or_default());
            (SignedDuration::from_secs(3), Ok(change([map(name, text.as_str().unwrap_or_default())])))
        }),
    );
    note(&mut sim, "busy", "0");
    cluster(&mut sim, "a", 1);
    for number in 0..60 {
        let body = json!({"data": {"text": number.to_string()}});
        sim.user(&patch("v1", "configmaps", NAMESPACE, "busy", body)).expect("it is there");
        wait(&mut sim, 1);
    }
    assert_eq!(children(&sim, "a"), (true, 1), "{}", condition(&sim, "a", "PluginsReady"));
    assert!(sim.advisors.asked("curious") <= 25, "asked {} times a minute", sim.advisors.asked("curious"));
    wait(&mut sim, 90);
    let made = object(&sim, "v1", "configmaps", "a-note").expect("it is made");
    assert_eq!(made["data"]["text"], "59", "and it has followed");
    assert_eq!(condition(&sim, "a", "PluginsReady"), "True Answered: curious");
}

#[test]
fn a_selection_of_everything_is_refused_before_it_fills_the_memory() {
    let mut sim = sim(vec![
        native(all_maps("greedy"), |_| Change::default()),
        native(maps("modest"), |_| change([map("note", "x")])),
    ]);
    cluster(&mut sim, "before", 1);
    wait(&mut sim, 20);
    assert_eq!(condition(&sim, "before", "PluginsReady"), "True Answered: greedy, modest");
    for number in 0..400 {
        note(&mut sim, &format!("n{number}"), &"x".repeat(60_000));
    }
    wait(&mut sim, 60);
    cluster(&mut sim, "after", 1);
    wait(&mut sim, 60);
    for name in ["before", "after"] {
        let said = condition(&sim, name, "PluginsReady");
        assert!(said.starts_with("False RelatedTooLarge: plugin greedy: "), "{name}: {said}");
        assert!(said.contains("select fewer by `name` or `labels`"), "{name}: {said}");
    }
    assert_eq!(children(&sim, "before"), (true, 1), "what is there stays");
    assert!(sim.engine.world.plugins.shown.bytes() == 0, "nothing of it is kept");
    let groups = sim.list(names::API_VERSION, "daskworkergroups");
    assert!(groups.iter().any(|group: &Value| group["metadata"]["name"] == "before-default"));
}
