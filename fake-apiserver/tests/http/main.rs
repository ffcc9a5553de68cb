//! The HTTP face with unmodified clients: `kube::Client` over the tower service, and over TLS with the kubeconfig.

mod access;
mod client;
mod conversions;
mod node;
mod node_api;
mod openapi;
mod raw;
mod robust;
mod streams;
mod tls;
mod webhooks;

use fake_apiserver::face::Server;
use fake_apiserver::server::Config;

/// A new cluster on the system clock, with its timers running.
pub(crate) fn server() -> Server {
    let server = Server::new(Config::default());
    let timers = server.clone();
    tokio::spawn(async move { timers.run().await });
    server
}
