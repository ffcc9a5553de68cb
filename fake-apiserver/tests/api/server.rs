//! The shared handle: watches that wake, clocks, controllers that work between requests.

use fake_apiserver::request::Request;
use fake_apiserver::response::Reply;
use fake_apiserver::server::{Api, Clock, Config, Controller};
use fake_apiserver::storage::{GroupResource, Key};
use fake_apiserver::{Server, WatchStream};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const CONFIGMAPS: GroupResource = GroupResource::new("", "configmaps");

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn server() -> Server {
    Server::new(Config { clock: Clock::Manual(start()), controllers: false, ..Config::default() })
}

fn configmap(name: &str) -> Request {
    Request::create("v1", "configmaps", json!({"metadata": {"name": name, "namespace": "default"}}))
}

fn watch(server: &Server, request: &Request) -> WatchStream {
    match server.request(request).unwrap().reply {
        Reply::Watch(watch) => server.watch(watch),
        other => panic!("{other:?}"),
    }
}

fn all() -> Request {
    Request::watch("v1", "configmaps")
}

#[tokio::test]
async fn a_waiting_watcher_is_woken_by_a_write() {
    let server = server();
    let mut stream = watch(&server, &all());
    let waiting = tokio::spawn(async move { stream.next().await.unwrap().unwrap().object.key.name.clone() });
    tokio::task::yield_now().await;
    server.request(&configmap("x")).unwrap();
    assert_eq!(waiting.await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_timeout_after_bookmarks() {
    let server = server();
    let mut request = all();
    request.params.timeout_seconds = Some(150);
    request.params.allow_watch_bookmarks = true;
    let events: Vec<_> = watch(&server, &request).collect().await;
    let kinds: Vec<_> = events.iter().map(|event| event.as_ref().unwrap().kind.as_str()).collect();
    assert_eq!(kinds, ["BOOKMARK", "BOOKMARK", "BOOKMARK"]);
}

#[tokio::test]
async fn a_watch_that_falls_behind_ends_with_410() {
    let server = server();
    let mut request = all();
    request.params.resource_version = Some("1".into());
    let stream = watch(&server, &request);
    server.request(&configmap("x")).unwrap();
    server.with(|api| api.compact(api.revision()));
    let events: Vec<_> = stream.collect().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].as_ref().unwrap_err().code, 410);
}

#[tokio::test]
async fn too_many_watches_are_refused_until_one_ends() {
    let config =
        Config { clock: Clock::Manual(start()), controllers: false, max_watches: 1, ..Config::default() };
    let server = Server::new(config);
    let first = watch(&server, &all());
    assert_eq!(server.request(&all()).unwrap_err().code, 429);
    drop(first);
    assert!(server.request(&all()).is_ok());
}

/// Deletes each config map ten seconds after it has seen it.
#[derive(Default)]
struct Reaper {
    due: std::collections::BTreeMap<Key, Timestamp>,
}

impl Controller for Reaper {
    fn name(&self) -> &'static str {
        "reaper"
    }

    fn step(&mut self, api: &mut Api<'_>) -> Option<Timestamp> {
        let now = api.now();
        let found = api.collection(&CONFIGMAPS);
        for object in found.into_iter().flat_map(fake_apiserver::storage::Collection::iter) {
            self.due.entry(object.key.clone()).or_insert(now + SignedDuration::from_secs(10));
        }
        let ripe: Vec<Key> =
            self.due.iter().filter(|(_, due)| **due <= now).map(|(key, _)| key.clone()).collect();
        for key in ripe {
            api.delete(&CONFIGMAPS, &key, json!({})).unwrap();
            self.due.remove(&key);
        }
        self.due.values().min().copied()
    }
}

#[test]
fn an_advancing_clock_stops_wherever_something_is_due() {
    let server = server();
    server.with(|api| api.add_controller(Box::<Reaper>::default()));
    server.request(&configmap("x")).unwrap();
    assert_eq!(server.next_due(), Some(start() + SignedDuration::from_secs(10)));
    let exists = || server.with(|api| api.storage().get(&CONFIGMAPS, &Key::new("default", "x")).is_some());
    server.advance(SignedDuration::from_secs(9));
    assert!(exists());
    server.advance(SignedDuration::from_secs(60));
    assert!(!exists());
    assert_eq!((server.now(), server.next_due()), (start() + SignedDuration::from_secs(69), None));
}

#[test]
fn without_auto_step_controllers_wait_for_a_step() {
    let config =
        Config { clock: Clock::Manual(start()), controllers: false, auto_step: false, ..Config::default() };
    let server = Server::new(config);
    server.with(|api| api.add_controller(Box::<Reaper>::default()));
    server.request(&configmap("x")).unwrap();
    assert_eq!(server.next_due(), None);
    assert!(server.step().is_some());
}
