//! How late events arrive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fake_apiserver::Server;
use fake_apiserver::request::Request;
use fake_apiserver::response::Reply;
use fake_apiserver::server::Config;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, PostParams, WatchParams};
use serde_json::json;
use tokio::sync::Barrier;

/// How long events are made.
const SECONDS: usize = 3;

fn map(namespace: &str, number: usize) -> serde_json::Value {
    json!({"metadata": {"name": format!("map-{number}"), "namespace": namespace}, "data": {"n": number.to_string()}})
}

/// The time within which 99 of 100 arrive.
fn percentile(mut late: Vec<Duration>) -> Duration {
    late.sort_unstable();
    late.get(late.len() * 99 / 100).copied().unwrap_or_default()
}

/// Events through the handle: each watcher is a task of its own.
pub(crate) async fn in_process(watchers: usize, a_second: usize) -> Duration {
    let server = Server::new(Config { controllers: false, ..Config::default() });
    let count = a_second * SECONDS;
    let began = Instant::now();
    // When each event was made, by its number.
    let made: Arc<Vec<std::sync::OnceLock<Duration>>> =
        Arc::new((0..count).map(|_| std::sync::OnceLock::new()).collect());
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let request = Request::watch("v1", "configmaps").namespace("default");
            let Ok(Reply::Watch(watch)) = server.request(&request).map(|response| response.reply) else {
                panic!("a watch is answered with a watch");
            };
            let mut events = server.watch(watch);
            let made = Arc::clone(&made);
            tokio::spawn(async move {
                let mut late = Vec::with_capacity(count);
                while late.len() < count {
                    let event = events.next().await.expect("the watch goes on").expect("it is not late");
                    let number = event.object.key.name.rsplit('-').next().and_then(|text| text.parse().ok());
                    let at = number.and_then(|number: usize| made[number].get());
                    late.push(began.elapsed().saturating_sub(at.copied().unwrap_or_default()));
                }
                late
            })
        })
        .collect();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / u32::try_from(a_second).unwrap_or(1));
    for number in 0..count {
        pace.tick().await;
        let _ = made[number].set(began.elapsed());
        server
            .request(&Request::create("v1", "configmaps", map("default", number)))
            .expect("the map is made");
    }
    let mut late = Vec::with_capacity(count * watchers);
    for task in tasks {
        late.extend(task.await.expect("the task ends"));
    }
    percentile(late)
}

/// Events over HTTP.
pub(crate) async fn over_http(client: Client, watchers: usize, a_second: usize) -> Duration {
    let namespace = super::namespace(&client).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let count = a_second * SECONDS;
    let began = Instant::now();
    let made: Arc<Vec<std::sync::OnceLock<Duration>>> =
        Arc::new((0..count).map(|_| std::sync::OnceLock::new()).collect());
    let ready = Arc::new(Barrier::new(watchers + 1));
    let from = maps.list(&kube::api::ListParams::default()).await.expect("maps can be listed").metadata;
    let from = from.resource_version.unwrap_or_default();
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let (maps, made, ready, from) =
                (maps.clone(), Arc::clone(&made), Arc::clone(&ready), from.clone());
            tokio::spawn(async move {
                let events = maps.watch(&WatchParams::default(), &from).await.expect("the watch begins");
                let mut events = Box::pin(events);
                ready.wait().await;
                let mut late = Vec::with_capacity(count);
                while late.len() < count {
                    let event = events.next().await.expect("the watch goes on").expect("it can be read");
                    let kube::api::WatchEvent::Added(map) = event else { continue };
                    let name = map.metadata.name.unwrap_or_default();
                    let Some(number) = name.strip_prefix("map-").and_then(|text| text.parse::<usize>().ok())
                    else {
                        continue;
                    };
                    let at = made[number].get().copied().unwrap_or_default();
                    late.push(began.elapsed().saturating_sub(at));
                }
                late
            })
        })
        .collect();
    ready.wait().await;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / u32::try_from(a_second).unwrap_or(1));
    for number in 0..count {
        pace.tick().await;
        let map: ConfigMap = serde_json::from_value(map(&namespace, number)).expect("a map");
        let _ = made[number].set(began.elapsed());
        maps.create(&PostParams::default(), &map).await.expect("the map is made");
    }
    let mut late = Vec::with_capacity(count * watchers);
    for task in tasks {
        late.extend(task.await.expect("the task ends"));
    }
    percentile(late)
}
