//! `watch`: points 8 to 10 of the contract.

use dask_operator::{
    api::DaskJob,
    store::{DeleteOptions, Event, ObjectKey, Part, Scope, Store, StoreError, StoreExt, WatchStream, ext},
};
use futures::StreamExt;
use serde_json::json;

use super::support::{
    MANAGER, config_maps, install, labelled, made, merge, next, next_n, not_served, object, patching,
};

super::table![
    watch_of_nothing_begins_and_is_done,
    watch_tells_what_is_there_and_then_every_change,
    watch_tells_changes_with_their_content,
    watch_tells_an_object_that_leaves_the_selection_as_deleted,
    watch_of_a_namespace_does_not_tell_of_others,
    watch_follows_one_object_by_name,
    two_watches_tell_the_same,
    a_watch_that_begins_later_tells_the_present,
    watch_tells_the_deletion_of_a_held_object_in_two_steps,
    watch_of_a_kind_that_is_not_served_goes_on_when_it_is,
    an_object_that_does_not_parse_is_named_and_the_watch_goes_on,
];

fn ours(namespace: &str) -> Scope {
    Scope::namespace(namespace).with_labels("colour")
}

async fn watch_of_nothing_begins_and_is_done(store: &dyn Store, ns: &str) {
    let mut events = store.watch(&config_maps(), &ours(ns));
    assert_eq!(next_n(&mut events, 2).await, ["init", "init-done"]);
}

async fn watch_tells_what_is_there_and_then_every_change(store: &dyn Store, ns: &str) {
    made(store, ns, "b").await;
    made(store, ns, "a").await;
    let mut events = store.watch(&config_maps(), &ours(ns));
    let mut told = next_n(&mut events, 4).await;
    told[1..3].sort();
    assert_eq!(told, ["init", "init-apply a", "init-apply b", "init-done"]);

    made(store, ns, "c").await;
    let key = ObjectKey::namespaced(ns, "a");
    let patch = merge(json!({"data": {"value": "two"}}));
    store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    store.delete(&config_maps(), &key, &DeleteOptions::default()).await.expect("deleted");
    made(store, ns, "a").await;
    assert_eq!(next_n(&mut events, 4).await, ["apply c", "apply a", "delete a", "apply a"]);
}

async fn watch_tells_changes_with_their_content(store: &dyn Store, ns: &str) {
    let created = made(store, ns, "x").await;
    let key = ObjectKey::of(&created);
    let mut events = store.watch(&config_maps(), &ours(ns));
    assert_eq!(events.next().await, Some(Ok(Event::Init)));
    assert_eq!(events.next().await, Some(Ok(Event::InitApply(created))));
    assert_eq!(events.next().await, Some(Ok(Event::InitDone)));
    let patch = merge(json!({"data": {"value": "two"}}));
    let patched = store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    assert_eq!(events.next().await, Some(Ok(Event::Apply(patched))));
    store.delete(&config_maps(), &key, &DeleteOptions::default()).await.expect("deleted");
    let Some(Ok(Event::Delete(last))) = events.next().await else { panic!("no deletion was told") };
    assert_eq!(last.data["data"]["value"], "two");
}

async fn watch_tells_an_object_that_leaves_the_selection_as_deleted(store: &dyn Store, ns: &str) {
    let red = Scope::namespace(ns).with_labels("colour=red");
    store.create(&config_maps(), &labelled(ns, "x", "one", "red"), MANAGER).await.expect("created");
    let mut events = store.watch(&config_maps(), &red);
    assert_eq!(next_n(&mut events, 3).await, ["init", "init-apply x", "init-done"]);
    let key = ObjectKey::namespaced(ns, "x");
    for (colour, told) in [("blue", "delete x"), ("red", "apply x")] {
        let patch = merge(json!({"metadata": {"labels": {"colour": colour}}}));
        store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
        assert_eq!(next(&mut events).await, told);
    }
}

async fn watch_of_a_namespace_does_not_tell_of_others(store: &dyn Store, ns: &str) {
    let mut events = store.watch(&config_maps(), &ours(ns));
    assert_eq!(next_n(&mut events, 2).await, ["init", "init-done"]);
    let elsewhere = ObjectKey::namespaced("default", "conformance-elsewhere");
    store.delete(&config_maps(), &elsewhere, &DeleteOptions::default()).await.expect("deleted");
    made(store, "default", "conformance-elsewhere").await;
    made(store, ns, "here").await;
    assert_eq!(next(&mut events).await, "apply here");
    store.delete(&config_maps(), &elsewhere, &DeleteOptions::default()).await.expect("deleted");
}

async fn watch_follows_one_object_by_name(store: &dyn Store, ns: &str) {
    let scope = Scope::namespace(ns).with_fields("metadata.name=x");
    let mut events = store.watch(&config_maps(), &scope);
    assert_eq!(next_n(&mut events, 2).await, ["init", "init-done"]);
    made(store, ns, "y").await;
    made(store, ns, "x").await;
    assert_eq!(next(&mut events).await, "apply x");
}

