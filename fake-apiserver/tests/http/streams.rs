//! Requests whose connection becomes something else: what is refused, what goes through, and what ends with the client.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fake_apiserver::face::serve::serve;
use fake_apiserver::face::{
    Connection, Door, LogOptions, LogStream, NodeProxy, PodContainer, PodIdentity, Server, Session, Streams,
};
use fake_apiserver::status::Status;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, AttachParams, PostParams};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::server;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A node that hands the far end of each connection, and of each command's input, to the test.
struct Handing(mpsc::UnboundedSender<(String, DuplexStream)>);

impl Handing {
    fn hand(&self, what: String) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64);
        let _ = self.0.send((what, far));
        near
    }
}

impl NodeProxy for Handing {
    fn log(&self, _: PodContainer, _: LogOptions) -> BoxFuture<'static, Result<LogStream, Status>> {
        async { Err(Status::bad_request("no logs here")) }.boxed()
    }

    fn dial(
        &self,
        pod: PodIdentity,
        door: Door,
        port: u16,
    ) -> BoxFuture<'static, Result<Connection, String>> {
        let near = self.hand(format!("{door:?} {} {port}", pod.name));
        async move { Ok(Box::new(near) as Connection) }.boxed()
    }

    fn exec(
        &self,
        target: PodContainer,
        command: Vec<String>,
        _: Streams,
    ) -> BoxFuture<'static, Result<Session, String>> {
        let near = self.hand(format!("{} {}", target.container, command.join(" ")));
        let (reader, writer) = tokio::io::split(near);
        let session = Session {
            stdin: Some(Box::new(writer)),
            stdout: Some(Box::new(reader)),
            stderr: None,
            resize: None,
            ended: async { Ok(0) }.boxed(),
        };
        async move { Ok(session) }.boxed()
    }

    fn attach(&self, _: PodContainer, _: Streams) -> BoxFuture<'static, Result<Session, String>> {
        async { Err("no streams here".to_owned()) }.boxed()
    }
}

struct World {
    address: SocketAddr,
    pods: Api<Pod>,
    handed: mpsc::UnboundedReceiver<(String, DuplexStream)>,
    end: tokio::sync::oneshot::Sender<()>,
}

