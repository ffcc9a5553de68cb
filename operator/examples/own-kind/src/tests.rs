//! Labs on an API server in memory, beside a real operator, under exactly the rights of the manifest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dask_operator::api::crds::crds;
use dask_operator::clock::Clock;
use dask_operator::election::lease;
use dask_operator::health::Health;
use dask_operator::run::{Deps, run};
use dask_operator::scheduler::scripted::ScriptedScheduler;
use dask_operator::store::call::Verb;
use dask_operator::store::served::definitions;
use dask_operator::store::{
    DeleteOptions, FakeStore, MeteringStore, ObjectKey, Part, Patch, PatchOptions, Scope, Store,
};
use fake_apiserver::Server;
use fake_apiserver::server::Config;
use jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{lab, lead};

/// Where the manifest runs the program.
const NAMESPACE: &str = "dask-labs";
const USER: &str = "system:serviceaccount:dask-labs:research-labs";
const GROUPS: [&str; 3] =
    ["system:serviceaccounts", "system:serviceaccounts:dask-labs", "system:authenticated"];

/// An operator and this program on an API server in memory that asks for rights.
struct World {
    server: Server,
    store: Arc<FakeStore>,
    clock: Clock,
}

/// One of the programs.
struct Program {
    store: Arc<MeteringStore<FakeStore>>,
    health: Health,
    running: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        let server = Server::new(Config { rbac: true, ..Config::default() });
        let store = Arc::new(FakeStore::new(server.clone()));
        Self { server, store, clock: Clock::starting_at(Timestamp::UNIX_EPOCH) }
    }

    async fn create(&self, resource: &ApiResource, object: Value) {
        let object = serde_json::from_value(object).expect("an object");
        self.store.create(resource, &object, "test").await.expect("it is accepted");
    }

    async fn get(&self, resource: &ApiResource) -> Option<DynamicObject> {
        self.store.get(resource, &ObjectKey::namespaced("default", "physics")).await.expect("an answer")
    }

    /// What an administrator applies.
    async fn install(&self) {
        for definition in crds() {
            self.create(&definitions(), definition).await;
        }
        let own: Value = serde_yaml::from_str(include_str!("../definition.yaml")).expect("it is YAML");
        self.create(&definitions(), own).await;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        for object in [namespace].into_iter().chain(manifest()) {
            let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
            let (api_version, kind) = (text("apiVersion"), text("kind"));
            let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
            self.create(&resource, object).await;
        }
    }

    /// The program, as the manifest's account.
    fn start(&self, identity: &str) -> Program {
        let store = FakeStore::new(self.server.clone()).of(USER, &GROUPS);
        let (store, health) = (Arc::new(MeteringStore::new(store)), Health::default());
        let (theirs, signs, clock, identity) =
            (store.clone(), health.clone(), self.clock, identity.to_owned());
        let running = tokio::spawn(async move {
            lead(theirs, NAMESPACE, identity, clock, &signs, std::future::pending()).await;
        });
        Program { store, health, running }
    }

    async fn play(&self, people: impl AsyncFnOnce(&Self)) {
        self.install().await;
        let deps = Deps::new(self.store.clone(), Arc::new(ScriptedScheduler::new()), self.clock);
        run(deps, people(self)).await;
    }

    async fn holder(&self) -> String {
        let key = ObjectKey::namespaced(NAMESPACE, "research-labs");
        let lease = self.store.get(&lease::resource(), &key).await.expect("an answer").expect("a Lease");
        lease.data["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }
}

impl Program {
    /// Writes to anything but the Lease.
    fn works(&self) -> u64 {
        let figures = self.store.figures();
        let work = figures.iter().filter(|(series, _)| series.verb.writes() && series.kind != "Lease");
        work.map(|(_, figures)| figures.calls).sum()
    }

    /// What it has asked for, as rules name it.
    fn used(&self) -> BTreeSet<(String, &'static str)> {
        let figures = self.store.figures();
        let used = figures.keys().flat_map(|series| {
            let status = if series.part == Part::Status { "/status" } else { "" };
            let resource = format!("{}s{status}", series.kind.to_lowercase());
            let verbs: &[&str] = match series.verb {
                Verb::Watch => &["list", "watch"],
                Verb::Apply | Verb::Patch => &["patch"],
                Verb::Create => &["create"],
                Verb::Get => &["get"],
                Verb::List => &["list"],
                Verb::Delete => &["delete"],
                // Everybody may ask what is served.
                Verb::Discover => &[],
            };
            verbs.iter().map(move |verb| (resource.clone(), *verb)).collect::<Vec<_>>()
        });
        used.collect()
    }
}

/// The objects of the manifest.
fn manifest() -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(include_str!("../deployment.yaml"));
    documents.map(|document| Value::deserialize(document).expect("it is YAML")).collect()
}

