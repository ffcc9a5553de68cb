//! The API in process, verb by verb, through requests as clients send them.

#![allow(clippy::needless_pass_by_value)] // JSON literals read best at the call

mod access;
mod crds;
mod create;
mod delete;
mod determinism;
mod ephemeral;
mod kinds;
mod list;
mod patch;
mod server;
mod subresources;
mod tokens;
mod update;
mod watch;
mod webhooks;

use fake_apiserver::request::Request;
use fake_apiserver::response::{List, Reply, Response};
use fake_apiserver::server::{ApiServer, Config};
use fake_apiserver::status::Status;
use fake_apiserver::storage::{Watch, WatchEvent};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A server without controllers, so that each test sees only what its requests do.
struct Cluster {
    api: ApiServer,
    now: Timestamp,
}

impl Cluster {
    fn new() -> Self {
        Self::with_history(1000)
    }

    fn with_history(history: usize) -> Self {
        Self::with(Config { history, ..Config::default() })
    }

    fn with(config: Config) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self { api: ApiServer::new(Config { controllers: false, ..config }, now), now }
    }

    fn ask(&mut self, request: &Request) -> Result<Response, Status> {
        self.api.handle(self.now, request)
    }

    /// The object or value that answers a request that must succeed.
    fn ok(&mut self, request: &Request) -> Value {
        match self.ask(request).unwrap_or_else(|status| panic!("{request:?}: {:?}", status.to_value())).reply
        {
            Reply::Object(object) => object.value(),
            Reply::Value(value) => value,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&mut self, request: &Request) -> Status {
        self.ask(request).map(|response| panic!("{response:?}")).unwrap_err()
    }

    fn list(&mut self, request: &Request) -> List {
        match self.ask(request).unwrap().reply {
            Reply::List(list) => list,
            other => panic!("{other:?}"),
        }
    }

    fn names(&mut self, request: &Request) -> Vec<String> {
        self.list(request).items.iter().map(|object| object.key.name.clone()).collect()
    }

    fn watch(&mut self, request: &Request) -> Watch {
        match self.ask(request).unwrap().reply {
            Reply::Watch(watch) => watch,
            other => panic!("{other:?}"),
        }
    }

    fn events(&self, watch: &mut Watch) -> Vec<WatchEvent> {
        self.api.poll_watch(watch, 1000).unwrap()
    }

    /// What a watcher sees: `ADDED x`, `DELETED y`.
    fn seen(&self, watch: &mut Watch) -> Vec<String> {
        let events = self.events(watch);
        events.iter().map(|event| format!("{} {}", event.kind.as_str(), event.object.key.name)).collect()
    }

    fn configmap(&mut self, name: &str, labels: Value) -> Value {
        self.ok(&Request::create(
            "v1",
            "configmaps",
            json!({"metadata": {"name": name, "namespace": "default", "labels": labels}, "data": {"a": "1"}}),
        ))
    }
}

fn configmaps() -> Request {
    Request::list("v1", "configmaps").namespace("default")
}

fn configmap(name: &str) -> Request {
    Request::get("v1", "configmaps").namespace("default").name(name)
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]}})
}
