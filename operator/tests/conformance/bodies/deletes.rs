//! `delete`: point 7 of the contract.

use dask_operator::store::{DeleteOptions, ObjectKey, Part, Propagation, Store};
use serde_json::json;

use super::support::{
    MANAGER, config_map, config_maps, made, merge, not_served, patching, read, reason, until_gone, version,
};

super::table![
    delete_of_nothing_succeeds,
    delete_of_a_kind_that_is_not_served_succeeds,
    delete_removes_the_object,
    delete_with_the_right_preconditions_removes_the_object,
    delete_with_another_uid_is_a_conflict_and_deletes_nothing,
    delete_with_a_stale_resource_version_is_a_conflict_and_deletes_nothing,
    delete_waits_for_finalizers,
    delete_takes_every_propagation,
    a_name_can_be_used_again_after_deletion,
];

async fn delete_of_nothing_succeeds(store: &dyn Store, ns: &str) {
    for key in [ObjectKey::namespaced(ns, "nobody"), ObjectKey::namespaced(format!("{ns}-not"), "nobody")] {
        assert_eq!(store.delete(&config_maps(), &key, &DeleteOptions::default()).await, Ok(()));
        assert_eq!(store.delete(&config_maps(), &key, &DeleteOptions::of_uid("some")).await, Ok(()));
    }
}

async fn delete_of_a_kind_that_is_not_served_succeeds(store: &dyn Store, ns: &str) {
    let key = ObjectKey::namespaced(ns, "x");
    assert_eq!(store.delete(&not_served(), &key, &DeleteOptions::default()).await, Ok(()));
}

async fn delete_removes_the_object(store: &dyn Store, ns: &str) {
    made(store, ns, "x").await;
    let key = ObjectKey::namespaced(ns, "x");
    store.delete(&config_maps(), &key, &DeleteOptions::default()).await.expect("deleted");
    assert!(read(store, ns, "x").await.is_none());
}

async fn delete_with_the_right_preconditions_removes_the_object(store: &dyn Store, ns: &str) {
    let created = made(store, ns, "x").await;
    let options = DeleteOptions {
        uid: created.metadata.uid.clone(),
        resource_version: created.metadata.resource_version.clone(),
        ..DeleteOptions::default()
    };
    store.delete(&config_maps(), &ObjectKey::of(&created), &options).await.expect("deleted");
    assert!(read(store, ns, "x").await.is_none());
}

async fn delete_with_another_uid_is_a_conflict_and_deletes_nothing(store: &dyn Store, ns: &str) {
    let created = made(store, ns, "x").await;
    let options = DeleteOptions::of_uid("00000000-0000-0000-0000-000000000000");
    let answer = store.delete(&config_maps(), &ObjectKey::of(&created), &options).await;
    assert_eq!(reason(answer), "Conflict");
    assert_eq!(read(store, ns, "x").await, Some(created));
}

async fn delete_with_a_stale_resource_version_is_a_conflict_and_deletes_nothing(store: &dyn Store, ns: &str) {
    let created = made(store, ns, "x").await;
    let key = ObjectKey::of(&created);
    let patch = merge(json!({"data": {"value": "two"}}));
    let patched = store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    let options =
        DeleteOptions { resource_version: Some(version(&created).into()), ..DeleteOptions::default() };
    assert_eq!(reason(store.delete(&config_maps(), &key, &options).await), "Conflict");
    assert_eq!(read(store, ns, "x").await, Some(patched));
}

async fn delete_waits_for_finalizers(store: &dyn Store, ns: &str) {
    let mut held = config_map(ns, "x", "one");
    held.metadata.finalizers = Some(vec!["conformance.invalid/held".into()]);
    store.create(&config_maps(), &held, MANAGER).await.expect("created");
    let key = ObjectKey::namespaced(ns, "x");
    for _ in 0..2 {
        store.delete(&config_maps(), &key, &DeleteOptions::default()).await.expect("accepted");
        let ending = read(store, ns, "x").await.expect("still there");
        assert!(ending.metadata.deletion_timestamp.is_some());
    }
    let release = merge(json!({"metadata": {"finalizers": null}}));
    store.patch(&config_maps(), &key, &release, &patching(Part::Object)).await.expect("released");
    assert!(read(store, ns, "x").await.is_none());
}

async fn delete_takes_every_propagation(store: &dyn Store, ns: &str) {
    for propagation in [Propagation::Background, Propagation::Foreground, Propagation::Orphan] {
        let created = made(store, ns, "x").await;
        let key = ObjectKey::of(&created);
        let options = DeleteOptions { propagation, grace_seconds: Some(0), ..DeleteOptions::default() };
        store.delete(&config_maps(), &key, &options).await.expect("deleted");
        // Foreground and orphan are finalizers; without a garbage collector nobody else takes them off.
        let release = merge(json!({"metadata": {"finalizers": null}}));
        let _ = store.patch(&config_maps(), &key, &release, &patching(Part::Object)).await;
        until_gone(store, &config_maps(), &key).await;
    }
}

async fn a_name_can_be_used_again_after_deletion(store: &dyn Store, ns: &str) {
    let first = made(store, ns, "x").await;
    store.delete(&config_maps(), &ObjectKey::of(&first), &DeleteOptions::default()).await.expect("deleted");
    let second = made(store, ns, "x").await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
}
