//! Two operators as processes: one is killed, the other goes on; one is told to end, and gives the Lease up.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use dask_operator::api::crds;
use dask_operator::election::lease;
use dask_operator::names;
use dask_operator::sim::{create, definitions, patch, story};
use dask_operator::store::{Event, FakeStore, Scope, Store, WatchStream};
use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::serve::serve;
use fake_apiserver::face::{HttpService, Server};
use fake_apiserver::server::Config;
use futures::StreamExt;
use kube::core::DynamicObject;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// After so long a test has failed; what it waits for takes seconds.
const PATIENCE: Duration = Duration::from_mins(2);
const NAMESPACE: &str = "default";

/// A process that is killed when the test ends, however it ends.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Operator {
    fn start(folder: &Path, name: &str) -> Self {
        let log = File::create(folder.join(format!("{name}.log"))).expect("the folder is writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dask-operator"));
        command
            .args(["run", "--all-namespaces", "--leader-elect", "--leader-elect-lease-duration=3s"])
            .args(["--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms"])
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("HOSTNAME", name)
            .stderr(log);
        Self(command.spawn().expect("the operator was built for this test"))
    }
}

async fn world(folder: &Path) -> Server {
    let server = Server::new(Config::default());
    for crd in crds() {
        server
            .request(&create(definitions::API_VERSION, definitions::PLURAL, None, &crd))
            .expect("our definitions are accepted");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    Kubeconfig::plain(format!("http://{address}")).write(&folder.join("kubeconfig")).expect("it is writable");
    let (service, timers) = (HttpService::new(server.clone(), None), server.clone());
    tokio::spawn(serve(listener, service, None, std::future::pending()));
    tokio::spawn(async move { timers.run().await });
    server
}

/// The first state of an object in the watch that is as wished.
async fn until<T>(watch: &mut WatchStream, wish: impl Fn(&DynamicObject) -> Option<T>) -> T {
    let found = async {
        while let Some(event) = watch.next().await {
            if let Ok(Event::InitApply(object) | Event::Apply(object)) = event
                && let Some(found) = wish(&object)
            {
                return found;
            }
        }
        panic!("a watch never ends");
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it happens in time")
}

fn held_by(object: &DynamicObject) -> Option<String> {
    let holder = object.data["spec"]["holderIdentity"].as_str()?;
    (!holder.is_empty()).then(|| holder.to_owned())
}

async fn workers(store: &FakeStore, ready: u64) {
    let groups = dask_operator::execute::kind_resource(dask_operator::observe::Kind::WorkerGroup);
    let mut watch = store.watch(&groups, &Scope::everywhere());
    until(&mut watch, |group| (group.data["status"]["readyReplicas"] == ready).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_24_a_killed_leader_is_followed_and_one_that_ends_gives_the_lease_up() {
    let folder = TempDir::new().expect("a temporary folder");
    let server = world(folder.path()).await;
    let store = FakeStore::new(server.clone());
    let mut leases = store.watch(&lease::resource(), &Scope::namespace(NAMESPACE));
    let mut operators = vec![Operator::start(folder.path(), "one"), Operator::start(folder.path(), "two")];
    let first = until(&mut leases, held_by).await;
    let cluster = story::cluster("ex", 2);
    server.request(&create(names::API_VERSION, "daskclusters", Some(NAMESPACE), &cluster)).expect("accepted");
    workers(&store, 2).await;

    let dead = usize::from(first.starts_with("two_"));
    operators[dead].0.kill().expect("it runs");
    scale(&server, 4);
    let second = until(&mut leases, |lease| held_by(lease).filter(|holder| *holder != first)).await;
    assert!(second.starts_with(["two_", "one_"][dead]), "{second} follows {first}");
    workers(&store, 4).await;

    let third = Operator::start(folder.path(), "three");
    let alive = operators.swap_remove(1 - dead);
    // Without the standard library's help: a child can only be killed by it.
    let told = Command::new("kill").arg(alive.0.id().to_string()).status().expect("there is a program kill");
    assert!(told.success());
    let given_up = |lease: &DynamicObject| (lease.data["spec"]["holderIdentity"] == "").then_some(());
    until(&mut leases, given_up).await;
    let last = until(&mut leases, held_by).await;
    assert!(last.starts_with("three_"), "{last}");
    scale(&server, 5);
    workers(&store, 5).await;
    drop(third);
    let all = store.list(&pod(), &Scope::namespace(NAMESPACE)).await.expect("it answers");
    let workers = all.iter().filter(|pod| {
        pod.metadata
            .labels
            .as_ref()
            .is_some_and(|labels| labels.get(names::COMPONENT).is_some_and(|c| c == "worker"))
    });
    assert_eq!(workers.count(), 5, "no worker was made twice");
}

fn scale(server: &Server, replicas: u32) {
    let body = json!({"spec": {"worker": {"replicas": replicas}}});
    server.request(&patch(names::API_VERSION, "daskclusters", NAMESPACE, "ex", body)).expect("accepted");
}

fn pod() -> kube::core::ApiResource {
    dask_operator::execute::child_resource(dask_operator::observe::ChildKind::Pod)
}
