//! The rights of `dask_operator::rbac` are those that the operator uses: none is missing, none is idle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dask_operator::api::crds::crds;
use dask_operator::clock::Clock;
use dask_operator::election::{Election, Timing, lead};
use dask_operator::engine::Task;
use dask_operator::execute::{Hands, execute};
use dask_operator::names::GROUP;
use dask_operator::observe::{ChildId, ChildKind, Key, Kind};
use dask_operator::plan::{Plan, Step, Target};
use dask_operator::rbac::{self, Rule};
use dask_operator::run::Deps;
use dask_operator::scheduler::scripted::ScriptedScheduler;
use dask_operator::settings::Settings;
use dask_operator::sim::rights::Rights;
use dask_operator::sim::script;
use dask_operator::store::served::{Look, changes, definitions, served};
use dask_operator::store::{
    FakeStore, ObjectKey, Part, RecordingStore, Store,
    call::{Call, Verb},
};
use fake_apiserver::Server;
use fake_apiserver::server::Config;
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::json;

/// Scenarios that must go the same way with a Role and with a ClusterRole: one of each kind of resource, and the takeover.
const COMPARED: [&str; 4] = ["autoscaler", "cluster_happy_path", "job_success", "takeover"];

/// A right as `verb group/resource`.
type Right = String;

fn granted(rules: &[Rule]) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for rule in rules {
        for resource in rule.resources {
            rights.extend(rule.verbs.iter().map(|verb| format!("{verb} {}/{resource}", rule.group)));
        }
    }
    rights
}

/// What a call asks of the API server. A watch begins with a list.
fn needed(call: &Call) -> Vec<Right> {
    let (group, plural) = match call.kind.as_str() {
        "Pod" => ("", "pods"),
        "Service" => ("", "services"),
        "Event" => ("", "events"),
        "Deployment" => ("apps", "deployments"),
        "DaskCluster" => (GROUP, "daskclusters"),
        "DaskWorkerGroup" => (GROUP, "daskworkergroups"),
        "DaskJob" => (GROUP, "daskjobs"),
        "DaskAutoscaler" => (GROUP, "daskautoscalers"),
        "Lease" => ("coordination.k8s.io", "leases"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "customresourcedefinitions"),
        other => {
            panic!("the operator has begun to use {other}: give it the rights in rbac.rs, and its name here")
        }
    };
    let verbs: &[&str] = match call.verb {
        Verb::Get => &["get"],
        Verb::List => &["list"],
        Verb::Watch => &["list", "watch"],
        Verb::Create => &["create"],
        // Server-side apply creates what is missing.
        Verb::Apply => &["create", "patch"],
        Verb::Patch => &["patch"],
        Verb::Delete => &["delete"],
        // Open to everybody who may log in (the role `system:discovery`).
        Verb::Discover => return Vec::new(),
    };
    let part = if call.part == Part::Status { "/status" } else { "" };
    verbs.iter().map(|verb| format!("{verb} {group}/{plural}{part}")).collect()
}

/// A scheduler's Deployment that has lost its owner is taken over.
const ADOPTION: &str = "\
apply
  apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: simple-scheduler
    labels: {dask.org/cluster-name: simple, dask.org/component: scheduler}
  spec:
    selector: {matchLabels: {dask.org/component: scheduler}}
    template:
      metadata: {labels: {dask.org/component: scheduler}}
      spec: {containers: [{name: scheduler, image: ghcr.io/dask/dask}]}
apply
  apiVersion: kubernetes.dask.org/v1
  kind: DaskCluster
  metadata: {name: simple}
  spec:
    worker: {replicas: 0, spec: {containers: [{name: worker, image: ghcr.io/dask/dask}]}}
    scheduler:
      spec: {containers: [{name: scheduler, image: ghcr.io/dask/dask}]}
      service: {ports: [{name: tcp-comm, port: 8786}]}
wait 5s
";

/// An empty store that knows our definitions and has no call on record yet.
fn recorded() -> RecordingStore<FakeStore> {
    let store = RecordingStore::new(FakeStore::new(Server::new(Config::default())));
    for definition in crds() {
        let definition = serde_json::from_value(definition).expect("an object");
        let made = store.create(&definitions(), &definition, "test").now_or_never();
        made.expect("the fake answers at once").expect("our definitions are accepted");
    }
    store.take();
    store
}

/// The calls when everything that is created is there already, unseen: its watch is late, or it has none of our labels.
fn collisions() -> Vec<Call> {
    let (store, scheduler) = (recorded(), ScriptedScheduler::new());
    let containers = json!([{"name": "c", "image": "ghcr.io/dask/dask"}]);
    let pod = json!({"containers": containers});
    let child = |kind| Target::Child(ChildId::new(kind, "default", "taken"));
    let ours = |kind| Target::Resource(Key::new(kind, "default", "taken"));
    let labels = json!({"a": "b"});
    let deployment = json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}});
    let cluster = json!({"worker": {"spec": pod}, "scheduler": {"spec": pod, "service": {}}});
    let bodies = [
        (child(ChildKind::Pod), pod.clone()),
        (child(ChildKind::Service), json!({"ports": [{"port": 80}]})),
        (child(ChildKind::Deployment), deployment),
        (ours(Kind::Cluster), cluster),
        (ours(Kind::WorkerGroup), json!({"cluster": "taken", "worker": {"spec": pod}})),
    ];
    for (target, spec) in bodies {
        let (api_version, kind, namespace, name) = target.parts();
        let body = json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"namespace": namespace, "name": name}, "spec": spec,
        });
        let steps = vec![Step::Create { target: target.clone(), body, expect: None }];
        let plan = Plan { stages: vec![steps], ..Plan::default() };
        let task = Task { key: Key::new(Kind::Cluster, "default", "taken"), plan };
        for _ in 0..2 {
            let hands = Hands { store: &store, scheduler: &scheduler, events: false };
            let done = execute(hands, &task, Part::Status, Timestamp::UNIX_EPOCH).now_or_never();
            assert!(done.is_some(), "the fake answers at once");
        }
    }
    store.take().into_iter().map(|entry| entry.call).collect()
}

