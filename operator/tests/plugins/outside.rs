//! Plugins outside: what holds while they have not answered, and what becomes of those that fail.

use dask_operator::plugin::{AskError, Change, Declaration, Edit, OnError, Parent, Role};
use jiff::SignedDuration;
use serde_json::json;

use crate::world::*;

const AT_ONCE: SignedDuration = SignedDuration::ZERO;

fn unreachable() -> AskError {
    AskError::new("Unreachable", "plugin.example:80 cannot be reached: refused")
}

#[test]
fn children_wait_for_the_answer_and_are_made_with_it() {
    let mut sim = sim(vec![outside(maps("slow"))]);
    sim.advisors.set("slow", Box::new(|_, _| (SignedDuration::from_secs(3), Ok(change([map("note", "x")])))));
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 2);
    assert_eq!(children(&sim, "a"), (false, 0));
    wait(&mut sim, 30);
    assert_eq!(children(&sim, "a"), (true, 1));
    assert_eq!(added(&sim), ["note"]);
    assert_eq!(condition(&sim, "a", "PluginsReady"), "True Answered: slow");
    let asked = sim.advisors.asked("slow");
    wait(&mut sim, 600);
    assert_eq!(sim.advisors.asked("slow"), asked, "an idle cluster asks nothing");
}

#[test]
fn nothing_is_removed_or_replaced_while_the_answer_is_unknown() {
    let mut sim = sim(vec![outside(maps("notes"))]);
    let edit_and_add = |_: &_, _| {
        let patch = json!({"metadata": {"annotations": {"a": "b"}}});
        (AT_ONCE, Ok(change([Edit::Merge { child: Role::Scheduler, patch }, map("note", "x")])))
    };
    sim.advisors.set("notes", Box::new(edit_and_add));
    cluster(&mut sim, "a", 1);
    edit(&mut sim, "a", json!({"spec": {"scheduler": {"updateStrategy": {"type": "Recreate"}}}}));
    wait(&mut sim, 30);
    let uid =
        object(&sim, "apps/v1", "deployments", "a-scheduler").expect("it is made")["metadata"]["uid"].clone();
    sim.advisors.set("notes", Box::new(|_, _| (AT_ONCE, Err(unreachable()))));
    // Another wish: what was answered before holds no more. And the operator forgets it too.
    edit(&mut sim, "a", json!({"metadata": {"labels": {"x": "y"}}}));
    wait(&mut sim, 60);
    sim.restart();
    wait(&mut sim, 120);
    let now = object(&sim, "apps/v1", "deployments", "a-scheduler").expect("it stays");
    assert_eq!(now["metadata"]["uid"], uid, "it is not replaced by one without the edit");
    assert_eq!(added(&sim), ["note"]);
    let said = condition(&sim, "a", "PluginsReady");
    assert_eq!(said, "False Unreachable: plugin notes: plugin.example:80 cannot be reached: refused");
    sim.advisors.set("notes", Box::new(edit_and_add));
    wait(&mut sim, 400);
    assert_eq!(condition(&sim, "a", "PluginsReady"), "True Answered: notes");
    let now = object(&sim, "apps/v1", "deployments", "a-scheduler").expect("it stays");
    assert_eq!(now["metadata"]["uid"], uid);
}

#[test]
fn a_plugin_that_fails_holds_or_is_skipped_as_it_was_chosen() {
    for (on_error, expected) in [(OnError::Fail, (false, 0)), (OnError::Skip, (true, 1))] {
        let mut sim = sim(vec![outside(Declaration { on_error, ..maps("gone") })]);
        cluster(&mut sim, "a", 1);
        wait(&mut sim, 60);
        assert_eq!(children(&sim, "a"), expected, "{on_error:?}");
        let said = condition(&sim, "a", "PluginsReady");
        assert!(said.starts_with("False Unreachable: plugin gone:"), "{said}");
        let events = sim.list("v1", "events");
        let told =
            |event: &&serde_json::Value| event["reason"] == "Unreachable" && event["type"] == "Warning";
        assert_eq!(events.iter().filter(told).count(), 1, "it is told once");
    }
}

#[test]
fn workers_go_on_being_scaled_down_while_a_plugin_is_away() {
    let declaration = Declaration::new("marks").of([Parent::DaskWorkerGroup]);
    let mut sim = sim(vec![outside(declaration)]);
    sim.advisors.set("marks", Box::new(|_, _| (AT_ONCE, Ok(Change::default()))));
    cluster(&mut sim, "a", 4);
    wait(&mut sim, 30);
    assert_eq!(children(&sim, "a"), (true, 4));
    sim.advisors.set("marks", Box::new(|_, _| (AT_ONCE, Err(unreachable()))));
    edit(&mut sim, "a", json!({"spec": {"worker": {"replicas": 1}}}));
    wait(&mut sim, 300);
    assert_eq!(children(&sim, "a"), (true, 1));
}

#[test]
fn a_plugin_that_fails_for_everybody_is_left_alone_by_a_circuit_breaker() {
    let mut sim = sim(vec![outside(maps("gone"))]);
    sim.advisors.set("gone", Box::new(|_, _| (AT_ONCE, Err(unreachable()))));
    for number in 0..8 {
        cluster(&mut sim, &format!("c{number}"), 1);
    }
    wait(&mut sim, 1_200);
    // Eight clusters that each retry once a minute would have asked a hundred and fifty times.
    let asked = sim.advisors.asked("gone");
    assert!(asked <= 8 + 24, "asked {asked} times in 20 min");
    sim.advisors.set("gone", Box::new(|_, _| (AT_ONCE, Ok(Change::default()))));
    wait(&mut sim, 600);
    for number in 0..8 {
        assert_eq!(children(&sim, &format!("c{number}")), (true, 1), "c{number}");
    }
}

#[test]
fn a_kind_that_is_not_served_holds_its_plugin_and_nobody_else() {
    let absent = Declaration::new("mesh").adds("networking.istio.io/v1", "VirtualService", "virtualservices");
    let groups = Declaration { parents: vec![Parent::DaskJob], ..absent };
    let mut sim = sim(vec![outside(groups)]);
    cluster(&mut sim, "a", 1);
    let job = dask_operator::sim::story::job("sum", 0);
    let request =
        dask_operator::sim::create(dask_operator::names::API_VERSION, "daskjobs", Some(NAMESPACE), &job);
    sim.user(&request).expect("it is accepted");
    wait(&mut sim, 60);
    assert_eq!(children(&sim, "a"), (true, 1));
    assert_eq!(sim.advisors.asked("mesh"), 0);
    let job = object(&sim, dask_operator::names::API_VERSION, "daskjobs", "sum").expect("it is there");
    let conditions = job["status"]["conditions"].to_string();
    assert!(conditions.contains("KindNotListed") && conditions.contains("VirtualService"), "{conditions}");
}
