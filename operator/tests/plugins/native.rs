//! Plugins in the operator's process: the whole contract.

use std::collections::BTreeMap;

use dask_operator::names;
use dask_operator::plugin::apply::Draft;
use dask_operator::plugin::{Change, Declaration, Edit, OnError, Parent, Related, Role, Said, Status};
use dask_operator::sim::{create, delete, patch};
use serde_json::json;

use crate::world::*;

#[test]
fn what_a_plugin_adds_is_made_changed_and_taken_back() {
    let plugin = native(maps("notes"), |view| {
        let labels = &view.parent["metadata"]["labels"];
        let Some(note) = labels["note"].as_str() else { return Change::default() };
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}, "data": {"text": note},
        });
        if note == "first" {
            object["data"]["more"] = json!("only at first");
        }
        change([Edit::Add { object }])
    });
    let mut sim = sim(vec![plugin]);
    cluster(&mut sim, "a", 1);
    edit(&mut sim, "a", json!({"metadata": {"labels": {"note": "first"}}}));
    wait(&mut sim, 20);
    let made = object(&sim, "v1", "configmaps", "note").expect("it is made");
    assert_eq!(made["data"], json!({"text": "first", "more": "only at first"}));
    assert_eq!(made["metadata"]["labels"], json!({names::PLUGIN: "notes", names::CLUSTER_NAME: "a"}));
    assert_eq!(made["metadata"]["ownerReferences"][0]["kind"], "DaskCluster");
    assert_eq!(condition(&sim, "a", "PluginsReady"), "True Answered: notes");

    edit(&mut sim, "a", json!({"metadata": {"labels": {"note": "second"}}}));
    wait(&mut sim, 20);
    let changed = object(&sim, "v1", "configmaps", "note").expect("it is still there");
    assert_eq!(changed["data"], json!({"text": "second"}), "what is not wanted any more is taken away");
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"], "and the object is the same");

    edit(&mut sim, "a", json!({"metadata": {"labels": {"note": null}}}));
    wait(&mut sim, 20);
    assert_eq!(added(&sim), [""; 0]);
}

#[test]
fn what_was_added_goes_with_its_parent() {
    let mut sim = sim(vec![native(maps("notes"), |_| change([map("note", "x")]))]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 20);
    assert_eq!(added(&sim), ["note"]);
    sim.user(&delete(names::API_VERSION, "daskclusters", NAMESPACE, "a")).expect("it can be deleted");
    wait(&mut sim, 60);
    assert_eq!(added(&sim), [""; 0]);
    assert!(sim.list("v1", "pods").is_empty());
}

