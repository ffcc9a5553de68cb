//! A kind of one's own that is made of a DaskCluster: `ResearchLab`. A program beside the operator, of which nothing is changed.

mod controller;
mod lab;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use dask_operator::clock::Clock;
use dask_operator::election::{self, Election, Outside, Timing};
use dask_operator::health::{self, Health};
use dask_operator::metrics::Metrics;
use dask_operator::store::{KubeStore, ObjectKey, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Where the kubelet asks whether the program lives.
const HEALTH: &str = "0.0.0.0:8080";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match program().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("research-labs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Works whenever it is this one of several that holds the Lease, until it is told to end.
async fn program() -> anyhow::Result<()> {
    let client = kube::Client::try_default().await.context("no Kubernetes cluster is known")?;
    let (clock, health) = (Clock::system(), Health::default());
    let listener = TcpListener::bind(HEALTH)
        .await
        .with_context(|| format!("cannot listen on {HEALTH} for health questions"))?;
    tokio::spawn(health::serve(listener, health.clone(), Metrics::default()));
    let mut terminate = signal(SignalKind::terminate())?;
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| controller::MANAGER.into());
    let identity = election::identity(&host, std::process::id(), clock.now());
    let namespace = client.default_namespace().to_owned();
    let store: Arc<dyn Store> = Arc::new(KubeStore::new(client));
    lead(store, &namespace, identity, clock, &health, async {
        terminate.recv().await;
    })
    .await;
    Ok(())
}

/// Of all programs that share the Lease one works.
async fn lead(
    store: Arc<dyn Store>,
    namespace: &str,
    identity: String,
    clock: Clock,
    health: &Health,
    shutdown: impl Future<Output = ()>,
) {
    let lease = ObjectKey::namespaced(namespace, controller::MANAGER);
    let election = Election { lease, identity, timing: Timing::default() };
    let seed = clock.now().as_nanosecond() as u64;
    let outside = Outside { store: &*store, clock, health, manager: controller::MANAGER, seed };
    let work = |end| {
        let controller = controller::run(store.clone(), health.clone(), clock);
        async move {
            tokio::select! {
                () = end => {}
                () = controller => {}
            }
        }
    };
    election::lead_with(&election, &outside, work, shutdown).await;
}
