//! Cluster IPs: each address and port is listened on in the node's network and passed on to a ready endpoint.
//!
//! As with kube-proxy, a service without a ready endpoint refuses connections: nothing listens. Those that were made before go on,
//! whatever becomes of the service and of the endpoint's readiness, until one of their ends closes them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::network::Links;
use super::services::ServiceTable;

/// Tries before a connection is given up, when endpoints have just gone.
const TRIES: usize = 3;

type Targets = Arc<Vec<SocketAddrV4>>;

/// What has been accepted for any service; ends with the node.
type Connections = Arc<Mutex<JoinSet<()>>>;

/// Follows the services until the table's writer is gone.
pub(super) async fn run(links: Links, mut table: watch::Receiver<Arc<ServiceTable>>) {
    let mut tasks = JoinSet::new();
    let connections = Connections::default();
    let mut open: BTreeMap<SocketAddrV4, (watch::Sender<Targets>, AbortHandle)> = BTreeMap::new();
    loop {
        let wanted = table.borrow_and_update().forwards();
        open.retain(|address, (_, task)| {
            let kept = wanted.contains_key(address);
            if !kept {
                task.abort();
            }
            kept
        });
        for (address, targets) in wanted {
            let targets = Arc::new(targets);
            if let Some((sender, _)) = open.get(&address) {
                sender.send_if_modified(|old| {
                    let changed = *old != targets;
                    *old = targets;
                    changed
                });
                continue;
            }
            match listen(&links, address).await {
                Ok(listener) => {
                    let (sender, receiver) = watch::channel(targets);
                    open.insert(
                        address,
                        (sender, tasks.spawn(serve(listener, receiver, connections.clone()))),
                    );
                }
                Err(error) => tracing::warn!(%address, %error, "a service's address cannot be listened on"),
            }
        }
        while tasks.try_join_next().is_some() {}
        if table.changed().await.is_err() {
            return;
        }
    }
}

async fn listen(links: &Links, address: SocketAddrV4) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // The cluster has another service range than the node's: make this one address the node's own.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            links.claim(*address.ip()).await.map_err(io::Error::other)?;
            TcpListener::bind(address).await
        }
        other => other,
    }
}

async fn serve(listener: TcpListener, targets: watch::Receiver<Targets>, connections: Connections) {
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
                connections.spawn(forward(client, targets.clone(), turn.clone()));
                while connections.try_join_next().is_some() {}
            }
            Err(error) => {
                // Out of file descriptors, mostly: give the others time to end.
                tracing::warn!(%error, "a connection to a service could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn forward(mut client: TcpStream, targets: watch::Receiver<Targets>, turn: Arc<AtomicUsize>) {
    for _ in 0..TRIES {
        let targets = targets.borrow().clone();
        let Some(target) = targets.get(turn.fetch_add(1, Ordering::Relaxed) % targets.len().max(1)) else {
            return;
        };
        match TcpStream::connect(target).await {
            Ok(mut server) => {
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                // Ends when both sides have closed, or one has failed.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                return;
            }
            Err(error) => tracing::debug!(%target, %error, "an endpoint does not answer"),
        }
    }
}
