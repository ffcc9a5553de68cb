//! A kind of one's own that is made of a DaskCluster: `ResearchLab`. A program beside the operator, of which nothing is changed.

mod controller;
mod lab;

use std::process::ExitCode;
use std::sync::Arc;

use dask_operator::store::KubeStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match kube::Client::try_default().await {
        Ok(client) => {
            controller::run(Arc::new(KubeStore::new(client))).await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("no Kubernetes cluster is known: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use dask_operator::api::crds::crds;
    use dask_operator::clock::Clock;
    use dask_operator::run::{Deps, run};
    use dask_operator::scheduler::scripted::ScriptedScheduler;
    use dask_operator::store::served::definitions;
    use dask_operator::store::{DeleteOptions, FakeStore, ObjectKey, Patch, PatchOptions, Scope, Store};
    use fake_apiserver::Server;
    use fake_apiserver::server::Config;
    use jiff::Timestamp;
    use kube::core::{ApiResource, DynamicObject};
    use serde_json::{Value, json};

    use super::{controller, lab};

    /// An operator and this program on an API server in memory.
    struct World(Arc<FakeStore>);

    impl World {
        fn new() -> Self {
            Self(Arc::new(FakeStore::new(Server::new(Config::default()))))
        }

        async fn create(&self, resource: &ApiResource, object: Value) {
            let object = serde_json::from_value(object).expect("an object");
            self.0.create(resource, &object, "test").await.expect("it is accepted");
        }

        async fn get(&self, resource: &ApiResource) -> Option<DynamicObject> {
            self.0.get(resource, &ObjectKey::namespaced("default", "physics")).await.expect("an answer")
        }

        async fn play(&self, people: impl AsyncFnOnce(&Self)) {
            for definition in crds() {
                self.create(&definitions(), definition).await;
            }
            let own: Value = serde_yaml::from_str(include_str!("definition.yaml")).expect("it is YAML");
            self.create(&definitions(), own).await;
            let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
            let deps = Deps::new(self.0.clone(), Arc::new(ScriptedScheduler::new()), clock);
            tokio::select! {
                () = run(deps, people(self)) => {}
                () = controller::run(self.0.clone()) => {}
            }
        }
    }

    /// On the paused clock this takes no time: whatever can happen meanwhile does.
    async fn wait() {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }

    fn physics() -> Value {
        let mut lab: Value = serde_yaml::from_str(include_str!("lab.yaml")).expect("it is YAML");
        lab["metadata"]["namespace"] = json!("default");
        lab
    }

    #[tokio::test(start_paused = true)]
    async fn a_lab_is_a_cluster_says_how_it_is_and_takes_it_along() {
        let world = World::new();
        world
            .play(async |world| {
                world.create(&lab::labs(), physics()).await;
                wait().await;
                let cluster = world.get(&lab::clusters()).await.expect("it is made");
                assert_eq!(cluster.data["spec"]["worker"]["replicas"], 6);
                let said = world.get(&lab::labs()).await.expect("it is there").data["status"].clone();
                assert_eq!(said["phase"], "Running");
                assert_eq!(said["address"], cluster.data["status"]["schedulerAddress"]);

                let (labs, key) = (lab::labs(), ObjectKey::namespaced("default", "physics"));
                let more = Patch::Merge(json!({"spec": {"members": 5}}));
                world.0.patch(&labs, &key, &more, &PatchOptions::default()).await.expect("it is accepted");
                wait().await;
                let changed = world.get(&lab::clusters()).await.expect("it stays");
                assert_eq!(changed.data["spec"]["worker"]["replicas"], 10);
                assert_eq!(changed.metadata.uid, cluster.metadata.uid);
                let version = changed.metadata.resource_version;
                wait().await;
                let now = world.get(&lab::clusters()).await.expect("it stays").metadata.resource_version;
                assert_eq!(now, version, "it has come to rest");

                world.0.delete(&labs, &key, &DeleteOptions::default()).await.expect("it can be deleted");
                wait().await;
                assert!(world.get(&lab::clusters()).await.is_none(), "the cluster goes with the lab");
                let services = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk("", "v1", "Service"));
                let of_dask = Scope::everywhere().with_labels("dask.org/cluster-name");
                let left = world.0.list(&services, &of_dask).await.expect("an answer");
                assert!(left.is_empty(), "and everything of the cluster with it");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_of_that_name_that_is_somebodys_is_left_alone() {
        let world = World::new();
        world
            .play(async |world| {
                let theirs = dask_operator::sim::story::cluster("physics", 1);
                world.create(&lab::clusters(), theirs).await;
                world.create(&lab::labs(), physics()).await;
                wait().await;
                let cluster = world.get(&lab::clusters()).await.expect("it stays");
                assert_eq!(cluster.data["spec"]["worker"]["replicas"], 1);
                assert_eq!(cluster.metadata.owner_references, None);
                let lab = world.get(&lab::labs()).await.expect("it is there");
                assert_eq!(lab.data["status"]["phase"], "NameTaken");
            })
            .await;
    }
}
