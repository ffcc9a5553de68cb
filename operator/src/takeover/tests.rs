use fake_apiserver::Server;
use fake_apiserver::request::Request;
use fake_apiserver::server::Config;
use futures::FutureExt;
use serde_json::json;

use super::*;
use crate::api::crds;
use crate::names;
use crate::sim::{Sim, SimConfig, create, definitions, delete};
use crate::store::{FakeStore, RecordingStore};

const NAMESPACE: &str = "default";

/// A cluster as the Python operator leaves it in the middle of its work: a Service and a worker without owner, one worker
/// less than wanted.
fn left_behind() -> Vec<(&'static str, &'static str, Value)> {
    let labels = json!({names::CLUSTER_NAME: "ex", names::COMPONENT: "scheduler"});
    let worker = "ex-default-worker-0123456789";
    let worker_labels =
        json!({names::CLUSTER_NAME: "ex", names::GROUP_NAME: "ex-default", names::COMPONENT: "worker"});
    let pod = |name: &str| json!({"containers": [{"name": name, "image": "ghcr.io/dask/dask"}]});
    let memory = json!({names::KOPF_LAST_HANDLED: "{\"spec\":{\"worker\":{\"replicas\":2}}}\n"});
    let under_way = json!({
        names::KOPF_LAST_HANDLED: "{\"spec\":{\"worker\":{\"replicas\":2}}}\n",
        "kopf.zalando.org/daskworkergroup_replica_update.spec.worker.replicas": "{\"retries\":3}",
    });
    let deployment = |name: &str, labels: &Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod(name)}},
        })
    };
    let spec = json!({
        "worker": {"replicas": 2, "spec": pod("worker")},
        "scheduler": {"spec": pod("scheduler"), "service": {"ports": [{"name": "tcp-comm", "port": 8786}]}},
    });
    vec![
        (
            names::API_VERSION,
            "daskclusters",
            json!({
                "apiVersion": names::API_VERSION, "kind": "DaskCluster",
                "metadata": {"name": "ex", "annotations": memory, "finalizers": [names::KOPF_FINALIZER, "example.org/keep"]},
                "spec": spec,
            }),
        ),
        (
            names::API_VERSION,
            "daskworkergroups",
            json!({
                "apiVersion": names::API_VERSION, "kind": "DaskWorkerGroup",
                "metadata": {"name": "ex-default", "annotations": under_way, "labels": {names::CLUSTER_NAME: "ex", names::COMPONENT: "workergroup"}},
                "spec": {"cluster": "ex", "worker": {"replicas": 2, "spec": pod("worker")}},
            }),
        ),
        (
            "v1",
            "services",
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "ex-scheduler", "labels": labels, "annotations": memory},
                "spec": {"selector": labels, "ports": [{"name": "tcp-comm", "port": 8786}]},
            }),
        ),
        ("apps/v1", "deployments", deployment("ex-scheduler", &labels)),
        ("apps/v1", "deployments", deployment(worker, &worker_labels)),
    ]
}

fn world() -> RecordingStore<FakeStore> {
    let server = Server::new(Config::default());
    for crd in crds() {
        server.request(&create(definitions::API_VERSION, definitions::PLURAL, None, &crd)).unwrap();
    }
    for (api_version, plural, mut object) in left_behind() {
        object["metadata"]["namespace"] = NAMESPACE.into();
        server.request(&Request::create(api_version, plural, object)).unwrap();
    }
    RecordingStore::new(FakeStore::new(server))
}

fn look(store: &dyn Store) -> Survey {
    let now = Timestamp::now();
    let look = Survey::look(store, Settings::default(), &[], &Registry::default(), now).now_or_never();
    look.expect("the fake answers at once").expect("it answers")
}

/// The lines about one object.
fn about<'a>(report: &'a str, object: &str) -> Vec<&'a str> {
    let mut lines = report.lines().skip_while(|line| !line.starts_with(&format!("{object}:")));
    let first = lines.next().into_iter();
    first.chain(lines.take_while(|line| line.starts_with(' '))).map(str::trim).collect()
}

#[test]
fn what_a_takeover_would_do_is_told_for_each_object_and_nothing_is_written() {
    let store = world();
    let report = look(&store).report(true).to_string();
    assert_eq!(store.writes(), "", "nothing is written");
    let cluster = about(&report, "DaskCluster default/ex");
    for line in [
        "~ finalizer kopf.zalando.org/KopfFinalizerMarker is removed",
        "~ status.phase: Running",
        "annotation kopf.zalando.org/last-handled-configuration stays: the Python operator needs it on the way back",
    ] {
        assert!(cluster.contains(&line), "{line} is not in\n{report}");
    }
    assert!(!report.contains("example.org/keep"), "{report}");
    assert_eq!(
        about(&report, "Service default/ex-scheduler"),
        [
            "Service default/ex-scheduler:",
            "~ owner DaskCluster ex is added",
            "annotation kopf.zalando.org/last-handled-configuration stays: the Python operator needs it on the way back",
        ]
    );
    assert_eq!(about(&report, "Deployment default/ex-scheduler")[1], "~ owner DaskCluster ex is added");
    let group = about(&report, "DaskWorkerGroup default/ex-default");
    let progress =
        "~ annotation kopf.zalando.org/daskworkergroup_replica_update.spec.worker.replicas is removed";
    assert!(group.contains(&progress) && group.contains(&"~ owner DaskCluster ex is added"), "{report}");
    // The worker that is there counts.
    assert!(about(&report, "Deployment default/ex-default-worker-0123456789").len() <= 2, "{report}");
    assert!(!report.contains("is deleted"), "{report}");
}

