//! Plugins that are taken off the list: what they added goes, and nothing else does.

use dask_operator::names;
use dask_operator::plugin::{AskError, Declaration, Entry, How, Parent, Registry};
use dask_operator::seed::Seed;
use dask_operator::sim::rights::Rights;
use dask_operator::sim::{Sim, SimConfig, create, delete, story};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::*;

const AT_ONCE: SignedDuration = SignedDuration::ZERO;

fn registry(plugins: Vec<Entry>) -> Registry {
    Registry::new(plugins).expect("they can live together")
}

fn notes(name: &str) -> Entry {
    native(maps(name), |_| change([map("note", "x")]))
}

/// What is noted on the cluster.
fn noted(sim: &Sim) -> Value {
    let cluster = object(sim, names::API_VERSION, "daskclusters", "a").expect("the cluster exists");
    cluster["metadata"]["annotations"][names::ADDED].clone()
}

/// A simulation with a cluster `a` to which the plugin `notes` has added a ConfigMap.
fn begun(config: SimConfig) -> Sim {
    let mut sim = Sim::new(SimConfig { plugins: registry(vec![notes("notes")]), ..config });
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 20);
    assert_eq!(added(&sim), ["note"]);
    sim
}

#[test]
fn what_a_plugin_that_is_gone_added_goes_and_so_does_the_note_of_it() {
    let mut sim = begun(SimConfig::default());
    assert!(noted(&sim).as_str().expect("a note").contains("configmaps"));
    let mine = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}});
    sim.user(&create("v1", "configmaps", Some(NAMESPACE), &mine)).expect("it is accepted");
    sim.restart_with_plugins(Registry::default());
    wait(&mut sim, 20);
    assert_eq!(added(&sim), [""; 0]);
    assert_eq!(noted(&sim), Value::Null);
    assert!(object(&sim, "v1", "configmaps", "mine").is_some(), "what is somebody's stays");
    assert_eq!(children(&sim, "a"), (true, 1));
    assert_eq!(condition(&sim, "a", "PluginsReady"), "", "nothing is said of plugins any more");
    let writes = sim.store.writes();
    wait(&mut sim, 600);
    assert_eq!(sim.store.writes(), writes);
}

#[test]
fn a_kind_or_a_parent_that_a_plugin_no_longer_declares_is_taken_back_too() {
    let budgets = ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets");
    for declaration in [
        Declaration::new("notes").adds(budgets.0, budgets.1, budgets.2),
        maps("notes").of([Parent::DaskWorkerGroup]),
    ] {
        let mut sim = begun(SimConfig::default());
        sim.restart_with_plugins(registry(vec![native(declaration, |_| change([]))]));
        wait(&mut sim, 20);
        assert_eq!(added(&sim), [""; 0]);
        assert_eq!(noted(&sim), Value::Null);
    }
}

#[test]
fn a_plugin_with_another_name_inherits_what_it_still_wants() {
    let mut sim = begun(SimConfig::default());
    let uid =
        |sim: &Sim| object(sim, "v1", "configmaps", "note").expect("it stays")["metadata"]["uid"].clone();
    let before = uid(&sim);
    // It cannot be asked at first: nobody knows yet what it will want.
    sim.restart_with_plugins(registry(vec![outside(maps("renamed"))]));
    wait(&mut sim, 60);
    assert_eq!(uid(&sim), before);
    sim.advisors.set("renamed", Box::new(|_, _| (AT_ONCE, Ok(change([map("note", "x")])))));
    wait(&mut sim, 300);
    assert_eq!(uid(&sim), before);
    let note = object(&sim, "v1", "configmaps", "note").expect("it stays");
    assert_eq!(note["metadata"]["labels"][names::PLUGIN], "renamed");
    assert!(!noted(&sim).to_string().contains("notes"), "{}", noted(&sim));
}

#[test]
fn a_plugin_takes_nothing_from_another_one_that_only_fails() {
    let other = || native(maps("other"), |_| change([map("note", "theirs")]));
    let mut sim = begun(SimConfig::default());
    let failing = Declaration { on_error: dask_operator::plugin::OnError::Skip, ..maps("notes") };
    sim.restart_with_plugins(registry(vec![outside(failing), other()]));
    sim.advisors.set("notes", Box::new(|_, _| (AT_ONCE, Err(AskError::new("Unreachable", "gone")))));
    wait(&mut sim, 120);
    let note = object(&sim, "v1", "configmaps", "note").expect("it stays");
    assert_eq!(
        (&note["data"]["text"], &note["metadata"]["labels"][names::PLUGIN]),
        (&json!("x"), &json!("notes"))
    );
    let said = condition(&sim, "a", "Ready");
    assert!(said.contains("which plugin other adds, is plugin notes's"), "{said}");
}

