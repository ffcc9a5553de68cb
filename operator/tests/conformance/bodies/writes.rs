//! `create` and `patch`: points 3, 5, 6 and 11 of the contract.

use dask_operator::{
    api::DaskAutoscaler,
    store::{Missing, ObjectKey, Part, Patch, Store, StoreError, ext},
};
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use serde_json::json;

use super::support::{
    MANAGER, autoscaler, config_map, config_maps, drop_namespace, made, make_namespace, merge, not_served,
    object, patching, read, reason, version,
};

/// So many writes at the most may pass before a real server knows a quota; each takes it some milliseconds.
const WRITES_BEHIND_MAX: usize = 1_000;

super::table![
    create_makes_a_name_from_generate_name,
    create_of_a_taken_name_is_refused_and_changes_nothing,
    create_in_a_namespace_that_is_not_there_says_so,
    create_in_a_namespace_that_is_being_deleted_says_so,
    create_of_a_kind_that_is_not_served_says_so,
    create_beyond_a_quota_says_so,
    create_of_a_wrong_type_names_the_field,
    create_ignores_status_where_it_has_an_endpoint,
    merge_patch_changes_adds_and_removes,
    json_patch_changes_and_tests,
    patch_of_nothing_is_not_found,
    patch_with_a_stale_resource_version_is_a_conflict,
    patch_that_changes_nothing_keeps_the_resource_version,
    patch_of_status_changes_status_alone,
    patch_of_a_status_that_has_no_endpoint_says_so,
    generation_moves_with_spec_and_not_with_status,
];

async fn create_makes_a_name_from_generate_name(store: &dyn Store, ns: &str) {
    let nameless = object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-", "namespace": ns},
    }));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let created = store.create(&config_maps(), &nameless, MANAGER).await.expect("created");
        seen.push(created.metadata.name.expect("a name"));
    }
    assert!(seen.iter().all(|name| name.starts_with("made-")));
    assert_ne!(seen[0], seen[1]);
}

async fn create_of_a_taken_name_is_refused_and_changes_nothing(store: &dyn Store, ns: &str) {
    let first = made(store, ns, "x").await;
    let second = store.create(&config_maps(), &config_map(ns, "x", "two"), MANAGER).await;
    let error = second.expect_err("the name is taken");
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    assert_eq!(error.object().to_string(), format!("ConfigMap {ns}/x"));
    assert_eq!(read(store, ns, "x").await, Some(first));
}

async fn create_in_a_namespace_that_is_not_there_says_so(store: &dyn Store, ns: &str) {
    let object = config_map(&format!("{ns}-not"), "x", "one");
    let error = store.create(&config_maps(), &object, MANAGER).await.expect_err("no namespace");
    assert!(matches!(error, StoreError::NotFound { missing: Missing::Namespace, .. }), "{error}");
}

async fn create_in_a_namespace_that_is_being_deleted_says_so(store: &dyn Store, ns: &str) {
    let ending = format!("{ns}-end");
    make_namespace(store, &ending).await;
    let mut held = config_map(&ending, "held", "one");
    held.metadata.finalizers = Some(vec!["conformance.invalid/held".into()]);
    store.create(&config_maps(), &held, MANAGER).await.expect("created");
    drop_namespace(store, &ending).await;
    let refused = store.create(&config_maps(), &config_map(&ending, "late", "one"), MANAGER).await;
    assert_eq!(reason(refused), "NamespaceTerminating");
    let release = merge(json!({"metadata": {"finalizers": null}}));
    let key = ObjectKey::namespaced(&ending, "held");
    store.patch(&config_maps(), &key, &release, &patching(Part::Object)).await.expect("released");
}

async fn create_of_a_kind_that_is_not_served_says_so(store: &dyn Store, ns: &str) {
    let nothing = object(json!({
        "apiVersion": "conformance.invalid/v1", "kind": "Nothing", "metadata": {"name": "x", "namespace": ns},
    }));
    let error = store.create(&not_served(), &nothing, MANAGER).await.expect_err("no such kind");
    assert!(matches!(error, StoreError::NotFound { missing: Missing::Endpoint, .. }), "{error}");
}

async fn create_beyond_a_quota_says_so(store: &dyn Store, ns: &str) {
    let hard = json!({"count/secrets": "0"});
    let quota = object(json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": ns},
        "spec": {"hard": hard},
    }));
    let resource = ext::resource::<ResourceQuota>();
    store.create(&resource, &quota, MANAGER).await.expect("created");
    // The quota controller says the same; a bare API server has none.
    let status = merge(json!({"status": {"hard": hard, "used": {"count/secrets": "0"}}}));
    let key = ObjectKey::namespaced(ns, "none");
    store.patch(&resource, &key, &status, &patching(Part::Status)).await.expect("patched");
    // Admission on a real server reads quotas from a cache of its own, which is a little behind.
    for number in 0..WRITES_BEHIND_MAX {
        let secret = object(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("x{number}"), "namespace": ns},
        }));
        let created = store.create(&ext::resource::<Secret>(), &secret, MANAGER).await;
        if created.is_err() {
            assert_eq!(reason(created), "QuotaExceeded");
            return;
        }
    }
    panic!("the quota holds nothing back");
}

async fn create_of_a_wrong_type_names_the_field(store: &dyn Store, ns: &str) {
    let mut wrong = autoscaler(ns, "x", 0, 1);
    wrong.data["spec"]["minimum"] = json!("few");
    let refused = store.create(&ext::resource::<DaskAutoscaler>(), &wrong, MANAGER).await;
    let Err(StoreError::Invalid { causes, .. }) = refused else { panic!("{refused:?}") };
    assert!(causes.iter().any(|cause| cause.field == "spec.minimum"), "{causes:?}");
}

