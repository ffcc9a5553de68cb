//! Logs of pods whose node has a kubelet of its own.

use std::sync::Arc;

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

use crate::server;

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