#[test]
fn edits_reach_every_kind_of_child_and_each_worker_has_its_own_name_in_them() {
    let declaration =
        Declaration::new("marks").of([Parent::DaskCluster, Parent::DaskWorkerGroup, Parent::DaskJob]);
    let plugin = native(declaration, |view| {
        let mark = |child: &dask_operator::plugin::Built| Edit::Merge {
            child: child.role,
            patch: json!({"metadata": {"annotations": {"mark": child.object["metadata"]["name"]}}}),
        };
        change(view.children.iter().map(mark).collect::<Vec<_>>())
    });
    let mut sim = sim(vec![plugin]);
    let mut job = dask_operator::sim::story::job("sum", 0);
    job["spec"]["job"]["metadata"]["annotations"]["fake-apiserver.dev/exit-after"] = json!("60");
    sim.user(&create(names::API_VERSION, "daskjobs", Some(NAMESPACE), &job)).expect("the job is accepted");
    wait(&mut sim, 30);
    let kinds = [
        (names::API_VERSION, "daskclusters"),
        (names::API_VERSION, "daskworkergroups"),
        ("apps/v1", "deployments"),
        ("v1", "services"),
        ("v1", "pods"),
    ];
    let mut seen = 0;
    for (api_version, plural) in kinds {
        for object in sim.list(api_version, plural) {
            let metadata = &object["metadata"];
            // Pods of a Deployment are not the operator's to make.
            let replica = metadata["ownerReferences"][0]["kind"] == "ReplicaSet";
            if !metadata["labels"][names::CLUSTER_NAME].is_null() && !replica {
                assert_eq!(metadata["annotations"]["mark"], metadata["name"], "{object}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 7, "cluster, group, Deployment, Service, runner and two workers");
    wait(&mut sim, 120);
    let job = object(&sim, names::API_VERSION, "daskjobs", "sum").expect("the job is there");
    assert_eq!(job["status"]["jobStatus"], "Successful");
}

#[test]
fn a_veto_holds_what_is_not_there_yet_and_leaves_what_is() {
    let plugin =
        native(Declaration::new("guard"), |view| match view.parent["metadata"]["labels"]["team"].as_str() {
            Some(_) => Change::default(),
            None => {
                change([Edit::Veto { reason: "TeamMissing".into(), message: "set the label team".into() }])
            }
        });
    let mut sim = sim(vec![plugin]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 20);
    assert_eq!(children(&sim, "a"), (false, 0));
    let said = "plugin guard: TeamMissing: set the label team";
    assert_eq!(condition(&sim, "a", "PluginsReady"), format!("False Vetoed: {said}"));
    assert!(condition(&sim, "a", "Ready").contains("TeamMissing"), "{}", condition(&sim, "a", "Ready"));
    edit(&mut sim, "a", json!({"metadata": {"labels": {"team": "x"}}}));
    wait(&mut sim, 20);
    assert_eq!(children(&sim, "a"), (true, 1));
    edit(&mut sim, "a", json!({"metadata": {"labels": {"team": null}}}));
    wait(&mut sim, 20);
    assert_eq!(children(&sim, "a"), (true, 1), "what is there stays");
}

#[test]
fn related_objects_are_shown_and_a_change_of_them_is_noticed() {
    let related = Related {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        name: Some("site".into()),
        labels: None,
    };
    let mut declaration = Declaration::new("site");
    declaration.related.push(related);
    let plugin = native(declaration, |view| {
        let host = view.related.first().map(|site| site["data"]["host"].clone()).unwrap_or_default();
        let said = Said {
            kind: "example.org/Host".into(),
            status: Status::True,
            reason: "Read".into(),
            message: host.as_str().unwrap_or("none").into(),
        };
        Change { conditions: vec![said], ..Change::default() }
    });
    let mut sim = sim(vec![plugin]);
    cluster(&mut sim, "a", 0);
    wait(&mut sim, 20);
    assert_eq!(condition(&sim, "a", "example.org/Host"), "True Read: none");
    let map = |host: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "site"}, "data": {"host": host}});
    sim.user(&create("v1", "configmaps", Some(NAMESPACE), &map("one"))).expect("it is accepted");
    wait(&mut sim, 20);
    assert_eq!(condition(&sim, "a", "example.org/Host"), "True Read: one");
    sim.user(&patch("v1", "configmaps", NAMESPACE, "site", map("two"))).expect("it is accepted");
    wait(&mut sim, 20);
    assert_eq!(condition(&sim, "a", "example.org/Host"), "True Read: two");
}

#[test]
fn what_is_refused_is_refused_as_a_whole_and_nobody_else_notices() {
    for on_error in [OnError::Fail, OnError::Skip] {
        let declaration = Declaration { on_error, ..maps("wild") };
        let mut sim = sim(vec![native(declaration, move |view| {
            let rename = json!({"metadata": {"name": "other"}});
            let edit = Edit::Merge { child: Role::Scheduler, patch: rename };
            let wild = view.parent["metadata"]["name"] == "a";
            if wild { change([map("first", "x"), edit]) } else { Change::default() }
        })]);
        cluster(&mut sim, "a", 1);
        cluster(&mut sim, "b", 1);
        wait(&mut sim, 30);
        let said = condition(&sim, "a", "PluginsReady");
        assert!(said.starts_with("False ChangeRefused: plugin wild: /metadata of scheduler"), "{said}");
        assert_eq!(added(&sim), [""; 0], "nothing of it is done");
        let expected = if on_error == OnError::Skip { (true, 1) } else { (false, 0) };
        assert_eq!(children(&sim, "a"), expected, "{on_error:?}");
        assert_eq!(children(&sim, "b"), (true, 1), "others do not notice");
        assert_eq!(condition(&sim, "b", "PluginsReady"), "True Answered: wild");
    }
}

/// What a plugin that wants something it may not is told, for whatever children it may be about.
fn check_refused(edit: &Edit, why: &str) {
    let cluster = dask_operator::sim::story::cluster("a", 1).to_string();
    let world = dask_operator::plugin::check::world(&[cluster]).expect("a cluster can be read");
    let parent = world.cache.resources().next().expect("it is known").clone();
    let built = dask_operator::plugin::built(&world, &parent).expect("it can be built");
    let mut draft = Draft::of(&built);
    let refusal = draft.apply(&parent, &maps("wild"), &change([map("first", "x"), edit.clone()]));
    let said = refusal.expect_err("it may not").to_string();
    assert!(said.contains(why), "{said}");
    assert!(draft.added.is_empty(), "nothing of it is done");
    let built: BTreeMap<Role, _> = built.into_iter().map(|child| (child.role, child.object)).collect();
    assert_eq!(draft.children, built);
}

#[test]
fn a_plugin_may_not_change_who_a_child_is() {
    let merge = |child, patch| Edit::Merge { child, patch };
    check_refused(&merge(Role::Scheduler, json!({"metadata": {"name": "other"}})), "/metadata of scheduler");
    check_refused(
        &merge(Role::Scheduler, json!({"metadata": {"labels": {names::COMPONENT: "worker"}}})),
        "/metadata/labels of scheduler",
    );
    check_refused(
        &merge(Role::Service, json!({"spec": {"selector": {"x": "y"}}})),
        "/spec/selector of service",
    );
    check_refused(&merge(Role::Scheduler, json!({"spec": {"replicas": 2}})), "/spec/replicas of scheduler");
    check_refused(
        &merge(Role::Scheduler, json!({"metadata": {"ownerReferences": []}})),
        "/metadata of scheduler",
    );
    check_refused(
        &merge(Role::WorkerGroup, json!({"spec": {"worker": {"replicas": 9}}})),
        "/spec/worker/replicas of workerGroup",
    );
    check_refused(&merge(Role::Worker, json!({})), "has no child worker");
    check_refused(&merge(Role::Scheduler, json!([1])), "is not an object");
    let replace = json!({"op": "replace", "path": "/spec/none", "value": 1});
    check_refused(&Edit::Json { child: Role::Service, patch: vec![replace] }, "cannot be applied");
    let copy = json!({"op": "copy", "from": "/spec", "path": "/spec/more"});
    check_refused(&Edit::Json { child: Role::Service, patch: vec![copy] }, "copy is not taken");
}

#[test]
fn a_plugin_may_not_add_what_it_has_not_declared_or_what_is_somebodys() {
    let add = |object| Edit::Add { object };
    let object = |kind: &str, metadata| json!({"apiVersion": "v1", "kind": kind, "metadata": metadata});
    check_refused(&add(object("Secret", json!({"name": "x"}))), "has not declared that it adds Secret (v1)");
    check_refused(
        &add(object("ConfigMap", json!({"name": "x", "namespace": "kube-system"}))),
        "not in its parent's",
    );
    check_refused(&add(object("ConfigMap", json!({"name": "First"}))), "no name that Kubernetes takes");
    check_refused(&add(object("ConfigMap", json!({"name": "x", "finalizers": ["a/b"]}))), "finalizers");
    check_refused(
        &add(object("ConfigMap", json!({"name": "x", "labels": {names::COMPONENT: "worker"}}))),
        "is the operator's",
    );
    check_refused(&map("first", "again"), "is added by plugin wild already");
    check_refused(&map("large", &"x".repeat(70_000)), "at most 65536 are allowed");
}

#[test]
fn a_plugin_may_not_take_what_is_not_its_own() {
    let mut sim = sim(vec![native(maps("greedy"), |_| change([map("mine", "taken")]))]);
    let theirs =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"a": "b"}});
    sim.user(&create("v1", "configmaps", Some(NAMESPACE), &theirs)).expect("it is accepted");
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 30);
    assert_eq!(object(&sim, "v1", "configmaps", "mine").expect("it stays")["data"], json!({"a": "b"}));
    assert!(condition(&sim, "a", "Ready").contains("NameTaken"), "{}", condition(&sim, "a", "Ready"));
    assert_eq!(children(&sim, "a"), (true, 1), "the cluster's own children are there");
    sim.user(&delete(names::API_VERSION, "daskclusters", NAMESPACE, "a")).expect("it can be deleted");
    wait(&mut sim, 60);
    assert!(object(&sim, "v1", "configmaps", "mine").is_some(), "nor is it deleted with the cluster");
}

