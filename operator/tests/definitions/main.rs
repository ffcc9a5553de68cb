//! The life of the definitions: from the Python operator's to ours and back, with what is stored under them.

use dask_operator::definitions::{Change, upgrade};
use dask_operator::sim::definitions::todays;
use dask_operator::store::{FakeStore, ObjectKey, Store, served};
use fake_apiserver::Server;
use fake_apiserver::request::{PatchType, Request};
use fake_apiserver::response::Reply;
use fake_apiserver::server::Config;
use futures::FutureExt;
use serde_json::{Value, json};

const GROUP: &str = "kubernetes.dask.org/v1";
const PLURALS: [&str; 4] = ["daskclusters", "daskworkergroups", "daskjobs", "daskautoscalers"];

fn upgraded(server: &Server) -> Vec<Change> {
    let store = FakeStore::new(server.clone());
    let done = upgrade(&store).now_or_never().expect("the fake answers at once").expect("it may");
    done.into_iter().map(|(_, change)| change).collect()
}

fn back_to_todays(server: &Server) {
    for request in todays() {
        server.request(&request).expect("the definitions are accepted");
    }
}

/// One object of each kind as users of the Python operator have them, with the status it wrote.
fn store_objects(server: &Server) {
    let containers = json!({"containers": [{"name": "c", "image": "ghcr.io/dask/dask", "env": [{"name": "A", "value": "b"}]}]});
    let worker = json!({"replicas": 3, "spec": containers});
    let service = json!({"ports": [{"name": "tcp-comm", "port": 8786}]});
    let cluster =
        json!({"idleTimeout": 0, "worker": worker, "scheduler": {"spec": containers, "service": service}});
    let group = json!({"cluster": "x", "worker": worker});
    let job = json!({"job": {"spec": containers}, "cluster": {"spec": cluster}});
    let autoscaler = json!({"cluster": "x", "minimum": 1, "maximum": 9});
    let kinds = ["DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler"];
    for ((kind, plural), spec) in kinds.into_iter().zip(PLURALS).zip([cluster, group, job, autoscaler]) {
        let object = json!({
            "apiVersion": GROUP, "kind": kind, "spec": spec,
            "metadata": {"name": "x", "namespace": "default", "labels": {"a": "b"}, "finalizers": ["example.com/keep"]},
        });
        server.request(&Request::create(GROUP, plural, object)).expect("the object is accepted");
    }
    let phase = json!({"status": {"phase": "Running"}});
    patch(server, "daskclusters", None, phase);
    patch(
        server,
        "daskjobs",
        Some("status"),
        json!({"status": {"jobStatus": "Running", "clusterName": "x"}}),
    );
}

fn patch(server: &Server, plural: &str, subresource: Option<&str>, body: Value) {
    let request = Request::patch(PatchType::Merge, GROUP, plural, body).namespace("default").name("x");
    let request = subresource.into_iter().fold(request, Request::subresource);
    server.request(&request).expect("the patch is accepted");
}

/// What a client reads, without what only tells of writes.
fn objects(server: &Server) -> Vec<Value> {
    let read = |plural| {
        let request = Request::get(GROUP, plural).namespace("default").name("x");
        let answer = server.request(&request).expect("the object is there");
        let Reply::Object(stored) = answer.reply else { panic!("a get answers an object") };
        let mut object = stored.value();
        object["metadata"]
            .as_object_mut()
            .expect("metadata")
            .retain(|field, _| !["managedFields", "resourceVersion", "generation"].contains(&field.as_str()));
        object
    };
    PLURALS.map(read).into()
}

#[test]
fn definitions_are_created_where_there_are_none() {
    let server = Server::new(Config::default());
    assert_eq!(upgraded(&server), [Change::Created; 4]);
    assert_eq!(upgraded(&server), [Change::Unchanged; 4]);
}

#[test]
fn stored_objects_stay_as_they_are_on_the_way_to_our_definitions_and_back() {
    let server = Server::new(Config::default());
    upgraded(&server);
    back_to_todays(&server);
    store_objects(&server);
    let before = objects(&server);
    assert_eq!(before[0]["status"], json!({"phase": "Running"}));

    assert_eq!(upgraded(&server), [Change::Changed; 4]);
    assert_eq!(objects(&server), before, "under our definitions");
    assert_eq!(upgraded(&server), [Change::Unchanged; 4]);
    let conditions = json!([{"type": "Ready", "status": "True", "reason": "Running", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    patch(&server, "daskclusters", Some("status"), json!({"status": {"conditions": conditions}}));
    assert_eq!(objects(&server)[0]["status"]["conditions"], conditions);

    back_to_todays(&server);
    assert_eq!(objects(&server), before, "under the Python operator's definitions again");
}

#[test]
fn what_somebody_else_put_on_a_definition_stays() {
    let server = Server::new(Config::default());
    upgraded(&server);
    let name = "daskjobs.kubernetes.dask.org";
    let note = json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "dask"}}});
    let definitions = "customresourcedefinitions";
    let request = Request::patch(PatchType::Merge, "apiextensions.k8s.io/v1", definitions, note).name(name);
    server.request(&request).expect("the patch is accepted");
    back_to_todays(&server);
    upgraded(&server);
    let store = FakeStore::new(server);
    let found = store.get(&served::definitions(), &ObjectKey::cluster(name)).now_or_never();
    let found = found.expect("the fake answers at once").expect("it may").expect("it is there");
    assert_eq!(found.metadata.annotations.unwrap_or_default()["meta.helm.sh/release-name"], "dask");
}
