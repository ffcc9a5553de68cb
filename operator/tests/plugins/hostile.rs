//! Plugins that want what nobody may: each is bounded, refused with a condition that names it, and harms no other cluster.

use dask_operator::names;
use dask_operator::plugin::registry::RegistryError;
use dask_operator::plugin::{Change, Declaration, Edit, OnError, Parent, Registry, Role, Said, Status, View};
use dask_operator::sim::{Sim, delete};
use serde_json::{Value, json};

use crate::world::*;

/// Whether this is about the cluster that a plugin misbehaves about.
fn is_victim(view: &View) -> bool {
    view.parent["metadata"]["name"] == "a"
}

/// Two clusters `a` and `b` and a plugin that wants this of `a`, and a ConfigMap for each.
fn two(declaration: Declaration, wants: impl Fn(&View) -> Change + Send + Sync + 'static) -> Sim {
    let mut sim = sim(vec![native(declaration, move |view| {
        let note = format!("{}-note", view.parent["metadata"]["name"].as_str().unwrap_or_default());
        let mut change = change([map(note, "x")]);
        if is_victim(view) {
            let more = wants(view);
            change.edits.extend(more.edits);
            change.conditions.extend(more.conditions);
        }
        change
    })]);
    cluster(&mut sim, "a", 1);
    cluster(&mut sim, "b", 1);
    wait(&mut sim, 60);
    sim
}

/// What `b` has whatever becomes of `a`.
fn check_neighbour(sim: &Sim) {
    assert_eq!(children(sim, "b"), (true, 1));
    assert_eq!(condition(sim, "b", "PluginsReady"), "True Answered: wild");
    assert!(added(sim).contains(&"b-note".to_owned()), "{:?}", added(sim));
}

/// It has come to rest, and both clusters go when they are deleted.
fn check_end(sim: &mut Sim) {
    let writes = sim.store.writes();
    wait(sim, 600);
    assert!(sim.store.writes() - writes <= 60, "it is tried again less than once in ten seconds");
    for name in ["a", "b"] {
        sim.user(&delete(names::API_VERSION, "daskclusters", NAMESPACE, name)).expect("it can be deleted");
    }
    wait(sim, 120);
    assert!(dask_operator::sim::story::labelled(sim).is_empty());
    assert_eq!(added(sim), [""; 0]);
}

fn check_refused_whole(wants: impl Fn(&View) -> Change + Send + Sync + 'static, why: &str) {
    let mut sim = two(maps("wild"), wants);
    let said = condition(&sim, "a", "PluginsReady");
    assert!(said.starts_with("False ChangeRefused: plugin wild: ") && said.contains(why), "{said}");
    assert_eq!(children(&sim, "a"), (false, 0));
    assert!(!added(&sim).contains(&"a-note".to_owned()), "nothing of it is done");
    check_neighbour(&sim);
    check_end(&mut sim);
}

#[test]
fn too_many_children_are_refused() {
    let many = |count: usize| {
        move |_: &View| change((0..count).map(|n| map(format!("m{n}"), "x")).collect::<Vec<_>>())
    };
    check_refused_whole(many(10_000), "10001 edits, at most 128 are allowed");
    check_refused_whole(many(40), "41 children would be added to this parent, at most 32 may be");
}

#[test]
fn an_answer_of_ten_megabytes_is_refused() {
    check_refused_whole(
        |_| change([map("large", &"x".repeat(10 << 20))]),
        "bytes, at most 262144 are allowed",
    );
}

#[test]
fn a_child_elsewhere_is_refused() {
    let there = |_: &View| {
        let metadata = json!({"name": "x", "namespace": "kube-system"});
        change([Edit::Add { object: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}) }])
    };
    check_refused_whole(there, "not in its parent's");
}