#[test]
fn two_plugins_do_not_see_each_other_and_their_edits_come_in_order() {
    let mark = |name: &'static str| {
        native(Declaration::new(name), move |view| {
            let before = &view.children[1].object["metadata"]["annotations"]["mark"];
            assert!(before.is_null(), "children are shown as built");
            let patch = json!({"metadata": {"annotations": {"mark": name}}});
            change([Edit::Merge { child: Role::Service, patch }])
        })
    };
    let mut sim = sim(vec![mark("one"), mark("two")]);
    cluster(&mut sim, "a", 0);
    wait(&mut sim, 20);
    let service = object(&sim, "v1", "services", "a-scheduler").expect("it is made");
    assert_eq!(service["metadata"]["annotations"]["mark"], "two");
    assert_eq!(condition(&sim, "a", "PluginsReady"), "True Answered: one, two");
}

#[test]
fn a_group_that_a_plugin_adds_gets_its_workers() {
    let declaration = Declaration::new("gpu").adds(names::API_VERSION, "DaskWorkerGroup", "daskworkergroups");
    let plugin = native(declaration, |view| {
        let name = view.parent["metadata"]["name"].as_str().unwrap_or_default();
        let object = json!({
            "apiVersion": names::API_VERSION, "kind": "DaskWorkerGroup",
            "metadata": {"name": format!("{name}-gpu")},
            "spec": {"cluster": name, "worker": {"replicas": 2, "spec": view.parent["spec"]["worker"]["spec"]}},
        });
        change([Edit::Add { object }])
    });
    let mut sim = sim(vec![plugin]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 30);
    assert_eq!(children(&sim, "a"), (true, 3));
    sim.user(&delete(names::API_VERSION, "daskclusters", NAMESPACE, "a")).expect("it can be deleted");
    wait(&mut sim, 60);
    assert!(dask_operator::sim::story::labelled(&sim).is_empty());
}
