//! What bodies are written with.

use std::time::Duration;

use dask_operator::{
    api::crds,
    store::{
        ApplyOptions, DeleteOptions, Event, ObjectKey, Part, Patch, PatchOptions, Result, Scope, Store,
        StoreError, WatchStream, ext, served::definitions,
    },
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

/// How long a body may take; only reached when something is lost.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Field manager of the bodies.
pub(crate) const MANAGER: &str = "conformance";

pub(crate) fn config_maps() -> ApiResource {
    ext::resource::<ConfigMap>()
}

pub(crate) fn namespaces() -> ApiResource {
    ext::resource::<Namespace>()
}

/// A kind that no server serves.
pub(crate) fn not_served() -> ApiResource {
    ApiResource {
        group: "conformance.invalid".into(),
        version: "v1".into(),
        api_version: "conformance.invalid/v1".into(),
        kind: "Nothing".into(),
        plural: "nothings".into(),
    }
}

/// An object from JSON.
pub(crate) fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).expect("an object")
}

/// A ConfigMap with one entry, `value`.
pub(crate) fn config_map(namespace: &str, name: &str, value: &str) -> DynamicObject {
    labelled(namespace, name, value, "none")
}

/// A ConfigMap with one entry, `value`, and one label, `colour`.
pub(crate) fn labelled(namespace: &str, name: &str, value: &str, colour: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"colour": colour}},
        "data": {"value": value},
    }))
}

/// A DaskAutoscaler: the smallest kind of ours that has spec and status.
pub(crate) fn autoscaler(namespace: &str, name: &str, minimum: i64, maximum: i64) -> DynamicObject {
    object(json!({
        "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"cluster": "some", "minimum": minimum, "maximum": maximum},
    }))
}

/// Creates a ConfigMap.
pub(crate) async fn made(store: &dyn Store, namespace: &str, name: &str) -> DynamicObject {
    store.create(&config_maps(), &config_map(namespace, name, "one"), MANAGER).await.expect("created")
}

/// Reads a ConfigMap.
pub(crate) async fn read(store: &dyn Store, namespace: &str, name: &str) -> Option<DynamicObject> {
    store.get(&config_maps(), &ObjectKey::namespaced(namespace, name)).await.expect("an answer")
}

pub(crate) fn version(object: &DynamicObject) -> &str {
    object.metadata.resource_version.as_deref().expect("a resourceVersion")
}

pub(crate) fn names(objects: &[DynamicObject]) -> Vec<&str> {
    objects.iter().filter_map(|object| object.metadata.name.as_deref()).collect()
}

pub(crate) fn patching(part: Part) -> PatchOptions {
    PatchOptions { manager: MANAGER.into(), part }
}

/// The failure, by its reason.
pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T>) -> &'static str {
    answer.expect_err("a failure").reason()
}

/// The next event as words: `apply x`; an error is its reason.
pub(crate) async fn next(events: &mut WatchStream) -> String {
    let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
    match events.next().await.expect("a watch never ends") {
        Ok(Event::Init) => "init".into(),
        Ok(Event::InitApply(object)) => format!("init-apply {}", name(&object)),
        Ok(Event::InitDone) => "init-done".into(),
        Ok(Event::Apply(object)) => format!("apply {}", name(&object)),
        Ok(Event::Delete(object)) => format!("delete {}", name(&object)),
        Err(error) => error.reason().into(),
    }
}

/// The next events as words.
pub(crate) async fn next_n(events: &mut WatchStream, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        told.push(next(events).await);
    }
    told
}

pub(crate) async fn make_namespace(store: &dyn Store, name: &str) {
    let namespace = object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    match store.create(&namespaces(), &namespace, MANAGER).await {
        Ok(_) => {}
        // An earlier run against the same server was interrupted.
        Err(StoreError::AlreadyExists { .. }) => {
            drop_namespace(store, name).await;
            until_gone(store, &namespaces(), &ObjectKey::cluster(name)).await;
            store.create(&namespaces(), &namespace, MANAGER).await.expect("a namespace");
        }
        Err(error) => panic!("no namespace for the body: {error}"),
    }
}

/// Begins to delete a namespace; whether it succeeds is not the body's matter.
pub(crate) async fn drop_namespace(store: &dyn Store, name: &str) {
    let _ = store.delete(&namespaces(), &ObjectKey::cluster(name), &DeleteOptions::default()).await;
}

/// Waits until an object is not there any more.
pub(crate) async fn until_gone(store: &dyn Store, resource: &ApiResource, key: &ObjectKey) {
    let scope = Scope { namespace: key.namespace.clone(), ..Scope::default() };
    let mut events = store.watch(resource, &scope.with_fields(format!("metadata.name={}", key.name)));
    let mut found = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => found = false,
            Ok(Event::InitApply(_)) => found = true,
            Ok(Event::InitDone) if !found => return,
            Ok(Event::Delete(_)) => return,
            _ => {}
        }
    }
}

/// Installs our four CRDs and waits until their kinds are served.
pub(crate) async fn install_definitions(store: &dyn Store) -> Result<()> {
    for definition in crds() {
        install(store, definition).await?;
    }
    Ok(())
}

/// Installs one CRD and waits until its kind is served.
pub(crate) async fn install(store: &dyn Store, definition: Value) -> Result<()> {
    let spec = definition["spec"].clone();
    let applied = store
        .apply(&definitions(), &object(definition), &ApplyOptions::forced(MANAGER, Part::Object))
        .await?;
    let name = applied.metadata.name.unwrap_or_default();
    let mut events =
        store.watch(&definitions(), &Scope::everywhere().with_fields(format!("metadata.name={name}")));
    loop {
        if let Some(Ok(Event::InitApply(seen) | Event::Apply(seen))) = events.next().await
            && established(&seen.data)
        {
            break;
        }
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, version) = (text(&spec["group"]), text(&spec["versions"][0]["name"]));
    let resource = ApiResource {
        api_version: format!("{group}/{version}"),
        kind: text(&spec["names"]["kind"]),
        plural: text(&spec["names"]["plural"]),
        group,
        version,
    };
    // A real server says so a little before it is true.
    let mut events = store.watch(&resource, &Scope::everywhere());
    while !matches!(events.next().await, Some(Ok(_))) {}
    Ok(())
}

fn established(definition: &Value) -> bool {
    definition["status"]["conditions"].as_array().is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    })
}

/// A merge patch.
pub(crate) fn merge(value: Value) -> Patch {
    Patch::Merge(value)
}
