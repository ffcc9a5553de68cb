//! `get` and `list`: points 1, 2 and 12 of the contract.

use dask_operator::store::{DeleteOptions, Missing, ObjectKey, Scope, Store, StoreError};
use futures::{StreamExt, stream};

use super::support::{MANAGER, config_map, config_maps, labelled, made, names, not_served, read, reason};

super::table![
    get_of_nothing_is_none,
    get_in_a_namespace_that_is_not_there_is_none,
    get_of_a_kind_that_is_not_served_is_none,
    get_gives_what_was_created,
    list_is_ordered_by_name,
    list_of_an_empty_namespace_is_empty,
    list_selects_by_labels,
    list_selects_by_name,
    list_everywhere_sees_the_namespaces,
    list_of_a_kind_that_is_not_served_says_so,
    list_with_a_bad_selector_is_invalid,
    list_of_many_is_whole,
];

async fn get_of_nothing_is_none(store: &dyn Store, ns: &str) {
    assert!(read(store, ns, "nobody").await.is_none());
}

async fn get_in_a_namespace_that_is_not_there_is_none(store: &dyn Store, ns: &str) {
    assert!(read(store, &format!("{ns}-not"), "nobody").await.is_none());
}

async fn get_of_a_kind_that_is_not_served_is_none(store: &dyn Store, ns: &str) {
    let answer = store.get(&not_served(), &ObjectKey::namespaced(ns, "x")).await;
    assert_eq!(answer, Ok(None));
}

async fn get_gives_what_was_created(store: &dyn Store, ns: &str) {
    let created = made(store, ns, "x").await;
    assert!(created.metadata.uid.is_some());
    assert_eq!(created.metadata.namespace.as_deref(), Some(ns));
    assert_eq!(created.types.as_ref().map(|types| types.kind.as_str()), Some("ConfigMap"));
    assert_eq!(read(store, ns, "x").await, Some(created));
}

async fn list_is_ordered_by_name(store: &dyn Store, ns: &str) {
    for name in ["b", "a-b", "a", "c"] {
        made(store, ns, name).await;
    }
    let scope = Scope::namespace(ns).with_labels("colour");
    let all = store.list(&config_maps(), &scope).await.expect("a list");
    assert_eq!(names(&all), ["a", "a-b", "b", "c"]);
    assert!(all.iter().all(|object| object.metadata.uid.is_some()));
}

async fn list_of_an_empty_namespace_is_empty(store: &dyn Store, ns: &str) {
    for namespace in [ns.to_owned(), format!("{ns}-not")] {
        let scope = Scope::namespace(namespace).with_labels("colour");
        assert_eq!(store.list(&config_maps(), &scope).await, Ok(Vec::new()));
    }
}

async fn list_selects_by_labels(store: &dyn Store, ns: &str) {
    for (name, colour) in [("a", "red"), ("b", "blue"), ("c", "red")] {
        store.create(&config_maps(), &labelled(ns, name, "one", colour), MANAGER).await.expect("created");
    }
    for (selector, expected) in [
        ("colour=red", vec!["a", "c"]),
        ("colour in (blue, green)", vec!["b"]),
        ("colour!=red,colour", vec!["b"]),
    ] {
        let list =
            store.list(&config_maps(), &Scope::namespace(ns).with_labels(selector)).await.expect("a list");
        assert_eq!(names(&list), expected, "{selector}");
    }
}

async fn list_selects_by_name(store: &dyn Store, ns: &str) {
    made(store, ns, "a").await;
    made(store, ns, "b").await;
    let scope = Scope::namespace(ns).with_fields("metadata.name=b");
    assert_eq!(names(&store.list(&config_maps(), &scope).await.expect("a list")), ["b"]);
}

async fn list_everywhere_sees_the_namespaces(store: &dyn Store, ns: &str) {
    let colour = format!("everywhere-{}", ns.len());
    for (namespace, name) in [("default", "here"), (ns, "there")] {
        let _ = store
            .delete(&config_maps(), &ObjectKey::namespaced(namespace, name), &DeleteOptions::default())
            .await;
        let object = labelled(namespace, name, "one", &colour);
        store.create(&config_maps(), &object, MANAGER).await.expect("created");
    }
    let scope = Scope::everywhere().with_labels(format!("colour={colour}"));
    let mut expected = vec![ObjectKey::namespaced("default", "here"), ObjectKey::namespaced(ns, "there")];
    expected.sort();
    let list = store.list(&config_maps(), &scope).await.expect("a list");
    assert_eq!(list.iter().map(ObjectKey::of).collect::<Vec<_>>(), expected);
    store
        .delete(&config_maps(), &ObjectKey::namespaced("default", "here"), &DeleteOptions::default())
        .await
        .expect("deleted");
}

async fn list_of_a_kind_that_is_not_served_says_so(store: &dyn Store, ns: &str) {
    let error = store.list(&not_served(), &Scope::namespace(ns)).await.expect_err("nothing to list");
    assert!(matches!(error, StoreError::NotFound { missing: Missing::Endpoint, .. }), "{error}");
    assert!(error.to_string().starts_with("Nothing objects in conformance-"), "{error}");
}

async fn list_with_a_bad_selector_is_invalid(store: &dyn Store, ns: &str) {
    let scope = Scope::namespace(ns).with_labels("colour in red");
    assert_eq!(reason(store.list(&config_maps(), &scope).await), "Invalid");
}

async fn list_of_many_is_whole(store: &dyn Store, ns: &str) {
    let expected: Vec<String> = (0..520).map(|number| format!("many-{number:03}")).collect();
    let objects: Vec<_> = expected.iter().map(|name| config_map(ns, name, "one")).collect();
    let resource = config_maps();
    let created: Vec<_> = stream::iter(&objects)
        .map(|object| store.create(&resource, object, MANAGER))
        .buffer_unordered(16)
        .collect()
        .await;
    assert!(created.iter().all(Result::is_ok));
    let scope = Scope::namespace(ns).with_labels("colour");
    assert_eq!(names(&store.list(&resource, &scope).await.expect("a list")), expected);
}