#[test]
fn owners_and_finalizers_are_nobodys_to_write() {
    let add = |metadata: Value| {
        move |_: &View| {
            change([Edit::Add {
                object: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}),
            }])
        }
    };
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "mine", "uid": "1"}]);
    check_refused_whole(
        add(json!({"name": "x", "ownerReferences": owner})),
        "metadata.ownerReferences is not for plugins",
    );
    check_refused_whole(
        add(json!({"name": "x", "finalizers": ["a.b/c"]})),
        "metadata.finalizers is not for plugins",
    );
    check_refused_whole(add(json!({"name": "x", "uid": "1"})), "metadata.uid is not for plugins");
    let merge = |metadata: Value| {
        move |_: &View| change([Edit::Merge { child: Role::Service, patch: json!({"metadata": metadata}) }])
    };
    check_refused_whole(merge(json!({"finalizers": ["a.b/c"]})), "/metadata of service may not be changed");
    check_refused_whole(merge(json!({"uid": "1"})), "/metadata of service may not be changed");
    check_refused_whole(merge(json!({"ownerReferences": owner})), "/metadata of service may not be changed");
    let label = json!({"labels": {names::PLUGIN: "other"}});
    check_refused_whole(merge(label), "/metadata/labels of service may not be changed");
}

#[test]
fn conditions_of_the_operators_and_of_other_plugins_are_taken() {
    let say = |kind: &'static str| {
        let said =
            Said { kind: kind.into(), status: Status::True, reason: "Yes".into(), message: String::new() };
        Change { conditions: vec![said], ..Change::default() }
    };
    check_refused_whole(move |_| say("Ready"), "the condition \"Ready\" needs a prefix");
    check_refused_whole(
        move |_| Change {
            conditions: [say("a.b/C").conditions, say("a.b/C").conditions].concat(),
            ..Change::default()
        },
        "the condition a.b/C is said by plugin wild already",
    );
    let one = native(Declaration::new("one"), move |_| say("a.b/C"));
    let two =
        native(Declaration { on_error: OnError::Skip, ..Declaration::new("two") }, move |_| say("a.b/C"));
    let mut sim = sim(vec![one, two]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 60);
    let said = condition(&sim, "a", "PluginsReady");
    assert!(said.ends_with("plugin two: the condition a.b/C is said by plugin one already"), "{said}");
    assert_eq!(children(&sim, "a"), (true, 1));
}

#[test]
fn a_kind_of_cluster_scope_is_not_made_and_named_with_its_plugin() {
    let declaration = maps("wild").adds("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles");
    let mut sim = two(declaration, |_| {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "wild"}});
        change([Edit::Add { object: role }])
    });
    assert!(object(&sim, "rbac.authorization.k8s.io/v1", "clusterroles", "wild").is_none());
    let said = condition(&sim, "a", "Ready");
    assert!(said.contains("plugin wild: ClusterRole"), "{said}");
    assert_eq!(children(&sim, "a"), (true, 1), "the cluster itself is there");
    check_neighbour(&sim);
    check_end(&mut sim);
}

#[test]
fn a_child_that_the_api_server_refuses_is_named_with_its_plugin_and_blocks_nothing() {
    let bad = |_: &View| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "labels": {"a": "not a label!"}}});
        change([Edit::Add { object }])
    };
    let mut sim = two(maps("wild"), bad);
    let said = condition(&sim, "a", "Ready");
    assert!(said.contains("Invalid: plugin wild: ConfigMap default/bad is refused as invalid"), "{said}");
    assert_eq!(children(&sim, "a"), (true, 1));
    edit(&mut sim, "a", json!({"spec": {"worker": {"replicas": 3}}}));
    wait(&mut sim, 120);
    assert_eq!(children(&sim, "a"), (true, 3), "it goes on being scaled");
    check_neighbour(&sim);
    check_end(&mut sim);
}

#[test]
fn an_edit_that_the_api_server_refuses_is_named_with_its_plugin() {
    let bad = |_: &View| {
        let patch = json!({"spec": {"template": {"spec": {"restartPolicy": "Sometimes"}}}});
        change([Edit::Merge { child: Role::Scheduler, patch }])
    };
    let mut sim = two(maps("wild"), bad);
    let said = condition(&sim, "a", "Ready");
    assert!(said.contains("plugin wild: Deployment default/a-scheduler"), "{said}");
    check_neighbour(&sim);
    check_end(&mut sim);
}

