//! Nodes that have a kubelet of their own, asked by this server, and by a real one as this listener hears it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use fake_apiserver::face::kubeconfig::Kubeconfig;
use fake_apiserver::face::node_api::serve_node;
use fake_apiserver::face::tls::Identity;

use fake_apiserver::face::{
    Connection, Door, LogOptions, LogStream, NodeProxy, PodContainer, PodIdentity, Session, Streams,
};
use fake_apiserver::status::Status;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, LogParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::server;
use crate::tls::client;

/// Answers with what it was asked for.
struct Echo;

impl NodeProxy for Echo {
    fn log(
        &self,
        target: PodContainer,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, Status>> {
        async move {
            if options.previous {
                return Err(Status::bad_request("previous terminated container not found"));
            }
            let lines = [
                format!("{}/{}/{}\n", target.namespace, target.pod, target.container),
                format!("{:?}\n", options.tail_lines),
            ];
            Ok(stream::iter(lines.map(|line| Ok(line.into()))).boxed())
        }
        .boxed()
    }

    fn dial(
        &self,
        pod: PodIdentity,
        door: Door,
        port: u16,
    ) -> BoxFuture<'static, Result<Connection, String>> {
        let (near, mut far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let text = format!("{door:?} {}/{} {port}\n", pod.namespace, pod.name);
            far.write_all(text.as_bytes()).await
        });
        async move { Ok(Box::new(near) as Connection) }.boxed()
    }

    fn exec(
        &self,
        _: PodContainer,
        _: Vec<String>,
        _: Streams,
    ) -> BoxFuture<'static, Result<Session, String>> {
        async { Err("no commands here".to_owned()) }.boxed()
    }

    fn attach(&self, _: PodContainer, _: Streams) -> BoxFuture<'static, Result<Session, String>> {
        async { Err("no streams here".to_owned()) }.boxed()
    }
}

#[tokio::test]
async fn the_kubelet_of_the_node_is_asked() {
    let server = server();
    server.set_node("far", Arc::new(Echo));
    let client = Client::new(server.service(), "default");
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({"metadata": {"name": "far"}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "far", "containers": [{"name": "main", "image": "i:1"}]}});
    let created = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    assert_eq!(created.name_any(), "p");
    let params = LogParams { tail_lines: Some(3), ..LogParams::default() };
    assert_eq!(pods.logs("p", &params).await.unwrap(), "default/p/main\nSome(3)\n");
    let refused = pods.logs("p", &LogParams { previous: true, ..LogParams::default() }).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 400), "{refused:?}");
}

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