#[test]
fn a_plugin_whose_answer_no_longer_has_an_object_loses_it_and_one_that_fails_does_not() {
    let mut sim = sim(vec![outside(maps("notes"))]);
    sim.advisors.set("notes", Box::new(|_, _| (AT_ONCE, Ok(change([map("one", "x"), map("two", "x")])))));
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 20);
    assert_eq!(added(&sim), ["one", "two"]);
    sim.advisors.set("notes", Box::new(|_, _| (AT_ONCE, Err(AskError::new("TimedOut", "slow")))));
    edit(&mut sim, "a", json!({"metadata": {"labels": {"x": "y"}}}));
    wait(&mut sim, 600);
    sim.restart();
    wait(&mut sim, 600);
    assert_eq!(added(&sim), ["one", "two"], "failing for long, through a restart, with its circuit open");
    sim.advisors.set("notes", Box::new(|_, _| (AT_ONCE, Ok(change([map("two", "x")])))));
    wait(&mut sim, 600);
    assert_eq!(added(&sim), ["two"]);
}

/// Takes the rights for what plugins add from the operator, as an upgrade of the chart without the plugin does.
fn revoke(sim: &mut Sim, plugins: &Registry) {
    let rbac = "rbac.authorization.k8s.io/v1";
    for plural in ["rolebindings", "roles"] {
        sim.user(&delete(rbac, plural, NAMESPACE, "operator")).expect("it can be deleted");
    }
    for request in Rights::InNamespace.grant(plugins) {
        sim.user(&request).expect("an administrator may give rights");
    }
}

#[test]
fn without_the_rights_to_take_it_back_the_cluster_says_what_to_do() {
    let rights = Rights::InNamespace;
    let settings = dask_operator::settings::Settings { look: rights.look(), ..Default::default() };
    let mut sim = begun(SimConfig { rights, settings, ..SimConfig::default() });
    revoke(&mut sim, &Registry::default());
    sim.restart_with_plugins(Registry::default());
    wait(&mut sim, 60);
    let said = condition(&sim, "a", "PluginsReady");
    assert!(said.starts_with("False LeftBehind: plugin notes is not on the list any more"), "{said}");
    assert!(said.contains("kubectl delete configmaps -l operator.dask.org/plugin=notes"), "{said}");
    assert_eq!(added(&sim), ["note"]);
    // What the message says: the chart gives the rights for it again.
    let removed = registry(vec![Entry { declaration: maps("notes"), how: How::Removed }]);
    revoke(&mut sim, &removed);
    sim.restart_with_plugins(removed);
    wait(&mut sim, 60);
    assert_eq!(added(&sim), [""; 0]);
    assert_eq!(condition(&sim, "a", "PluginsReady"), "");
    assert_eq!(noted(&sim), Value::Null);
}

#[test]
fn a_kind_that_is_not_served_any_more_is_nobodys_trouble() {
    let definition = |version: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "memos.example.org"},
            "spec": {
                "group": "example.org", "scope": "Namespaced", "names": {"plural": "memos", "kind": "Memo"},
                "versions": [{
                    "name": version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        })
    };
    let declaration = Declaration::new("memos").adds("example.org/v1", "Memo", "memos");
    let plugin = native(declaration, |_| {
        let object = json!({"apiVersion": "example.org/v1", "kind": "Memo", "metadata": {"name": "memo"}});
        change([dask_operator::plugin::Edit::Add { object }])
    });
    let mut sim = sim(vec![]);
    let definitions = ("apiextensions.k8s.io/v1", "customresourcedefinitions");
    sim.user(&create(definitions.0, definitions.1, None, &definition("v1"))).expect("it is accepted");
    wait(&mut sim, 5);
    sim.restart_with_plugins(registry(vec![plugin]));
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 20);
    assert_eq!(sim.list("example.org/v1", "memos").len(), 1);
    let gone = dask_operator::sim::delete(definitions.0, definitions.1, "", "memos.example.org");
    sim.user(&fake_apiserver::request::Request { namespace: None, ..gone }).expect("it can be deleted");
    wait(&mut sim, 20);
    sim.restart_with_plugins(Registry::default());
    wait(&mut sim, 60);
    assert_eq!(condition(&sim, "a", "PluginsReady"), "");
    assert_eq!(children(&sim, "a"), (true, 1));
    let writes = sim.store.writes();
    wait(&mut sim, 600);
    assert_eq!(sim.store.writes(), writes);
    // Its definition comes back, without what there was.
    sim.user(&create(definitions.0, definitions.1, None, &definition("v1"))).expect("it is accepted");
    wait(&mut sim, 600);
    assert_eq!(noted(&sim), Value::Null);
}