#[test]
fn the_child_of_another_cluster_stays_the_other_clusters() {
    // Both clusters get one of the same name: the first has it.
    let mut sim = sim(vec![native(maps("wild"), |view| {
        change([map("same", view.parent["metadata"]["name"].as_str().unwrap_or_default())])
    })]);
    cluster(&mut sim, "b", 1);
    wait(&mut sim, 30);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 60);
    let of_b = object(&sim, "v1", "configmaps", "same").expect("it is made");
    assert_eq!(of_b["data"]["text"], "b");
    let said = condition(&sim, "a", "Ready");
    assert!(
        said.contains(
            "ConfigMap default/same, which plugin wild adds, exists already and is not this DaskCluster's"
        ),
        "{said}"
    );
    assert_eq!(children(&sim, "a"), (true, 1));
    sim.user(&delete(names::API_VERSION, "daskclusters", NAMESPACE, "a")).expect("it can be deleted");
    wait(&mut sim, 120);
    assert_eq!(
        object(&sim, "v1", "configmaps", "same").expect("it stays")["metadata"]["uid"],
        of_b["metadata"]["uid"]
    );
    assert_eq!(children(&sim, "b"), (true, 1));
}

#[test]
fn a_veto_for_ever_holds_nobody_who_is_being_deleted() {
    let veto = |_: &View| change([Edit::Veto { reason: "Never".into(), message: "not while I live".into() }]);
    let mut sim = two(maps("wild"), move |view| {
        let made = view.observed.iter().any(|child| child.role == Some(Role::Service));
        if made { veto(view) } else { Change::default() }
    });
    assert!(children(&sim, "a").0);
    let said = condition(&sim, "a", "PluginsReady");
    assert_eq!(said, "False Vetoed: plugin wild: Never: not while I live");
    check_neighbour(&sim);
    check_end(&mut sim);
}

#[test]
fn nothing_begets_itself() {
    let adding = |kind: &str, plural: &str, parents: &[Parent]| {
        let declaration = Declaration::new("wild").of(parents).adds(names::API_VERSION, kind, plural);
        Registry::new(vec![native(declaration, |_| Change::default())])
    };
    for (kind, plural) in [("DaskCluster", "daskclusters"), ("DaskJob", "daskjobs")] {
        let Err(RegistryError::Declaration { name, why }) = adding(kind, plural, &[Parent::DaskCluster])
        else {
            panic!("a {kind} may be added")
        };
        assert_eq!(name, "wild");
        assert!(why.contains("has children of its own and cannot be added by plugins"), "{why}");
    }
    // Groups beget no groups: of a cluster alone they may be children.
    let declaration = Declaration::new("wild").of([Parent::DaskWorkerGroup]).adds(
        names::API_VERSION,
        "DaskWorkerGroup",
        "daskworkergroups",
    );
    let mut sim = sim(vec![native(declaration, |view| {
        let name = format!("{}-more", view.parent["metadata"]["name"].as_str().unwrap_or_default());
        let object = json!({
            "apiVersion": names::API_VERSION, "kind": "DaskWorkerGroup", "metadata": {"name": name}, "spec": view.parent["spec"],
        });
        change([Edit::Add { object }])
    })]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 60);
    let groups = sim.list(names::API_VERSION, "daskworkergroups");
    assert_eq!(groups.len(), 1);
    let conditions = groups[0]["status"]["conditions"].to_string();
    assert!(
        conditions.contains("plugin wild: edit 0: DaskWorkerGroup a-default-more: only to a DaskCluster"),
        "{conditions}"
    );
}

