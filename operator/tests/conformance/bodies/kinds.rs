//! Our four kinds under our own definitions: what is accepted, refused, defaulted, kept and found out at start.

use dask_operator::{
    api::{DaskAutoscaler, DaskCluster, DaskJob, DaskWorkerGroup},
    store::{
        FaultStore, ObjectKey, Part, RecordingStore, Store, StoreError,
        call::Verb,
        ext,
        faults::{Fault, Rule},
        served::{Look, Served, served},
    },
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::support::{MANAGER, autoscaler, merge, object, patching};

super::table![
    every_sample_is_accepted_and_read,
    unknown_and_newer_fields_of_specs_are_kept,
    nulls_are_absent_and_defaults_are_upstreams,
    what_is_wrong_is_refused_and_the_field_is_named,
    names_and_ranges_at_the_limit_are_accepted,
    a_status_that_upstream_writes_is_accepted,
    what_is_served_is_found_in_the_definitions,
    what_is_served_is_found_by_list_where_get_is_forbidden,
    what_is_served_is_found_by_discovery_where_definitions_are_forbidden,
    what_is_served_is_found_without_reading_any_object,
    endpoints_are_told_and_a_kind_that_is_not_served_has_none,
];

const SAMPLES: [(&str, &str); 9] = [
    ("cluster.yaml", include_str!("../samples/cluster.yaml")),
    ("cluster-of-the-python-client.yaml", include_str!("../samples/cluster-of-the-python-client.yaml")),
    ("cluster-of-kubecluster.yaml", include_str!("../samples/cluster-of-kubecluster.yaml")),
    ("cluster-of-today.yaml", include_str!("../samples/cluster-of-today.yaml")),
    ("worker-group.yaml", include_str!("../samples/worker-group.yaml")),
    ("autoscaler.yaml", include_str!("../samples/autoscaler.yaml")),
    ("autoscaler-of-adapt.yaml", include_str!("../samples/autoscaler-of-adapt.yaml")),
    ("job.yaml", include_str!("../samples/job.yaml")),
    ("job-of-a-go-client.yaml", include_str!("../samples/job-of-a-go-client.yaml")),
];

/// A sample manifest.
pub(super) fn sample(name: &str) -> DynamicObject {
    let (_, text) = SAMPLES.iter().find(|(given, _)| *given == name).expect("a sample");
    serde_yaml::from_str(text).expect("a manifest")
}

fn resource(kind: &str) -> ApiResource {
    match kind {
        "DaskCluster" => ext::resource::<DaskCluster>(),
        "DaskWorkerGroup" => ext::resource::<DaskWorkerGroup>(),
        "DaskJob" => ext::resource::<DaskJob>(),
        "DaskAutoscaler" => ext::resource::<DaskAutoscaler>(),
        other => panic!("{other} is none of ours"),
    }
}

fn resource_of(object: &DynamicObject) -> ApiResource {
    resource(&object.types.as_ref().expect("a kind").kind)
}

/// Creates a sample in the namespace under another name.
async fn create_sample(store: &dyn Store, ns: &str, sample_name: &str, name: &str) -> DynamicObject {
    let mut object = sample(sample_name);
    object.metadata.namespace = Some(ns.into());
    object.metadata.name = Some(name.into());
    match store.create(&resource_of(&object), &object, MANAGER).await {
        Ok(created) => created,
        Err(error) => panic!("{sample_name}: {error}"),
    }
}

async fn every_sample_is_accepted_and_read(store: &dyn Store, ns: &str) {
    for (number, (name, _)) in SAMPLES.iter().enumerate() {
        let created = create_sample(store, ns, name, &format!("sample-{number}")).await;
        let resource = resource_of(&created);
        let read = match resource.kind.as_str() {
            "DaskCluster" => ext::parse::<DaskCluster>(&resource, created).map(drop),
            "DaskWorkerGroup" => ext::parse::<DaskWorkerGroup>(&resource, created).map(drop),
            "DaskJob" => ext::parse::<DaskJob>(&resource, created).map(drop),
            _ => ext::parse::<DaskAutoscaler>(&resource, created).map(drop),
        };
        assert_eq!(read, Ok(()), "{name}");
    }
}

async fn unknown_and_newer_fields_of_specs_are_kept(store: &dyn Store, ns: &str) {
    let sent = sample("cluster-of-today.yaml").data;
    let stored = create_sample(store, ns, "cluster-of-today.yaml", "sample").await.data;
    let worker = "/spec/worker/spec";
    let container = "/spec/worker/spec/containers/0";
    for path in [
        format!("{worker}/hostUsers"),
        format!("{worker}/schedulingGates"),
        format!("{worker}/resourceClaims"),
        format!("{worker}/topologySpreadConstraints"),
        format!("{worker}/initContainers"),
        format!("{worker}/anotherOfTomorrow"),
        format!("{container}/fieldOfTomorrow"),
        format!("{container}/livenessProbe"),
        format!("{container}/lifecycle"),
        format!("{container}/resources"),
        format!("{container}/env"),
        "/spec/scheduler/spec/containers/0/readinessProbe".into(),
        "/spec/scheduler/service/trafficDistribution".into(),
    ] {
        assert!(sent.pointer(&path).is_some(), "{path}");
        assert_eq!(stored.pointer(&path), sent.pointer(&path), "{path}");
    }
    assert_eq!(stored["spec"]["scheduler"]["service"]["ports"][0]["targetPort"], 8786);
}

async fn nulls_are_absent_and_defaults_are_upstreams(store: &dyn Store, ns: &str) {
    let stored = create_sample(store, ns, "cluster-of-the-python-client.yaml", "sample").await;
    assert_eq!(stored.data["spec"]["worker"]["replicas"], 1);
    assert_eq!(stored.data["spec"]["idleTimeout"], 0);
    let container = &stored.data["spec"]["worker"]["spec"]["containers"][0];
    assert!(container["env"].is_null() && container["resources"].is_null());
    let cluster: DaskCluster = stored.try_parse().expect("a cluster");
    assert_eq!(cluster.spec.worker.replicas, 1);

    let stored = create_sample(store, ns, "cluster-of-today.yaml", "today").await.data;
    assert_eq!(stored["spec"]["scheduler"]["spec"]["containers"][0]["ports"][0]["protocol"], "TCP");
    assert_eq!(stored["spec"]["scheduler"]["service"]["ports"][0]["protocol"], "TCP");

    let stored = create_sample(store, ns, "job.yaml", "sample").await.data;
    assert_eq!(stored["spec"]["job"]["spec"]["restartPolicy"], "OnFailure");
    assert!(stored["spec"]["cluster"]["spec"]["worker"]["spec"]["restartPolicy"].is_null());
    assert_eq!(stored["spec"]["cluster"]["spec"]["idleTimeout"], 0);
    assert_eq!(stored["spec"]["cluster"]["metadata"]["annotations"]["note"], "for the cluster");
}

/// A sample with one value replaced, and what the refusal must contain.
struct Wrong {
    sample: &'static str,
    at: &'static str,
    value: Value,
    said: &'static str,
}

fn wrong(sample: &'static str, at: &'static str, value: Value, said: &'static str) -> Wrong {
    Wrong { sample, at, value, said }
}

async fn what_is_wrong_is_refused_and_the_field_is_named(store: &dyn Store, ns: &str) {
    let cases = [
        wrong("cluster.yaml", "/metadata/name", json!("a".repeat(54)), "at most 53 characters"),
        wrong("cluster.yaml", "/metadata/name", json!("with.dots"), "consists of a-z, 0-9 and '-'"),
        wrong("job.yaml", "/metadata/name", json!("a".repeat(54)), "at most 53 characters"),
        wrong("job.yaml", "/metadata/name", json!("with.dots"), "consists of a-z, 0-9 and '-'"),
        wrong("worker-group.yaml", "/metadata/name", json!("a".repeat(64)), "at most 63 characters"),
        wrong("cluster.yaml", "/spec/worker/replicas", json!(-1), "spec.worker.replicas"),
        wrong("worker-group.yaml", "/spec/worker/replicas", json!(-1), "spec.worker.replicas"),
        wrong(
            "job.yaml",
            "/spec/cluster/spec/worker/replicas",
            json!(-1),
            "spec.cluster.spec.worker.replicas",
        ),
        wrong("cluster.yaml", "/spec/worker/replicas", json!("two"), "spec.worker.replicas"),
        wrong("cluster.yaml", "/spec/worker/spec/containers", json!("none"), "spec.worker.spec.containers"),
        wrong("cluster.yaml", "/spec/worker/spec", json!({}), "spec.worker.spec.containers"),
        wrong("cluster.yaml", "/spec/worker/spec/containers/0/env", json!({"a": "b"}), "containers[0].env"),
        wrong("cluster.yaml", "/spec/scheduler/service", json!(null), "spec.scheduler.service"),
        wrong("cluster.yaml", "/spec/scheduler/service/ports/0/port", json!("http"), "service.ports[0].port"),
        wrong("cluster.yaml", "/spec/worker/metadata/labels/tier", json!(1), "labels"),
        wrong("job.yaml", "/spec/job", json!(null), "spec.job"),
        wrong("autoscaler.yaml", "/spec/minimum", json!(11), "minimum must not be greater than maximum"),
        wrong("autoscaler.yaml", "/spec/minimum", json!(null), "spec.minimum"),
        wrong("autoscaler.yaml", "/spec/minimum", json!(-1), "spec.minimum"),
    ];
    for Wrong { sample: name, at, value, said } in cases {
        let mut given = json!(sample(name));
        *given.pointer_mut(at).unwrap_or_else(|| panic!("{name} has {at}")) = value.clone();
        given["metadata"]["namespace"] = json!(ns);
        let given = object(given);
        match store.create(&resource_of(&given), &given, MANAGER).await {
            Err(error @ StoreError::Invalid { .. }) => {
                assert!(error.to_string().contains(said), "{name} {at} = {value}: {error}");
            }
            other => panic!("{name} {at} = {value}: {other:?}"),
        }
    }
}

async fn names_and_ranges_at_the_limit_are_accepted(store: &dyn Store, ns: &str) {
    create_sample(store, ns, "cluster.yaml", &"a".repeat(53)).await;
    create_sample(store, ns, "cluster.yaml", "9").await;
    create_sample(store, ns, "job.yaml", &"a".repeat(53)).await;
    create_sample(store, ns, "worker-group.yaml", &"a".repeat(63)).await;
    create_sample(store, ns, "autoscaler.yaml", &"a".repeat(64)).await;
    let resource = ext::resource::<DaskAutoscaler>();
    store.create(&resource, &autoscaler(ns, "equal", 3, 3), MANAGER).await.expect("created");
    let key = ObjectKey::namespaced(ns, "9");
    let idle = merge(json!({"spec": {"idleTimeout": -1}}));
    let resource = ext::resource::<DaskCluster>();
    store.patch(&resource, &key, &idle, &patching(Part::Object)).await.expect("never idle, as ever");
}

async fn a_status_that_upstream_writes_is_accepted(store: &dyn Store, ns: &str) {
    create_sample(store, ns, "cluster.yaml", "sample").await;
    create_sample(store, ns, "job.yaml", "sample").await;
    let key = ObjectKey::namespaced(ns, "sample");
    for (kind, status) in [
        ("DaskCluster", json!({"phase": "Pending"})),
        ("DaskJob", json!({"jobStatus": "JobCreated"})),
        ("DaskJob", json!({"clusterName": "sample", "jobRunnerPodName": "sample-runner", "jobStatus": null})),
        (
            "DaskJob",
            json!({"jobStatus": "Running", "startTime": "2026-01-02T03:04:05.678901Z", "endTime": null}),
        ),
    ] {
        let patch = merge(json!({"status": status}));
        let resource = resource(kind);
        let patched = store.patch(&resource, &key, &patch, &patching(Part::Status)).await;
        let patched = patched.unwrap_or_else(|error| panic!("{status}: {error}"));
        match kind {
            "DaskCluster" => assert!(ext::parse::<DaskCluster>(&resource, patched).is_ok()),
            _ => assert!(ext::parse::<DaskJob>(&resource, patched).is_ok()),
        }
    }
}

fn assert_ours(found: &Served) {
    assert_eq!(found.missing(), Vec::<&str>::new());
    for kind in [
        found.of::<DaskCluster>(),
        found.of::<DaskWorkerGroup>(),
        found.of::<DaskJob>(),
        found.of::<DaskAutoscaler>(),
    ] {
        assert!(kind.served && kind.status_endpoint);
        assert_eq!(kind.status_part(), Part::Status);
    }
}

fn assert_ours_in_full(found: &Served) {
    assert_ours(found);
    assert_eq!(found.shortcomings(), Vec::<String>::new());
    assert!(found.of::<DaskCluster>().scale_selector && !found.of::<DaskJob>().scale_selector);
    for path in ["status.phase", "status.conditions", "status.readyWorkers", "spec.worker.spec"] {
        assert!(found.of::<DaskCluster>().stores(path), "{path}");
    }
    assert!(!found.of::<DaskCluster>().stores("status.anything"));
    assert!(found.of::<DaskJob>().stores("spec.cluster.metadata"));
}

async fn what_is_served_is_found_in_the_definitions(store: &dyn Store, _: &str) {
    assert_ours_in_full(&served(store, Look::Definitions).await.expect("an answer"));
}

async fn what_is_served_is_found_by_list_where_get_is_forbidden(store: &dyn Store, _: &str) {
    let store = FaultStore::new(store);
    store.add(Rule::always(Verb::Get, "CustomResourceDefinition", Fault::Forbidden));
    assert_ours_in_full(&served(&store, Look::Definitions).await.expect("an answer"));
    assert_eq!(store.injected(), 4);
}

async fn what_is_served_is_found_by_discovery_where_definitions_are_forbidden(store: &dyn Store, _: &str) {
    let store = FaultStore::new(store);
    store.add(Rule::always(Verb::Get, "CustomResourceDefinition", Fault::Forbidden));
    store.add(Rule::always(Verb::List, "CustomResourceDefinition", Fault::Forbidden));
    assert_ours(&served(&store, Look::Definitions).await.expect("an answer"));
    assert_eq!(store.injected(), 8);
}

async fn what_is_served_is_found_without_reading_any_object(store: &dyn Store, _: &str) {
    let store = RecordingStore::new(store);
    assert_ours(&served(&store, Look::Discovery).await.expect("an answer"));
    assert!(store.entries().iter().all(|entry| entry.call.verb == Verb::Discover), "{:?}", store.entries());
}

async fn endpoints_are_told_and_a_kind_that_is_not_served_has_none(store: &dyn Store, _: &str) {
    let endpoints =
        store.endpoints(&resource("DaskCluster")).await.expect("an answer").expect("it is served");
    assert_eq!(endpoints.into_iter().collect::<Vec<_>>(), ["scale", "status"]);
    let endpoints = store.endpoints(&ext::resource::<ConfigMap>()).await.expect("an answer");
    assert_eq!(endpoints.map(|found| found.len()), Some(0));
    let mut absent = resource("DaskCluster");
    absent.plural = "dasknothings".into();
    assert_eq!(store.endpoints(&absent).await.expect("an answer"), None);
    absent.group = "nothing.dask.org".into();
    absent.api_version = "nothing.dask.org/v1".into();
    assert_eq!(store.endpoints(&absent).await.expect("an answer"), None);
}