#[test]
fn what_was_added_to_a_job_goes_also_when_the_job_is_over() {
    let declaration = maps("notes").of([Parent::DaskJob]);
    let rights = Rights::InNamespace;
    let settings = dask_operator::settings::Settings { look: rights.look(), ..Default::default() };
    let plugins = registry(vec![native(declaration.clone(), |_| change([map("note", "x")]))]);
    let mut sim = Sim::new(SimConfig { rights, settings, plugins, ..SimConfig::default() });
    let mut job = story::job("sum", 0);
    job["spec"]["job"]["metadata"]["annotations"]["fake-apiserver.dev/exit-after"] = json!("10");
    sim.user(&create(names::API_VERSION, "daskjobs", Some(NAMESPACE), &job)).expect("the job is accepted");
    wait(&mut sim, 120);
    let job = object(&sim, names::API_VERSION, "daskjobs", "sum").expect("the job is there");
    assert_eq!(job["status"]["jobStatus"], "Successful");
    assert_eq!(added(&sim), ["note"], "it stays as long as the job, like its runner");
    sim.restart_with_plugins(registry(vec![Entry { declaration, how: How::Removed }]));
    wait(&mut sim, 60);
    assert_eq!(added(&sim), [""; 0]);
}

#[test]
fn a_note_that_somebody_else_wrote_deletes_nothing_that_is_somebody_elses() {
    let mut sim = sim(vec![]);
    cluster(&mut sim, "a", 1);
    cluster(&mut sim, "b", 1);
    wait(&mut sim, 20);
    let b = object(&sim, names::API_VERSION, "daskclusters", "b").expect("it exists");
    let owner = |blamed: &Value| json!([{"apiVersion": names::API_VERSION, "kind": "DaskCluster", "name": "a", "uid": blamed}]);
    for (name, labels, owners) in [
        ("unlabelled", json!({}), json!([])),
        ("labelled", json!({names::PLUGIN: "p"}), json!([])),
        ("of-another", json!({names::PLUGIN: "p"}), owner(&b["metadata"]["uid"])),
    ] {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels, "ownerReferences": owners}});
        sim.user(&create("v1", "configmaps", Some(NAMESPACE), &body)).expect("it is accepted");
    }
    let there = sim.list("v1", "configmaps").len();
    let note = json!({"p": [{"apiVersion": "v1", "kind": "ConfigMap", "plural": "configmaps"}]}).to_string();
    edit(&mut sim, "a", json!({"metadata": {"annotations": {names::ADDED: note}}}));
    wait(&mut sim, 60);
    assert_eq!(noted(&sim), Value::Null, "there is nothing of that kind that is the cluster's");
    assert_eq!(
        sim.list("v1", "configmaps").len(),
        there - 1,
        "garbage collection takes what names an owner that is not there"
    );
    for name in ["unlabelled", "labelled"] {
        assert!(object(&sim, "v1", "configmaps", name).is_some(), "{name}");
    }
}

/// Which plugin the ConfigMap is said to be of.
fn labelled(sim: &Sim) -> Value {
    object(sim, "v1", "configmaps", "note")
        .map_or(Value::Null, |note| note["metadata"]["labels"][names::PLUGIN].clone())
}

/// The lists between which an administrator changes: with the plugin, without it, under another name, to be removed, failing.
fn lists() -> [Registry; 5] {
    let removed = Entry { declaration: maps("notes"), how: How::Removed };
    [
        registry(vec![notes("notes")]),
        registry(vec![]),
        registry(vec![notes("renamed")]),
        registry(vec![removed]),
        registry(vec![outside(maps("notes"))]),
    ]
}

#[test]
fn however_the_list_changes_what_is_there_at_the_end_is_what_its_last_state_wants() {
    for seed in 0..6 {
        let mut draw = Seed(seed);
        let mut sim = begun(SimConfig { seed, ..SimConfig::default() });
        for _ in 0..40 {
            let number = draw.below(1_000_000);
            match draw.below(8) {
                0..=4 => {
                    sim.step_by(number);
                }
                5 => wait(&mut sim, 1 + draw.below(20) as i64),
                6 => sim.restart(),
                _ => {
                    let there = added(&sim);
                    let list = draw.below(5);
                    sim.restart_with_plugins(lists()[list].clone());
                    if list == 4 {
                        // Nobody answers for it: whatever is its own stays, however long that lasts.
                        wait(&mut sim, 120);
                        let inherited = there.is_empty() || labelled(&sim) == "renamed";
                        assert!(inherited || added(&sim) == there, "seed {seed}");
                    }
                }
            }
        }
        let last = draw.below(3);
        sim.restart_with_plugins(lists()[last].clone());
        wait(&mut sim, 120);
        let wanted = if last == 1 { vec![] } else { vec!["note".to_owned()] };
        assert_eq!(added(&sim), wanted, "seed {seed}");
        assert_eq!(noted(&sim).is_null(), last == 1, "seed {seed}: {}", noted(&sim));
        assert_eq!(children(&sim, "a"), (true, 1), "seed {seed}");
        let writes = sim.store.writes();
        wait(&mut sim, 300);
        assert_eq!(sim.store.writes(), writes, "seed {seed}: it goes on writing");
    }
}