impl World {
    /// A pod `p` on a node that hands over, and `s` on a simulated one; both run.
    async fn start() -> Self {
        let server = server();
        let (sender, handed) = mpsc::unbounded_channel();
        server.set_node("far", Arc::new(Handing(sender)));
        let (address, end) = listen(&server).await;
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let nodes: Api<Node> = Api::all(client.clone());
        let node = serde_json::from_value(json!({"metadata": {"name": "far"}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(client, "default");
        for (name, node) in [("p", "far"), ("s", "node-1")] {
            let containers = json!([{"name": "main", "image": "i:1", "ports": [{"containerPort": 80}]}]);
            let pod =
                json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": containers}});
            pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
        }
        let running = json!({"status": {"phase": "Running", "podIP": "10.0.0.9", "containerStatuses": [{"name": "main",
            "image": "i:1", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
        let params = kube::api::PatchParams::default();
        pods.patch_status("p", &params, &kube::api::Patch::Merge(running)).await.unwrap();
        Self { address, pods, handed, end }
    }

    async fn handed(&mut self) -> (String, DuplexStream) {
        tokio::time::timeout(PATIENCE, self.handed.recv()).await.expect("a connection").unwrap()
    }

    /// A request as it goes over the wire, and the beginning of the answer.
    async fn raw(&self, request: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        (stream, String::from_utf8(head).unwrap())
    }
}

async fn listen(server: &Server) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let service = server.service();
    tokio::spawn(serve(listener, service, None, async {
        let _ = ended.await;
    }));
    (address, end)
}

/// Reads until the other side has closed; fails the test when it does not.
async fn closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end");
    rest
}

#[tokio::test]
async fn what_cannot_be_upgraded_is_refused_with_a_reason() {
    let world = World::start().await;
    let ask = |path: &str, headers: &str| {
        format!("GET /api/v1/namespaces/default/pods/{path} HTTP/1.1\nHost: x\n{headers}\n")
    };
    let websocket = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
    let spdy = "Connection: Upgrade\nUpgrade: SPDY/3.1\n";
    let all = [
        ("p/exec?command=ls&stdout=1", String::new(), "400"),
        ("p/portforward?ports=80", String::new(), "400"),
        ("p/exec?command=ls", websocket.to_owned(), "400"),
        (
            "p/exec?command=ls&stdout=1",
            format!("{websocket}Sec-WebSocket-Protocol: v9.channel.k8s.io\n"),
            "403",
        ),
        ("p/portforward", format!("{websocket}Sec-WebSocket-Protocol: v4.channel.k8s.io\n"), "400"),
        ("p/portforward?ports=0", format!("{websocket}Sec-WebSocket-Protocol: v4.channel.k8s.io\n"), "400"),
        ("p/portforward?ports=80", spdy.to_owned(), "400"),
        ("p/portforward?ports=80", format!("{spdy}X-Stream-Protocol-Version: v9\n"), "403"),
        ("nobody/exec?command=ls&stdout=1", websocket.to_owned(), "404"),
        ("p/exec?command=ls&stdout=1&container=other", websocket.to_owned(), "400"),
    ];
    for (path, headers, code) in all {
        let (_, head) = world.raw(&ask(path, &headers)).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{path} {headers}: {head}");
    }
    let (_, head) = world
        .raw(&ask(
            "p/portforward?ports=80",
            &format!("{spdy}X-Stream-Protocol-Version: portforward.k8s.io\n"),
        ))
        .await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("upgrade: spdy/3.1\r\n"), "{head}");
    assert!(head.contains("x-stream-protocol-version: portforward.k8s.io\r\n"), "{head}");
}

#[tokio::test]
async fn a_forward_ends_with_its_client_and_with_its_pod() {
    let mut world = World::start().await;
    let mut forwarder = world.pods.portforward("p", &[8080]).await.unwrap();
    let mut near = forwarder.take_stream(8080).unwrap();
    let (what, mut far) = world.handed().await;
    assert_eq!(what, "Loopback p 8080");
    near.write_all(b"to the pod").await.unwrap();
    let mut text = [0; 10];
    far.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"to the pod");
    far.write_all(b"to the client").await.unwrap();
    drop(far);
    assert_eq!(closed(&mut near).await, b"to the client");

    let forwarder = world.pods.portforward("p", &[8080]).await.unwrap();
    let (_, mut far) = world.handed().await;
    forwarder.abort();
    drop(forwarder);
    assert!(closed(&mut far).await.is_empty());
}

#[tokio::test]
async fn a_command_ends_with_its_client_though_input_is_on_its_way() {
    let mut world = World::start().await;
    let params = AttachParams::default().stdin(true).stdout(true).stderr(false);
    let mut process = world.pods.exec("p", ["cat"], &params).await.unwrap();
    let (what, mut far) = world.handed().await;
    assert_eq!(what, "main cat");
    // More than every buffer on the way takes.
    let mut stdin = process.stdin().unwrap();
    let flood = tokio::spawn(async move {
        let chunk = vec![b'x'; 64 << 10];
        while stdin.write_all(&chunk).await.is_ok() {}
    });
    let mut first = [0; 1];
    far.read_exact(&mut first).await.unwrap();
    process.abort();
    flood.abort();
    drop(process);
    // What was on the way arrives, and then the end: only the client's own end can have caused it.
    closed(&mut far).await;
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let mut world = World::start().await;
    let mut forwarder = world.pods.portforward("p", &[8080]).await.unwrap();
    let mut near = forwarder.take_stream(8080).unwrap();
    let (_, mut far) = world.handed().await;
    world.end.send(()).unwrap();
    assert!(closed(&mut far).await.is_empty());
    assert!(closed(&mut near).await.is_empty());
}

#[tokio::test]
async fn what_is_no_spdy_ends_the_connection_and_nothing_else() {
    let world = World::start().await;
    let request = "POST /api/v1/namespaces/default/pods/p/portforward HTTP/1.1\nHost: x\nContent-Length: 0\nConnection: Upgrade\n\
                   Upgrade: SPDY/3.1\nX-Stream-Protocol-Version: portforward.k8s.io\n\n";
    let wrong: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n\xff\xff\xff\xff",
        b"\x80\x03\x00\x01\x00\xff\xff\xff",
        b"\x80\x03\x00\x01\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00",
        b"\x80\x03\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00zzzz",
    ];
    for bytes in wrong {
        let (mut stream, head) = world.raw(request).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream.write_all(bytes).await.unwrap();
        if bytes[0] & 0x80 == 0 {
            // A data frame of a stream that does not exist is skipped; only its end can be waited for.
            stream.shutdown().await.unwrap();
        }
        closed(&mut stream).await;
    }
    assert!(world.pods.get("p").await.is_ok());
}

#[tokio::test]
async fn a_simulated_pod_refuses_as_a_node_does() {
    let world = World::start().await;
    let params = AttachParams::default().stderr(false);
    let mut process = world.pods.exec("s", ["ls"], &params).await.unwrap();
    let status = process.take_status().unwrap().await.unwrap();
    let message = status.message.unwrap();
    assert_eq!(status.reason.as_deref(), Some("InternalError"));
    assert!(message.contains("\"ls\": executable file not found in $PATH"), "{message}");
    let mut forwarder = world.pods.portforward("s", &[80]).await.unwrap();
    let refused = forwarder.take_error(80).unwrap().await.unwrap();
    assert!(refused.ends_with("connect: connection refused"), "{refused}");
    let path = "/api/v1/namespaces/default/pods/s/proxy/x";
    let (_, head) = world.raw(&format!("GET {path} HTTP/1.1\nHost: x\n\n")).await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
}

#[tokio::test]
async fn a_proxy_passes_requests_on_and_rewrites_what_leads_back() {
    let mut world = World::start().await;
    let path = "/api/v1/namespaces/default/pods/p:8080/proxy";
    let (_, head) = world.raw(&format!("GET {path}?a=b HTTP/1.1\nHost: x\n\n")).await;
    assert!(head.starts_with("HTTP/1.1 301 "), "{head}");
    assert!(head.contains(&format!("location: {path}/?a=b\r\n")), "{head}");

    let pod = async {
        let (what, mut far) = world.handed.recv().await.unwrap();
        assert_eq!(what, "Address p 8080");
        let mut request = Vec::new();
        while !request.ends_with(b"body") {
            request.push(far.read_u8().await.unwrap());
        }
        let page = "<a href=\"/status\">x</a>";
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
            page.len()
        );
        far.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    let request = format!(
        "PUT {path}/a%20b//c?q=1 HTTP/1.1\nHost: outside\nAuthorization: Bearer secret\nConnection: close\nContent-Length: 4\n\nbody"
    );
    let address = world.address;
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        String::from_utf8(closed(&mut stream).await).unwrap()
    };
    let (received, answered) = tokio::join!(pod, client);
    assert!(received.starts_with("PUT /a%20b//c?q=1 HTTP/1.1\r\n"), "{received}");
    assert!(received.contains("host: outside\r\n") && !received.contains("secret"), "{received}");
    assert!(received.contains(&format!("x-forwarded-uri: {path}/a%20b//c\r\n")), "{received}");
    assert!(answered.ends_with(&format!("<a href=\"{path}/status\">x</a>")), "{answered}");
}

#[tokio::test]
async fn a_proxied_connection_can_change_its_protocol() {
    let mut world = World::start().await;
    let request = "GET /api/v1/namespaces/default/pods/p/proxy/ws HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: other\n\n";
    let address = world.address;
    let client = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        (String::from_utf8(head).unwrap(), answer)
    });
    let (what, mut far) = world.handed().await;
    assert_eq!(what, "Address p 80");
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(far.read_u8().await.unwrap());
    }
    let asked = String::from_utf8(asked).unwrap().to_lowercase();
    assert!(asked.contains("upgrade: other\r\n") && asked.contains("connection: upgrade\r\n"), "{asked}");
    far.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
        .await
        .unwrap();
    let mut ping = [0; 4];
    far.read_exact(&mut ping).await.unwrap();
    assert_eq!(&ping, b"ping");
    far.write_all(b"pong").await.unwrap();
    let (head, answer) = client.await.unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.to_lowercase().contains("upgrade: other\r\n"),
        "{head}"
    );
    assert_eq!(&answer, b"pong");
    drop(far);
}