async fn two_watches_tell_the_same(store: &dyn Store, ns: &str) {
    let mut one = store.watch(&config_maps(), &ours(ns));
    let mut two = store.watch(&config_maps(), &ours(ns));
    assert_eq!(next_n(&mut one, 2).await, next_n(&mut two, 2).await);
    for name in ["a", "b", "c"] {
        made(store, ns, name).await;
    }
    assert_eq!(next_n(&mut one, 3).await, ["apply a", "apply b", "apply c"]);
    assert_eq!(next_n(&mut two, 3).await, ["apply a", "apply b", "apply c"]);
}

async fn a_watch_that_begins_later_tells_the_present(store: &dyn Store, ns: &str) {
    let first = made(store, ns, "x").await;
    made(store, ns, "y").await;
    store.delete(&config_maps(), &ObjectKey::of(&first), &DeleteOptions::default()).await.expect("deleted");
    let mut events = store.watch(&config_maps(), &ours(ns));
    assert_eq!(next_n(&mut events, 3).await, ["init", "init-apply y", "init-done"]);
}

async fn watch_tells_the_deletion_of_a_held_object_in_two_steps(store: &dyn Store, ns: &str) {
    let mut held = labelled(ns, "x", "one", "red");
    held.metadata.finalizers = Some(vec!["conformance.invalid/held".into()]);
    store.create(&config_maps(), &held, MANAGER).await.expect("created");
    let mut events = store.watch(&config_maps(), &ours(ns));
    assert_eq!(next_n(&mut events, 3).await, ["init", "init-apply x", "init-done"]);
    let key = ObjectKey::namespaced(ns, "x");
    store.delete(&config_maps(), &key, &DeleteOptions::default()).await.expect("accepted");
    let Some(Ok(Event::Apply(ending))) = events.next().await else { panic!("the beginning was not told") };
    assert!(ending.metadata.deletion_timestamp.is_some());
    let release = merge(json!({"metadata": {"finalizers": null}}));
    store.patch(&config_maps(), &key, &release, &patching(Part::Object)).await.expect("released");
    assert_eq!(next(&mut events).await, "delete x");
}

async fn watch_of_a_kind_that_is_not_served_goes_on_when_it_is(store: &dyn Store, _: &str) {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "nothings.conformance.invalid"},
        "spec": {
            "group": "conformance.invalid", "scope": "Namespaced",
            "names": {"kind": "Nothing", "plural": "nothings", "singular": "nothing", "listKind": "NothingList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let mut events = store.watch(&not_served(), &Scope::everywhere());
    until(&mut events, "NotFound").await;
    install(store, definition).await.expect("installed");
    until(&mut events, "init-done").await;
    let key = ObjectKey::cluster("nothings.conformance.invalid");
    let definitions = dask_operator::store::served::definitions();
    store.delete(&definitions, &key, &DeleteOptions::default()).await.expect("deleted");
    super::support::until_gone(store, &definitions, &key).await;
}

/// The series begins, perhaps several times, before it comes to this.
async fn until(events: &mut WatchStream, end: &str) {
    loop {
        let told = next(events).await;
        if told == end {
            return;
        }
        assert!(told == "init" || told == "NotFound", "{told}");
    }
}

async fn an_object_that_does_not_parse_is_named_and_the_watch_goes_on(store: &dyn Store, ns: &str) {
    let odd = object(json!({
        "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskJob", "metadata": {"name": "odd", "namespace": ns},
    }));
    store.create(&ext::resource::<DaskJob>(), &odd, MANAGER).await.expect("a job without spec is accepted");
    let scope = Scope::namespace(ns);
    let mut events = store.watch_as::<DaskJob>(&scope);
    let mut named = None;
    while named.is_none() {
        if let Err(error) = events.next().await.expect("a watch never ends") {
            named = Some(error);
        }
    }
    let error = named.expect("an error");
    assert!(matches!(error, StoreError::Malformed { .. }), "{error}");
    assert_eq!(error.object().to_string(), format!("DaskJob {ns}/odd"));
    let mut good = super::kinds::sample("job.yaml");
    good.metadata.namespace = Some(ns.into());
    store.create(&ext::resource::<DaskJob>(), &good, MANAGER).await.expect("created");
    let told = loop {
        if let Ok(ext::TypedEvent::Apply(job)) = events.next().await.expect("a watch never ends") {
            break job;
        }
    };
    assert_eq!(told.metadata.name, good.metadata.name);
    let list = store.list_as::<DaskJob>(&scope).await.expect("a list");
    assert_eq!(list.iter().filter(|job| job.is_ok()).count(), 1);
    assert_eq!(list.len(), 2);
}
