//! Admission webhooks over HTTPS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fake_apiserver::face::tls::Identity;
use fake_apiserver::request::Request;
use fake_apiserver::{Config, Server};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// A webhook that adds `seen: <user>` and warns; its address and authority.
async fn webhook() -> (SocketAddr, String) {
    let (address, identity) = serving().await;
    (address, identity.authority)
}

/// The same with all that was made for it.
async fn serving() -> (SocketAddr, Identity) {
    let identity = Identity::new(&[IpAddr::from(Ipv4Addr::LOCALHOST)]).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.acceptor().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(acceptor.accept(stream).await.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let review: Value = serde_json::from_slice(&body).unwrap();
            let request = &review["request"];
            let patch =
                json!([{"op": "add", "path": "/data/seen", "value": request["userInfo"]["username"]}])
                    .to_string();
            let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
                "uid": request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": BASE64.encode(patch),
                "warnings": ["it was changed"]}})
            .to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    (address, identity)
}

fn configure(server: &Server, client: &Value) {
    let configuration = json!({"metadata": {"name": "c"}, "webhooks": [{
        "name": "w.example.com", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]}]});
    let group = "admissionregistration.k8s.io/v1";
    server.request(&Request::create(group, "mutatingwebhookconfigurations", configuration)).unwrap();
}

fn map() -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "x"}, "data": {"a": "1"}})).unwrap()
}

async fn create(server: &Server) -> kube::Result<ConfigMap> {
    let client = kube::Client::new(server.service(), "default");
    Api::<ConfigMap>::default_namespaced(client).create(&PostParams::default(), &map()).await
}

#[tokio::test]
async fn a_webhook_is_called_over_https_and_changes_the_object() {
    let (address, authority) = webhook().await;
    let server = Server::new(Config::default());
    configure(
        &server,
        &json!({"url": format!("https://{address}/hook"), "caBundle": BASE64.encode(authority)}),
    );
    let data = create(&server).await.unwrap().data.unwrap();
    assert_eq!((data["a"].as_str(), data["seen"].as_str()), ("1", "admin"));
}

/// As Go has it, and envtest relies on it: the bundle may be the webhook's own certificate. Its path is as Go joins it.
#[tokio::test]
async fn a_certificate_that_is_in_the_bundle_itself_is_trusted() {
    let (address, identity) = serving().await;
    let server = Server::new(Config::default());
    let bundle = BASE64.encode(identity.server_certificate);
    configure(&server, &json!({"url": format!("https://{address}//mutate"), "caBundle": bundle}));
    assert_eq!(create(&server).await.unwrap().data.unwrap()["seen"], "admin");
    // The name has to be right all the same.
    let client = json!({"url": format!("https://127.0.0.2:{}/", address.port()), "caBundle": bundle});
    let server = Server::new(Config::default());
    configure(&server, &client);
    create(&server).await.unwrap_err();
}

#[tokio::test]
async fn a_webhook_whose_certificate_is_not_trusted_is_not_called() {
    let (address, _) = webhook().await;
    let server = Server::new(Config::default());
    let other = Identity::new(&[]).unwrap().authority;
    configure(&server, &json!({"url": format!("https://{address}/hook"), "caBundle": BASE64.encode(other)}));
    let refused = create(&server).await.unwrap_err();
    assert!(refused.to_string().contains("failed calling webhook \"w.example.com\""), "{refused}");
}

#[tokio::test]
async fn a_webhook_that_is_not_there_fails_the_request_in_the_words_of_the_real_server() {
    let server = Server::new(Config::default());
    let service = json!({"namespace": "default", "name": "svc", "path": "/p"});
    configure(&server, &json!({"service": service}));
    let kube::Error::Api(refused) = create(&server).await.unwrap_err() else { panic!("no answer") };
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            500,
            "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook: Post \
             \"https://svc.default.svc:443/p?timeout=10s\": service \"svc\" not found"
        )
    );
}
