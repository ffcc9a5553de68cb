//! `diff` and `adopt --dry-run` tell what the operator would do with the plugins that it has.

use dask_operator::plugin::{Edit, Entry, Registry, Role};
use dask_operator::settings::Settings;
use dask_operator::sim::Sim;
use dask_operator::takeover::Survey;
use futures::FutureExt;
use serde_json::json;

use crate::world::*;

fn told(sim: &Sim, plugins: Vec<Entry>) -> String {
    let registry = Registry::new(plugins).expect("they can live together");
    let look = Survey::look(&*sim.store, Settings::default(), &[], &registry, sim.now()).now_or_never();
    let survey = look.expect("the fake answers at once").expect("it answers");
    survey.report(false).to_string()
}

#[test]
fn what_plugins_want_is_told() {
    let notes = || {
        native(maps("notes"), |_| {
            let patch = json!({"metadata": {"annotations": {"a": "b"}}});
            change([map("note", "x"), Edit::Merge { child: Role::Scheduler, patch }])
        })
    };
    let mut sim = sim(vec![]);
    cluster(&mut sim, "a", 0);
    wait(&mut sim, 20);
    assert!(
        told(&sim, vec![]).ends_with("0 objects would change, 5 would stay as they are\n"),
        "{}",
        told(&sim, vec![])
    );
    let with = told(&sim, vec![notes()]);
    for line in ["  ~ is created for DaskCluster default/a, as plugin notes wants it", "PluginsReady"] {
        assert!(with.contains(line), "{line} is not in\n{with}");
    }
    assert!(!with.contains("WARNING"), "{with}");
    let veto = native(maps("guard"), |_| {
        change([Edit::Veto { reason: "No".into(), message: "not this one".into() }])
    });
    let held = told(&sim, vec![veto]);
    assert!(held.contains("then waits: waiting for plugin guard: No: not this one"), "{held}");
    sim.restart_with_plugins(Registry::new(vec![notes()]).expect("one plugin"));
    wait(&mut sim, 20);
    assert!(told(&sim, vec![notes()]).contains("\n0 objects would change"), "{}", told(&sim, vec![notes()]));
}

#[test]
fn a_look_without_the_operators_plugins_says_that_it_is_one() {
    let mut sim = sim(vec![native(maps("notes"), |_| change([map("note", "x")]))]);
    cluster(&mut sim, "a", 0);
    wait(&mut sim, 20);
    let without = told(&sim, vec![]);
    for line in [
        "WARNING: plugins have added children that this look knows nothing of: notes;",
        "Give it the operator's list by --plugins",
        "ConfigMap default/note:\n  ~ is deleted: no plugin wants it any more",
    ] {
        assert!(without.contains(line), "{line} is not in\n{without}");
    }
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_said_for_each_resource_and_soon_left_alone() {
    let mut sim = sim(vec![]);
    for number in 0..8 {
        cluster(&mut sim, &format!("c{number}"), 0);
    }
    wait(&mut sim, 20);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let plugin = json!({"name": "gone", "url": url});
    let plugin = serde_json::from_value(plugin).expect("a plugin");
    let entry = dask_operator::plugin::config::entry(plugin, None).expect("it can be");
    let registry = Registry::new(vec![entry]).expect("one plugin");
    let survey = Survey::look(&*sim.store, Settings::default(), &[], &registry, sim.now()).await;
    let report = survey.expect("it answers").report(false).to_string();
    assert_eq!(report.matches("then waits: waiting for plugin gone:").count(), 8, "{report}");
    assert_eq!(report.matches("plugin gone has failed too often to be asked").count(), 4, "{report}");
}