/// On the paused clock this takes no time: whatever can happen meanwhile does.
async fn wait() {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

fn physics() -> Value {
    let mut lab: Value = serde_yaml::from_str(include_str!("../lab.yaml")).expect("it is YAML");
    lab["metadata"]["namespace"] = json!("default");
    lab
}

#[tokio::test(start_paused = true)]
async fn a_lab_is_a_cluster_says_how_it_is_and_takes_it_along() {
    let world = World::new();
    world
        .play(async |world| {
            let program = world.start("one");
            world.create(&lab::labs(), physics()).await;
            wait().await;
            let cluster = world.get(&lab::clusters()).await.expect("it is made");
            assert_eq!(cluster.data["spec"]["worker"]["replicas"], 6);
            let said = world.get(&lab::labs()).await.expect("it is there").data["status"].clone();
            assert_eq!(said["phase"], "Running");
            assert_eq!(said["address"], cluster.data["status"]["schedulerAddress"]);

            let (labs, key) = (lab::labs(), ObjectKey::namespaced("default", "physics"));
            let more = Patch::Merge(json!({"spec": {"members": 5}}));
            world.store.patch(&labs, &key, &more, &PatchOptions::default()).await.expect("it is accepted");
            wait().await;
            let changed = world.get(&lab::clusters()).await.expect("it stays");
            assert_eq!(changed.data["spec"]["worker"]["replicas"], 10);
            assert_eq!(changed.metadata.uid, cluster.metadata.uid);
            let version = changed.metadata.resource_version;
            wait().await;
            let now = world.get(&lab::clusters()).await.expect("it stays").metadata.resource_version;
            assert_eq!(now, version, "it has come to rest");

            world.store.delete(&labs, &key, &DeleteOptions::default()).await.expect("it can be deleted");
            wait().await;
            assert!(world.get(&lab::clusters()).await.is_none(), "the cluster goes with the lab");
            let services = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Service"));
            let of_dask = Scope::everywhere().with_labels("dask.org/cluster-name");
            let left = world.store.list(&services, &of_dask).await.expect("an answer");
            assert!(left.is_empty(), "and everything of the cluster with it");
            assert_eq!(program.used(), granted(), "no right is missing, and none is too many");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_of_that_name_that_is_somebodys_is_left_alone() {
    let world = World::new();
    world
        .play(async |world| {
            let _program = world.start("one");
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

/// What the manifest's roles allow, but for what only some API servers ask for.
fn granted() -> BTreeSet<(String, &'static str)> {
    let known = ["get", "list", "watch", "create", "patch"];
    let mut granted = BTreeSet::new();
    for role in manifest() {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for resource in rule["resources"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                for verb in rule["verbs"].as_array().into_iter().flatten() {
                    let verb = known.into_iter().find(|known| verb == known);
                    granted.extend(verb.map(|verb| (resource.to_owned(), verb)));
                }
            }
        }
    }
    granted
}

#[tokio::test(start_paused = true)]
async fn of_two_one_works_and_the_other_goes_on_when_it_is_gone() {
    let world = World::new();
    world
        .play(async |world| {
            let first = world.start("one");
            wait().await;
            let second = world.start("two");
            world.create(&lab::labs(), physics()).await;
            wait().await;
            assert_eq!(world.holder().await, "one");
            assert!(first.works() > 0 && second.works() == 0, "{} and {}", first.works(), second.works());
            assert!(first.health.is_ready() && second.health.is_ready(), "who stands by is ready, too");

            // It dies without giving the Lease up, and the lab changes at that moment.
            first.running.abort();
            let (labs, key) = (lab::labs(), ObjectKey::namespaced("default", "physics"));
            let more = Patch::Merge(json!({"spec": {"members": 5}}));
            world.store.patch(&labs, &key, &more, &PatchOptions::default()).await.expect("it is accepted");
            wait().await;
            wait().await;
            assert_eq!(world.holder().await, "two");
            let changed = world.get(&lab::clusters()).await.expect("it stays");
            assert_eq!(changed.data["spec"]["worker"]["replicas"], 10);
            assert!(second.works() > 0 && second.health.is_alive(world.clock.now()));
        })
        .await;
}