#[test]
fn two_plugins_share_one_bound_and_the_first_keeps_what_it_has() {
    let twenty = |name: &'static str| {
        let maps = (0..20).map(|n| map(format!("{name}{n}"), "x")).collect::<Vec<_>>();
        native(crate::world::maps(name), move |_| change(maps.clone()))
    };
    let mut sim = sim(vec![twenty("one"), twenty("two")]);
    cluster(&mut sim, "a", 1);
    wait(&mut sim, 60);
    let said = condition(&sim, "a", "PluginsReady");
    assert!(said.contains("plugin two: 40 children would be added to this parent"), "{said}");
    assert_eq!(added(&sim).len(), 0, "Fail holds what was not made yet");
}

#[test]
fn metadata_of_the_servers_and_a_status_are_nobodys_to_write() {
    let fields = json!([{"manager": "me", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {}}]);
    for metadata in [
        json!({"name": "x", "managedFields": fields}),
        json!({"name": "x", "generateName": "y"}),
        json!({"name": "x", "resourceVersion": "1"}),
        json!({"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ] {
        let add = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        check_refused_whole(
            move |_| change([Edit::Add { object: add.clone() }]),
            "is not for plugins to write",
        );
    }
    let with = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "status": {"phase": "Ready"}});
    check_refused_whole(
        move |_| change([Edit::Add { object: with.clone() }]),
        "its status is not for plugins to write",
    );
    let merge =
        |patch: Value| move |_: &View| change([Edit::Merge { child: Role::Service, patch: patch.clone() }]);
    check_refused_whole(
        merge(json!({"status": {"loadBalancer": {}}})),
        "/status of service may not be changed",
    );
    check_refused_whole(
        merge(json!({"metadata": {"managedFields": fields}})),
        "/metadata of service may not be changed",
    );
    check_refused_whole(merge(json!({"metadata": null})), "of service may not be changed");
    check_refused_whole(merge(json!({"kind": "ConfigMap"})), "/kind of service may not be changed");
}

/// How often something else stood there in the course of an hour and a half, looked at each second.
fn count_versions(sim: &mut Sim, mut look: impl FnMut(&Sim) -> Value) -> usize {
    let mut seen = vec![look(sim)];
    for _ in 0..5_400 {
        wait(sim, 1);
        let now = look(sim);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    seen.len()
}

#[test]
fn an_answer_that_alternates_makes_a_bounded_number_of_schedulers() {
    let number = std::sync::atomic::AtomicU64::new(0);
    let mut sim = two(maps("wild"), move |_| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let patch =
            json!({"spec": {"template": {"metadata": {"annotations": {"n": (number % 2).to_string()}}}}});
        change([Edit::Merge { child: Role::Scheduler, patch }])
    });
    edit(&mut sim, "a", json!({"spec": {"scheduler": {"updateStrategy": {"type": "Recreate"}}}}));
    let schedulers = count_versions(&mut sim, |sim| {
        object(sim, "apps/v1", "deployments", "a-scheduler")
            .map_or(Value::Null, |it| it["metadata"]["uid"].clone())
    });
    // Each is there, gone, and there again; the plugin may change its mind eight times an hour.
    assert!(schedulers <= 3 * 2 * 9, "{schedulers}");
    let said = condition(&sim, "a", "PluginsReady");
    let settled = said == "True Answered: wild" || said.starts_with("False Unsteady: plugin wild: ");
    assert!(settled, "{schedulers} schedulers: {said}");
    check_neighbour(&sim);
    check_end(&mut sim);
}

#[test]
fn a_veto_and_a_condition_that_flap_are_held_to_the_last_word() {
    for flapping in ["veto", "condition"] {
        let number = std::sync::atomic::AtomicU64::new(0);
        let mut sim = two(maps("wild"), move |_| {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if flapping == "veto" {
                let veto = Edit::Veto { reason: "Maybe".into(), message: number.to_string() };
                return change(if number.is_multiple_of(2) {
                    vec![veto]
                } else {
                    vec![map(format!("m{number}"), "x")]
                });
            }
            let status = if number.is_multiple_of(2) { Status::True } else { Status::False };
            let said = Said { kind: "a.b/C".into(), status, reason: "R".into(), message: number.to_string() };
            let more = map(format!("m{number}"), "x");
            Change { edits: vec![more], conditions: vec![said] }
        });
        let writes = sim.store.writes();
        wait(&mut sim, 3_000);
        let writes = sim.store.writes() - writes;
        assert!(writes <= 100, "{flapping}: {writes} writes");
        check_neighbour(&sim);
        check_end(&mut sim);
    }
}