#[test]
fn cleaning_takes_what_kopf_left_and_nothing_else() {
    let store = world();
    let changed = look(&store).clean(&store).now_or_never().unwrap().unwrap();
    assert_eq!(changed, 2);
    let resource = execute::kind_resource(crate::observe::Kind::Cluster);
    let cluster = store.get(&resource, &ObjectKey::namespaced(NAMESPACE, "ex")).now_or_never().unwrap();
    let metadata = cluster.unwrap().unwrap().metadata;
    assert_eq!(metadata.finalizers.unwrap(), ["example.org/keep"]);
    assert!(metadata.annotations.unwrap().contains_key(names::KOPF_LAST_HANDLED));
    let again = look(&store);
    assert_eq!(
        again.clean(&store).now_or_never().unwrap().unwrap(),
        0,
        "a second time there is nothing to do"
    );
    assert!(!again.report(true).to_string().contains("KopfFinalizerMarker"));
}

/// What changes between the look and the clean-up may have been changed by kopf, which then still runs.
#[test]
fn an_object_that_has_changed_meanwhile_is_left_alone() {
    let store = world();
    let survey = look(&store);
    let body = json!({"metadata": {"annotations": {"team": "a"}}});
    let touched = crate::sim::patch(names::API_VERSION, "daskclusters", NAMESPACE, "ex", body);
    store.inner().server().request(&touched).unwrap();
    assert!(matches!(survey.clean(&store).now_or_never().unwrap(), Err(StoreError::Conflict { .. })));
}

#[test]
fn an_object_that_went_meanwhile_is_no_obstacle() {
    let store = world();
    let survey = look(&store);
    let gone = delete(names::API_VERSION, "daskworkergroups", NAMESPACE, "ex-default");
    store.inner().server().request(&gone).unwrap();
    assert_eq!(survey.clean(&store).now_or_never().unwrap().unwrap(), 1);
}

#[test]
fn a_python_operator_that_runs_is_named() {
    let store = world();
    assert_eq!(look(&store).rivals(), [""; 0]);
    let labels = json!({"app": "x"});
    let container = json!({"name": "o", "image": "ghcr.io/dask/dask-kubernetes-operator:2026.3.0"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "dask", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    });
    store.inner().server().request(&Request::create("apps/v1", "deployments", deployment)).unwrap();
    let survey = look(&store);
    assert!(survey.rivals()[0].contains("deployment kube-system/dask"), "{:?}", survey.rivals());
    assert!(survey.report(true).to_string().starts_with("WARNING: the Python operator runs"));
}

/// As the charts of both operators make them.
fn chart(name: &str, namespace: &str, ours: bool) -> Request {
    let labels =
        json!({"app.kubernetes.io/name": "dask-kubernetes-operator", "app.kubernetes.io/instance": name});
    let mut container = json!({"name": "o", "image": "ghcr.io/dask/dask-kubernetes-operator:1"});
    if ours {
        container["readinessProbe"] = json!({"httpGet": {"path": "/readyz", "port": 8080}});
    }
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    });
    Request::create("apps/v1", "deployments", object)
}

#[test]
fn at_its_start_the_operator_finds_the_python_operator_and_not_itself() {
    let store = world();
    for request in [chart("python", "kube-system", false), chart("this", "default", true)] {
        store.inner().server().request(&request).unwrap();
    }
    let look = |namespaces: &[String]| arrivals(&store, namespaces);
    let next = |stream: &mut BoxStream<'static, String>| stream.next().now_or_never().flatten();
    let mut everywhere = look(&[]);
    let found = next(&mut everywhere).unwrap_or_default();
    assert!(found.contains("deployment kube-system/python"), "{found}");
    assert_eq!(next(&mut everywhere), None);
    store.take();
    assert_eq!(next(&mut look(&["default".to_owned()])), None);
    assert!(
        store.take().iter().all(|entry| entry.call.namespace == "default"),
        "nothing else may be asked for"
    );

    // It goes, and somebody starts it again while this operator runs.
    let scale = |replicas: u32| {
        let patch = crate::sim::patch(
            "apps/v1",
            "deployments",
            "kube-system",
            "python",
            json!({"spec": {"replicas": replicas}}),
        );
        store.inner().server().request(&patch).unwrap();
    };
    scale(0);
    assert_eq!(next(&mut everywhere), None);
    scale(1);
    assert_eq!(next(&mut everywhere), Some(found));
    scale(2);
    assert_eq!(next(&mut everywhere), None, "it is said once");
}

#[test]
fn without_definitions_the_next_step_is_said() {
    let store = FakeStore::new(Server::new(Config::default()));
    let look = Survey::look(&store, Settings::default(), &[], &Registry::default(), Timestamp::now())
        .now_or_never()
        .unwrap();
    assert!(look.unwrap_err().to_string().contains("dask-operator crds --apply"));
}

/// Once the operator has taken over there is nothing left to change, whatever it found.
#[test]
fn after_the_takeover_nothing_differs() {
    let mut sim = Sim::new(SimConfig::default());
    for (api_version, plural, mut object) in left_behind() {
        object["metadata"]["namespace"] = NAMESPACE.into();
        sim.user(&Request::create(api_version, plural, object)).unwrap();
    }
    sim.advance(jiff::SignedDuration::from_mins(5));
    let look =
        Survey::look(&*sim.store, Settings::default(), &[], &Registry::default(), sim.now()).now_or_never();
    let report = look.expect("the fake answers at once").expect("it answers").report(false);
    assert_eq!(report.changes(), 0, "{report}");
}
