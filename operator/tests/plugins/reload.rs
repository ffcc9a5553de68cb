//! The list of plugins changes under an operator that runs as in production.

use std::sync::Arc;
use std::time::Duration;

use dask_operator::api::crds::crds;
use dask_operator::clock::Clock;
use dask_operator::names;
use dask_operator::plugin::{ChildType, Registry, Roster};
use dask_operator::run::{Deps, run};
use dask_operator::scheduler::scripted::ScriptedScheduler;
use dask_operator::sim::story;
use dask_operator::store::served::definitions;
use dask_operator::store::{FakeStore, ObjectKey, Store};
use fake_apiserver::Server;
use fake_apiserver::server::Config;
use jiff::Timestamp;

use crate::world::{NAMESPACE, change, map, maps, native};

#[tokio::test(start_paused = true)]
async fn a_plugin_that_is_put_on_the_list_is_heard_without_a_restart() {
    let store = Arc::new(FakeStore::new(Server::new(Config::default())));
    for definition in crds() {
        let definition = serde_json::from_value(definition).expect("an object");
        store.create(&definitions(), &definition, "test").await.expect("our definitions are accepted");
    }
    let (sender, plugins) = Roster::new(Registry::default());
    let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
    let deps = Deps { plugins, ..Deps::new(store.clone(), Arc::new(ScriptedScheduler::new()), clock) };
    let clusters = ChildType::new(names::API_VERSION, "DaskCluster", "daskclusters").resource();
    let services = ChildType::new("v1", "Service", "services").resource();
    let configmaps = ChildType::new("v1", "ConfigMap", "configmaps").resource();
    let people = async {
        let cluster = serde_json::from_value(story::cluster("a", 0)).expect("an object");
        store.create(&clusters, &cluster, "test").await.expect("it is accepted");
        tokio::time::sleep(Duration::from_secs(10)).await;
        let key = ObjectKey::namespaced(NAMESPACE, "a-scheduler");
        assert!(store.get(&services, &key).await.expect("an answer").is_some(), "the operator works");
        let note = ObjectKey::namespaced(NAMESPACE, "note");
        assert!(store.get(&configmaps, &note).await.expect("an answer").is_none());
        let plugin = native(maps("notes"), |_| change([map("note", "x")]));
        sender.send_replace(Registry::new(vec![plugin]).expect("one plugin"));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(store.get(&configmaps, &note).await.expect("an answer").is_some());
    };
    run(deps, people).await;
}