#[test]
fn an_edit_that_makes_a_worker_impossible_is_named_and_stops_no_other_group() {
    let declaration = Declaration::new("wild").of([Parent::DaskWorkerGroup]);
    let bad = [
        (json!({"spec": {"terminationGracePeriodSeconds": "soon"}}), "Ready"),
        (json!({"spec": {"restartPolicy": "Sometimes"}}), "Ready"),
        (json!({"spec": {"volumes": [{"name": "v"}, {"name": "v"}]}}), "Ready"),
        (json!({"spec": {"containers": null}}), "PluginsReady"),
        (json!({"spec": null}), "PluginsReady"),
        (json!({"spec": "none"}), "PluginsReady"),
        (json!({"metadata": {"annotations": ["a"]}}), "PluginsReady"),
        (json!({"metadata": {"annotations": {"a": 1}}}), "PluginsReady"),
    ];
    for (patch, told_by) in bad {
        let wanted = patch.clone();
        let mut sim = sim(vec![native(declaration.clone(), move |view| {
            let group = view.parent["metadata"]["name"].as_str().unwrap_or_default();
            if group == "a-default" {
                change([Edit::Merge { child: Role::Worker, patch: wanted.clone() }])
            } else {
                Change::default()
            }
        })]);
        for name in ["a", "b"] {
            cluster(&mut sim, name, 2);
        }
        wait(&mut sim, 60);
        assert_eq!(children(&sim, "b"), (true, 2), "{patch}");
        assert_eq!(children(&sim, "a"), (true, 0), "{patch}");
        let group = object(&sim, names::API_VERSION, "daskworkergroups", "a-default").expect("it is there");
        let conditions = group["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let said =
            conditions.iter().find(|it| it["type"] == told_by).expect("it says so")["message"].to_string();
        assert!(said.contains("plugin wild"), "{patch}: {said}");
        let writes = sim.store.writes();
        wait(&mut sim, 600);
        assert!(
            sim.store.writes() - writes <= 150,
            "{patch}: {} writes in 10 min",
            sim.store.writes() - writes
        );
    }
}

#[test]
fn what_a_plugin_says_is_cut_where_it_is_long() {
    let long = |_: &View| {
        change([Edit::Veto {
            reason: "Because it is so ".repeat(100),
            message: "much to say ".repeat(15_000),
        }])
    };
    let mut sim = two(maps("wild"), long);
    let said = condition(&sim, "a", "PluginsReady");
    assert!(said.starts_with("False Vetoed: plugin wild: ") && said.len() < 3_000, "{} bytes", said.len());
    let events = sim.list("v1", "events");
    let told = events.iter().filter(|event| event["reason"] == "Vetoed");
    assert!(
        told.clone().count() == 1 && told.clone().all(|event| event["message"].to_string().len() < 3_000)
    );
    assert_eq!(children(&sim, "a"), (false, 0), "it is a veto all the same");
    check_neighbour(&sim);
    check_end(&mut sim);
}

#[test]
fn nesting_without_end_is_refused() {
    // Each round puts the whole into itself once more, in a few bytes.
    let round = [
        json!({"op": "add", "path": "/x/q", "value": {}}),
        json!({"op": "move", "from": "/x/p", "path": "/x/q/p"}),
        json!({"op": "move", "from": "/x/q", "path": "/x/p"}),
    ];
    let first = json!({"op": "add", "path": "/x", "value": {"p": {}}});
    let patch: Vec<Value> = [first].into_iter().chain(round.iter().cloned().cycle().take(5_400)).collect();
    check_refused_whole(
        move |_| change([Edit::Json { child: Role::Service, patch: patch.clone() }]),
        "is nested more than",
    );
}
