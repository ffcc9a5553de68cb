//! What is measured, a file each.

pub(crate) mod binary;
pub(crate) mod memory;
pub(crate) mod requests;
pub(crate) mod watchers;

use std::net::Ipv4Addr;
use std::path::Path;

use fake_apiserver::Server;
use fake_apiserver::face::serve::serve as listen;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A pod as people write it.
pub(crate) fn pod(namespace: &str, number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{number}"), "namespace": namespace,
            "labels": {"app": "bench", "part": format!("{}", number % 10)}},
        "spec": {"schedulerName": "nobody", "automountServiceAccountToken": false, "containers": [{
            "name": "main", "image": "example.com/image:1", "args": ["one", "two"],
            "env": [{"name": "KEY", "value": "value"}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
        }]},
    })
}

/// Serves over plain HTTP; the client opens a connection for each request that is under way.
pub(crate) async fn serve(server: &Server) -> Client {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(listen(listener, server.service(), None, std::future::pending()));
    let config = kube::Config::new(format!("http://{address}").parse().expect("a URL"));
    Client::try_from(config).expect("a client")
}

/// A client of the cluster of a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a usable kubeconfig")).expect("a client")
}

/// Makes a namespace with the account that pods need, whether or not controllers run; none of an earlier run is used.
pub(crate) async fn namespace(client: &Client) -> String {
    use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
    use kube::api::{Api, PostParams};
    let body = json!({"metadata": {"generateName": "bench-"}});
    let namespace: Namespace = serde_json::from_value(body).expect("a namespace");
    let made = Api::all(client.clone()).create(&PostParams::default(), &namespace).await;
    let name = made.expect("the namespace is made").metadata.name.expect("it has a name");
    let account: ServiceAccount =
        serde_json::from_value(json!({"metadata": {"name": "default"}})).expect("an account");
    // A controller may be faster.
    let _ = Api::namespaced(client.clone(), &name).create(&PostParams::default(), &account).await;
    name
}
