//! `apply`: point 4 of the contract.

use dask_operator::{
    api::DaskAutoscaler,
    store::{ApplyOptions, Missing, ObjectKey, Part, Store, StoreError, ext},
};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::support::{
    MANAGER, autoscaler, config_map, config_maps, merge, object, patching, read, reason, version,
};

super::table![
    apply_creates_what_is_missing,
    apply_of_the_same_keeps_the_resource_version,
    apply_removes_what_it_no_longer_gives,
    apply_leaves_the_fields_of_others_alone,
    apply_of_a_field_of_another_is_a_conflict_unless_forced,
    apply_to_status_changes_status_alone,
    apply_to_status_merges_conditions_by_type,
    apply_to_the_status_of_nothing_is_not_found,
    apply_with_the_uid_of_another_object_is_a_conflict,
    apply_with_a_stale_resource_version_is_a_conflict,
    apply_of_a_wrong_type_is_invalid,
];

fn applying(manager: &str) -> ApplyOptions {
    ApplyOptions { manager: manager.into(), force: false, part: Part::Object }
}

fn with_data(namespace: &str, data: &Value) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}, "data": data,
    }))
}

async fn apply_creates_what_is_missing(store: &dyn Store, ns: &str) {
    let applied =
        store.apply(&config_maps(), &config_map(ns, "x", "one"), &applying(MANAGER)).await.expect("applied");
    assert!(applied.metadata.uid.is_some());
    assert_eq!(read(store, ns, "x").await, Some(applied));
}

async fn apply_of_the_same_keeps_the_resource_version(store: &dyn Store, ns: &str) {
    let wanted = config_map(ns, "x", "one");
    let once = store.apply(&config_maps(), &wanted, &applying(MANAGER)).await.expect("applied");
    let twice = store.apply(&config_maps(), &wanted, &applying(MANAGER)).await.expect("applied");
    assert_eq!(version(&once), version(&twice));
}

async fn apply_removes_what_it_no_longer_gives(store: &dyn Store, ns: &str) {
    let options = applying(MANAGER);
    let wide = with_data(ns, &json!({"a": "1", "b": "2"}));
    store.apply(&config_maps(), &wide, &options).await.expect("applied");
    let narrow = with_data(ns, &json!({"a": "1"}));
    let applied = store.apply(&config_maps(), &narrow, &options).await.expect("applied");
    assert_eq!(applied.data["data"], json!({"a": "1"}));
}

async fn apply_leaves_the_fields_of_others_alone(store: &dyn Store, ns: &str) {
    store.apply(&config_maps(), &with_data(ns, &json!({"a": "1"})), &applying("one")).await.expect("applied");
    let key = ObjectKey::namespaced(ns, "x");
    let patch = merge(json!({"data": {"c": "3"}}));
    store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    store.apply(&config_maps(), &with_data(ns, &json!({"b": "2"})), &applying("two")).await.expect("applied");
    let again = store.apply(&config_maps(), &with_data(ns, &json!({"a": "0"})), &applying("one")).await;
    assert_eq!(again.expect("applied").data["data"], json!({"a": "0", "b": "2", "c": "3"}));
}

async fn apply_of_a_field_of_another_is_a_conflict_unless_forced(store: &dyn Store, ns: &str) {
    let resource = config_maps();
    let first =
        store.apply(&resource, &with_data(ns, &json!({"a": "1"})), &applying("one")).await.expect("applied");
    let other = with_data(ns, &json!({"a": "2"}));
    assert_eq!(reason(store.apply(&resource, &other, &applying("two")).await), "Conflict");
    assert_eq!(read(store, ns, "x").await, Some(first));
    let forced = store.apply(&resource, &other, &ApplyOptions::forced("two", Part::Object)).await;
    assert_eq!(forced.expect("applied").data["data"]["a"], "2");
}

async fn apply_to_status_changes_status_alone(store: &dyn Store, ns: &str) {
    let resource = ext::resource::<DaskAutoscaler>();
    store.create(&resource, &autoscaler(ns, "x", 0, 1), MANAGER).await.expect("created");
    let mut both = autoscaler(ns, "x", 0, 9);
    both.data["status"] = json!({"desired": 7});
    let options = ApplyOptions::forced(MANAGER, Part::Status);
    let applied = store.apply(&resource, &both, &options).await.expect("applied");
    assert_eq!(applied.data["spec"]["maximum"], 1);
    assert_eq!(applied.data["status"]["desired"], 7);
    let again = store.apply(&resource, &both, &options).await.expect("applied");
    assert_eq!(version(&applied), version(&again));
}

fn condition(namespace: &str, name: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskAutoscaler",
        "metadata": {"name": "x", "namespace": namespace},
        "status": {"conditions": [{
            "type": name, "status": "True", "reason": "Because", "message": "so it is",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }]},
    }))
}

async fn apply_to_status_merges_conditions_by_type(store: &dyn Store, ns: &str) {
    let resource = ext::resource::<DaskAutoscaler>();
    store.create(&resource, &autoscaler(ns, "x", 0, 1), MANAGER).await.expect("created");
    let mut applied = None;
    for (manager, name) in [("one", "Ready"), ("two", "Other")] {
        let options = ApplyOptions { manager: manager.into(), force: false, part: Part::Status };
        applied = Some(store.apply(&resource, &condition(ns, name), &options).await.expect("applied"));
    }
    let conditions = applied.expect("applied").data["status"]["conditions"].clone();
    let types: Vec<_> = conditions.as_array().expect("a list").iter().map(|c| c["type"].clone()).collect();
    assert_eq!(types, ["Ready", "Other"]);
}

async fn apply_to_the_status_of_nothing_is_not_found(store: &dyn Store, ns: &str) {
    let resource = ext::resource::<DaskAutoscaler>();
    let options = ApplyOptions::forced(MANAGER, Part::Status);
    let error = store.apply(&resource, &condition(ns, "Ready"), &options).await.expect_err("nothing there");
    assert!(matches!(error, StoreError::NotFound { missing: Missing::Object, .. }), "{error}");
}

async fn apply_with_the_uid_of_another_object_is_a_conflict(store: &dyn Store, ns: &str) {
    let mut wanted = config_map(ns, "x", "one");
    wanted.metadata.uid = Some("00000000-0000-0000-0000-000000000000".into());
    let options = ApplyOptions::forced(MANAGER, Part::Object);
    assert_eq!(reason(store.apply(&config_maps(), &wanted, &options).await), "Conflict");
    assert!(read(store, ns, "x").await.is_none());
    super::support::made(store, ns, "x").await;
    assert_eq!(reason(store.apply(&config_maps(), &wanted, &options).await), "Conflict");
}

async fn apply_with_a_stale_resource_version_is_a_conflict(store: &dyn Store, ns: &str) {
    let first = super::support::made(store, ns, "x").await;
    let key = ObjectKey::namespaced(ns, "x");
    let patch = merge(json!({"data": {"value": "two"}}));
    store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    let mut wanted = config_map(ns, "x", "three");
    wanted.metadata.resource_version = Some(version(&first).into());
    let options = ApplyOptions::forced(MANAGER, Part::Object);
    assert_eq!(reason(store.apply(&config_maps(), &wanted, &options).await), "Conflict");
}

async fn apply_of_a_wrong_type_is_invalid(store: &dyn Store, ns: &str) {
    for wrong in [json!({"a": {"b": "c"}}), json!(["a"])] {
        let options = ApplyOptions::forced(MANAGER, Part::Object);
        assert_eq!(reason(store.apply(&config_maps(), &with_data(ns, &wrong), &options).await), "Invalid");
    }
}
