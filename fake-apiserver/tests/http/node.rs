//! Logs of pods whose node has a kubelet of its own.

use std::sync::Arc;

use fake_apiserver::face::tls::Identity;
use fake_apiserver::face::{
    Connection, Door, LogOptions, LogStream, NodeProxy, PodContainer, PodIdentity, Session, Streams,
};
use fake_apiserver::status::Status;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, StreamExt as _};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, LogParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server;

/// Answers with what it was asked for.
pub(crate) struct Echo;

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

/// A cluster whose node `far` is this one, with the pod `p` on it.
async fn cluster(node: impl NodeProxy) -> Client {
    let server = server();
    server.set_node("far", Arc::new(node));
    let client = Client::new(server.service(), "default");
    let nodes: Api<Node> = Api::all(client.clone());
    let node = json!({"metadata": {"name": "far"}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "far", "containers": [{"name": "main", "image": "i:1"}]}});
    let created = pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    assert_eq!(created.name_any(), "p");
    client
}

#[tokio::test]
async fn the_kubelet_of_the_node_is_asked() {
    let client = cluster(Echo).await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    let params = LogParams { tail_lines: Some(3), ..LogParams::default() };
    assert_eq!(pods.logs("p", &params).await.unwrap(), "default/p/main\nSome(3)\n");
    let refused = pods.logs("p", &LogParams { previous: true, ..LogParams::default() }).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 400), "{refused:?}");
}

/// What a path under `/api/v1` answers: its code and its text.
async fn fetch(client: &Client, path: &str) -> (u16, String) {
    let request = http::Request::get(format!("/api/v1/{path}")).body(Vec::new()).unwrap();
    let response = client.send(request.map(kube::client::Body::from)).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_proxy_leads_to_the_kubelet() {
    let client = cluster(Echo).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}});
    Api::<Node>::all(client.clone())
        .patch_status("far", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    assert_eq!(fetch(&client, "nodes/far/proxy/healthz").await, (200, "ok".into()));
    let (code, list) = fetch(&client, "nodes/far/proxy/pods").await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((code, &list["items"][0]["metadata"]["name"]), (200, &json!("p")));
    let logs = "nodes/far/proxy/containerLogs/default/p/main?tailLines=3";
    assert_eq!(fetch(&client, logs).await, (200, "default/p/main\nSome(3)\n".into()));
    for (path, code) in [
        ("nodes/far/proxy/containerLogs/default/p/none", 404),
        ("nodes/far/proxy/containerLogs/default/none/main", 404),
        ("nodes/far/proxy/nonsense", 404),
        ("nodes/far/proxy/metrics", 501),
        ("nodes/none/proxy/healthz", 404),
    ] {
        assert_eq!(fetch(&client, path).await.0, code, "{path}");
    }
}

/// A pod that speaks TLS with a certificate nobody vouches for.
struct Secret;

impl NodeProxy for Secret {
    fn dial(&self, _: PodIdentity, _: Door, _: u16) -> BoxFuture<'static, Result<Connection, String>> {
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let identity = Identity::new(&[]).unwrap();
            let mut far = identity.acceptor().unwrap().accept(far).await.unwrap();
            let mut request = [0; 1024];
            let size = far.read(&mut request).await.unwrap();
            assert!(request[..size].starts_with(b"GET /x "));
            far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await.unwrap();
            far.flush().await.unwrap();
            let _ = far.read(&mut request).await;
        });
        async move { Ok(Box::new(near) as Connection) }.boxed()
    }

    fn log(
        &self,
        target: PodContainer,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<LogStream, Status>> {
        Echo.log(target, options)
    }

    fn exec(
        &self,
        target: PodContainer,
        command: Vec<String>,
        streams: Streams,
    ) -> BoxFuture<'static, Result<Session, String>> {
        Echo.exec(target, command, streams)
    }

    fn attach(&self, target: PodContainer, streams: Streams) -> BoxFuture<'static, Result<Session, String>> {
        Echo.attach(target, streams)
    }
}

#[tokio::test]
async fn a_proxy_believes_the_certificate_of_a_pod() {
    let client = cluster(Secret).await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let status =
        json!({"status": {"phase": "Running", "podIP": "192.0.2.7", "podIPs": [{"ip": "192.0.2.7"}]}});
    pods.patch_status("p", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let path = "namespaces/default/pods/https:p:443/proxy/x";
    assert_eq!(fetch(&client, path).await, (200, "secret".into()));
}
