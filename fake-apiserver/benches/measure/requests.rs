//! Creating pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake_apiserver::Server;
use fake_apiserver::request::Request;
use fake_apiserver::server::Config;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, PostParams};

use super::pod;

/// Pods made on the server in memory.
pub(crate) const MANY: usize = 20_000;
/// Pods made on a real control plane.
pub(crate) const SOME: usize = 2_000;
/// Requests under way at the same time.
const CONNECTIONS: usize = 16;

/// From nothing to the first answer: the best of some, since the first one also reads the tables of built-in kinds.
pub(crate) fn first_answer() -> Duration {
    let try_once = || {
        let start = Instant::now();
        let server = Server::new(Config::default());
        server.request(&Request::list("v1", "namespaces")).expect("namespaces can be listed");
        start.elapsed()
    };
    (0..5).map(|_| try_once()).min().unwrap_or_default()
}

/// Pods a second through the handle, without HTTP.
pub(crate) fn in_process(controllers: bool) -> f64 {
    let server = Server::new(Config { controllers, ..Config::default() });
    let requests: Vec<Request> =
        (0..MANY).map(|number| Request::create("v1", "pods", living(number, controllers))).collect();
    let start = Instant::now();
    for request in &requests {
        server.request(request).expect("the pod is made");
    }
    MANY as f64 / start.elapsed().as_secs_f64()
}

/// With controllers the pod is placed, and runs.
fn living(number: usize, controllers: bool) -> serde_json::Value {
    let mut pod = pod("default", number);
    if controllers && let Some(spec) = pod["spec"].as_object_mut() {
        spec.remove("schedulerName");
        spec.remove("automountServiceAccountToken");
    }
    pod
}

/// Pods a second over HTTP.
pub(crate) async fn over_http(client: Client, count: usize) -> f64 {
    let namespace = super::namespace(&client).await;
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (api, next): (Api<Pod>, _) = (Api::namespaced(client.clone(), &namespace), Arc::clone(&next));
            let namespace = namespace.clone();
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let pod = serde_json::from_value(pod(&namespace, number)).expect("a pod");
                    api.create(&PostParams::default(), &pod).await.expect("the pod is made");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the task ends");
    }
    count as f64 / start.elapsed().as_secs_f64()
}