/// The calls when what is patched has just gone: whether it has, or the endpoint, is asked.
fn disappearances() -> Vec<Call> {
    let (store, scheduler) = (recorded(), ScriptedScheduler::new());
    for kind in [Kind::Cluster, Kind::WorkerGroup, Kind::Job, Kind::Autoscaler] {
        let key = Key::new(kind, "default", "gone");
        let steps = vec![Step::Status { key: key.clone(), body: json!({}) }];
        let task = Task { key, plan: Plan { stages: vec![steps], ..Plan::default() } };
        let hands = Hands { store: &store, scheduler: &scheduler, events: false };
        let done = execute(hands, &task, Part::Status, Timestamp::UNIX_EPOCH).now_or_never();
        assert!(done.is_some(), "the fake answers at once");
    }
    store.take().into_iter().map(|entry| entry.call).collect()
}

/// The scripts of all scenarios, by their names.
fn scenarios() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots");
    let mut scripts = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).expect("the folder snapshots exists") {
        let path = entry.expect("a folder can be read").path();
        if path.extension().is_some_and(|extension| extension == "scenario") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            scripts.insert(name, std::fs::read_to_string(&path).expect("a scenario is readable"));
        }
    }
    scripts
}

fn play(name: &str, script: &str, rights: Rights) -> (String, Vec<Call>) {
    script::play(script, rights).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn started(look: Look) -> BTreeSet<Right> {
    let store = RecordingStore::new(FakeStore::new(Server::new(Config::default())));
    served(&store, look).now_or_never().expect("the fake answers at once").expect("an answer");
    drop(changes(&store, look));
    store.take().iter().flat_map(|entry| needed(&entry.call)).collect()
}

/// On a server that asks for rights, each scenario is played with the Role, and some with the ClusterRole too.
#[test]
fn pain_21_the_operator_uses_every_right_it_has_and_no_other() {
    let mut calls = collisions();
    calls.extend(disappearances());
    calls.extend(play("adoption", ADOPTION, Rights::Everywhere).1);
    for (name, script) in scenarios() {
        let (told, mut in_namespace) = play(&name, &script, Rights::InNamespace);
        // What plugins add is of kinds for which their configuration gives rights: the server has asked for those.
        in_namespace.retain(|call| !name.starts_with("plugin_") || call.kind != "PodDisruptionBudget");
        let outside =
            in_namespace.iter().find(|call| call.verb != Verb::Discover && call.namespace.is_empty());
        assert_eq!(outside, None, "{name}: outside the namespace");
        calls.extend(in_namespace);
        let compared = COMPARED.contains(&name.as_str());
        // Where definitions are exchanged, those that may not read them notice later or not at all.
        if compared || name.starts_with("definitions_") {
            let everywhere = play(&name, &script, Rights::Everywhere);
            assert!(
                !compared || told == everywhere.0,
                "{name} goes another way with a Role than with a ClusterRole"
            );
            calls.extend(everywhere.1);
        }
    }
    let used: BTreeSet<Right> = calls.iter().flat_map(needed).collect();
    let granted = &granted(rbac::NAMESPACED) | &granted(rbac::CLUSTER);
    let missing: Vec<_> = used.difference(&granted).collect();
    assert!(missing.is_empty(), "used and not granted: {missing:?}");
    let idle: Vec<_> = granted.difference(&used).collect();
    assert!(idle.is_empty(), "granted and used in no scenario: {idle:?}");
}

/// Of two operators one makes the Lease, renews it and gives it up; the other takes it.
#[tokio::test(start_paused = true)]
async fn a_leader_is_elected_with_the_rights_for_it() {
    let store = Arc::new(RecordingStore::new(FakeStore::new(Server::new(Config::default()))));
    for identity in ["one", "two"] {
        let lease = ObjectKey::namespaced("default", "dask");
        let election = Election { lease, identity: identity.into(), timing: Timing::default() };
        let deps = Deps {
            settings: Settings { look: Look::Discovery, ..Settings::default() },
            namespaces: vec!["default".into()],
            ..Deps::new(
                store.clone(),
                Arc::new(ScriptedScheduler::new()),
                Clock::starting_at(Timestamp::UNIX_EPOCH),
            )
        };
        lead(&election, &deps, tokio::time::sleep(Duration::from_secs(30))).await;
    }
    let leases: BTreeSet<Right> = store
        .take()
        .iter()
        .filter(|entry| entry.call.kind == "Lease")
        .inspect(|entry| assert_eq!(entry.call.namespace, "default"))
        .flat_map(|entry| needed(&entry.call))
        .collect();
    assert_eq!(leases, granted(rbac::ELECTION));
}

#[test]
fn at_cluster_scope_it_reads_its_definitions_and_nothing_else() {
    assert_eq!(started(Look::Definitions), granted(rbac::CLUSTER));
}

#[test]
fn pain_21_without_rights_at_cluster_scope_it_asks_for_none() {
    assert_eq!(started(Look::Discovery), BTreeSet::new());
}
