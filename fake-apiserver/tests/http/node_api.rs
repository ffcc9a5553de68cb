//! A node's own HTTPS API, as a real API server asks it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::node_api::serve_node;
use fake_apiserver::face::tls::Identity;
use futures::FutureExt as _;
use futures::stream::StreamExt as _;
use serde_json::json;
use tokio::net::TcpListener;

use crate::node::Echo;
use crate::tls::client;

/// Where a node listens that knows one pod, and what its API server shows.
async fn node() -> Kubeconfig {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = Identity::new(&[IpAddr::from(Ipv4Addr::LOCALHOST)]).unwrap();
    let pod = json!({"metadata": {"namespace": "team", "name": "p", "uid": "u1"}});
    let find = move |namespace: String, name: String| {
        let found = Some(pod.clone()).filter(|_| (&*namespace, &*name) == ("team", "p"));
        async move { found }.boxed()
    };
    let tls = identity.demanding_acceptor().unwrap();
    tokio::spawn(serve_node(listener, tls, Arc::new(Echo), Arc::new(find)));
    Kubeconfig::secure(format!("https://{address}"), &identity)
}

fn get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

#[tokio::test]
async fn an_api_server_reads_logs_and_forwards_ports_by_the_paths_of_kubelets() {
    let client = client(&node().await).await;
    let log = client.request_text(get("/containerLogs/team/p/main?tailLines=3")).await.unwrap();
    assert_eq!(log, "team/p/main\nSome(3)\n");
    let refused = client.request_text(get("/containerLogs/team/q/main")).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 404), "{refused:?}");

    let mut forwarded = client.connect(get("/portForward/team/p/u1?port=80")).await.unwrap().into_stream();
    let mut heard = Vec::new();
    while let Some(Ok(message)) = forwarded.next().await {
        heard.extend(Some(message.into_data().to_vec()).filter(|data| !data.is_empty()));
        if heard.len() == 3 {
            break;
        }
    }
    // The port's number on both channels, then what the pod says.
    assert_eq!(heard[..2], [vec![0, 80, 0], vec![1, 80, 0]]);
    assert_eq!(heard[2], b"\0Loopback team/p 80\n");
    // Another pod of the same name is another pod.
    assert!(client.connect(get("/portForward/team/p/u2?port=80")).await.is_err());
}

#[tokio::test]
async fn a_node_listens_to_its_api_server_alone() {
    let mut stranger = node().await;
    stranger.client = None;
    let refused = client(&stranger).await.request_text(get("/containerLogs/team/p/main")).await.unwrap_err();
    assert!(!matches!(refused, kube::Error::Api(_)), "{refused:?}");
}