async fn create_ignores_status_where_it_has_an_endpoint(store: &dyn Store, ns: &str) {
    let mut object = autoscaler(ns, "x", 0, 1);
    object.data["status"] = json!({"desired": 7});
    let created = store.create(&ext::resource::<DaskAutoscaler>(), &object, MANAGER).await.expect("created");
    assert!(created.data["status"].is_null());
}

async fn merge_patch_changes_adds_and_removes(store: &dyn Store, ns: &str) {
    made(store, ns, "x").await;
    let patch =
        merge(json!({"data": {"value": null, "other": "two"}, "metadata": {"annotations": {"a": "b"}}}));
    let key = ObjectKey::namespaced(ns, "x");
    let patched = store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    assert_eq!(patched.data["data"], json!({"other": "two"}));
    assert_eq!(patched.metadata.labels.clone().unwrap_or_default()["colour"], "none");
    assert_eq!(read(store, ns, "x").await, Some(patched));
}

async fn json_patch_changes_and_tests(store: &dyn Store, ns: &str) {
    made(store, ns, "x").await;
    let key = ObjectKey::namespaced(ns, "x");
    let good = Patch::Json(json!([
        {"op": "test", "path": "/data/value", "value": "one"},
        {"op": "replace", "path": "/data/value", "value": "two"},
    ]));
    let patched = store.patch(&config_maps(), &key, &good, &patching(Part::Object)).await.expect("patched");
    assert_eq!(patched.data["data"]["value"], "two");
    let again = store.patch(&config_maps(), &key, &good, &patching(Part::Object)).await;
    assert_eq!(reason(again), "Invalid");
    assert_eq!(read(store, ns, "x").await, Some(patched));
}

async fn patch_of_nothing_is_not_found(store: &dyn Store, ns: &str) {
    for patch in [merge(json!({"data": {}})), Patch::Json(json!([]))] {
        let key = ObjectKey::namespaced(ns, "nobody");
        let answer = store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await;
        let error = answer.expect_err("nothing to patch");
        assert!(matches!(error, StoreError::NotFound { missing: Missing::Object, .. }), "{error}");
    }
}

async fn patch_with_a_stale_resource_version_is_a_conflict(store: &dyn Store, ns: &str) {
    let first = made(store, ns, "x").await;
    let key = ObjectKey::namespaced(ns, "x");
    let patch = merge(json!({"metadata": {"resourceVersion": version(&first)}, "data": {"value": "two"}}));
    let second = store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    assert_ne!(version(&first), version(&second));
    let stale = merge(json!({"metadata": {"resourceVersion": version(&first)}, "data": {"value": "three"}}));
    let refused = store.patch(&config_maps(), &key, &stale, &patching(Part::Object)).await;
    assert_eq!(reason(refused), "Conflict");
    assert_eq!(read(store, ns, "x").await, Some(second));
}

async fn patch_that_changes_nothing_keeps_the_resource_version(store: &dyn Store, ns: &str) {
    made(store, ns, "x").await;
    let key = ObjectKey::namespaced(ns, "x");
    let patch = merge(json!({"data": {"value": "two"}}));
    let once = store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    let twice = store.patch(&config_maps(), &key, &patch, &patching(Part::Object)).await.expect("patched");
    assert_eq!(version(&once), version(&twice));
}

async fn patch_of_status_changes_status_alone(store: &dyn Store, ns: &str) {
    let resource = ext::resource::<DaskAutoscaler>();
    let key = ObjectKey::namespaced(ns, "x");
    store.create(&resource, &autoscaler(ns, "x", 0, 1), MANAGER).await.expect("created");
    let both = merge(json!({"spec": {"maximum": 9}, "status": {"desired": 7}}));
    let patched = store.patch(&resource, &key, &both, &patching(Part::Status)).await.expect("patched");
    assert_eq!(patched.data["status"]["desired"], 7);
    assert_eq!(patched.data["spec"]["maximum"], 1);
    let both = merge(json!({"spec": {"maximum": 9}, "status": {"desired": 8}}));
    let patched = store.patch(&resource, &key, &both, &patching(Part::Object)).await.expect("patched");
    assert_eq!(patched.data["status"]["desired"], 7);
    assert_eq!(patched.data["spec"]["maximum"], 9);
}

async fn patch_of_a_status_that_has_no_endpoint_says_so(store: &dyn Store, ns: &str) {
    made(store, ns, "x").await;
    let key = ObjectKey::namespaced(ns, "x");
    let answer = store.patch(&config_maps(), &key, &merge(json!({})), &patching(Part::Status)).await;
    let error = answer.expect_err("a ConfigMap has no status");
    assert!(matches!(error, StoreError::NotFound { missing: Missing::Endpoint, .. }), "{error}");
}

async fn generation_moves_with_spec_and_not_with_status(store: &dyn Store, ns: &str) {
    let resource = ext::resource::<DaskAutoscaler>();
    let key = ObjectKey::namespaced(ns, "x");
    let created = store.create(&resource, &autoscaler(ns, "x", 0, 1), MANAGER).await.expect("created");
    assert_eq!(created.metadata.generation, Some(1));
    for (patch, part, generation) in [
        (json!({"status": {"desired": 7}}), Part::Status, 1),
        (json!({"metadata": {"labels": {"a": "b"}}}), Part::Object, 1),
        (json!({"spec": {"maximum": 2}}), Part::Object, 2),
    ] {
        let patched = store.patch(&resource, &key, &merge(patch), &patching(part)).await.expect("patched");
        assert_eq!(patched.metadata.generation, Some(generation));
    }
}
