//! Conversion webhooks over HTTPS. What they are held to is what a real server of 1.36 answered to the same requests.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use fake_apiserver::face::tls::Identity;
use fake_apiserver::request::{PatchType, Request};
use fake_apiserver::response::Reply;
use fake_apiserver::status::Status;
use fake_apiserver::{Config, Server};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const GROUP: &str = "conv.example.org";

/// `host: name:port` of v1 is `hostname` and `port` of v2; a host that is named `bad` cannot be converted.
fn converted(object: &Value, wanted: &str) -> Option<Value> {
    let mut object = object.clone();
    let spec = object["spec"].as_object_mut()?;
    if wanted.ends_with("v2") {
        let host = spec.remove("host")?.as_str()?.to_owned();
        let (name, port) = host.split_once(':').unwrap_or((&host, "1"));
        spec.insert("hostname".into(), json!(name));
        spec.insert("port".into(), json!(port.parse::<u16>().ok()?));
        (name != "bad").then_some(())?;
    } else {
        let (name, port) = (spec.remove("hostname")?, spec.remove("port")?);
        spec.insert("host".into(), json!(format!("{}:{port}", name.as_str()?)));
    }
    object["apiVersion"] = json!(wanted);
    object["metadata"]["annotations"] = json!({"converted": "yes"});
    object["metadata"]["finalizers"] = json!(["example.org/not-kept"]);
    Some(object)
}

fn answer(body: &[u8]) -> Vec<u8> {
    let review: Value = serde_json::from_slice(body).unwrap();
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap();
    let objects = request["objects"].as_array().unwrap();
    assert!(objects.iter().all(|object| object["metadata"]["resourceVersion"].is_null()));
    let all: Option<Vec<Value>> = objects.iter().map(|object| converted(object, wanted)).collect();
    let result = match &all {
        Some(_) => json!({"status": "Success"}),
        None => json!({"status": "Failed", "message": "cannot convert bad"}),
    };
    let response = json!({"uid": request["uid"], "convertedObjects": all, "result": result});
    let review =
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
    review.to_string().into_bytes()
}

/// The `clientConfig` of a webhook that converts.
async fn webhook() -> Value {
    let identity = Identity::new(&[IpAddr::from(Ipv4Addr::LOCALHOST)]).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://{}/convert", listener.local_addr().unwrap());
    let acceptor = identity.acceptor().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(answer(&body)))))
            });
            let serving = hyper::server::conn::http1::Builder::new();
            let _ = serving.serve_connection(TokioIo::new(stream), service).await;
        }
    });
    json!({"url": url, "caBundle": BASE64.encode(identity.authority)})
}

/// A server that keeps `hosts` in v2 and serves them in v1 too.
fn server(client: &Value) -> Server {
    let version = |name: &str, storage: bool, properties: Value| {
        let spec = json!({"type": "object", "properties": properties});
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": spec}}}})
    };
    let versions = [
        version("v1", false, json!({"host": {"type": "string"}})),
        version("v2", true, json!({"hostname": {"type": "string"}, "port": {"type": "integer"}})),
    ];
    let webhook = json!({"conversionReviewVersions": ["v1"], "clientConfig": client});
    let spec = json!({"group": GROUP, "scope": "Namespaced", "names": {"kind": "Host", "plural": "hosts"},
        "versions": versions, "conversion": {"strategy": "Webhook", "webhook": webhook}});
    let definition = json!({"metadata": {"name": format!("hosts.{GROUP}")}, "spec": spec});
    let server = Server::new(Config::default());
    let group = "apiextensions.k8s.io/v1";
    server.request(&Request::create(group, "customresourcedefinitions", definition)).unwrap();
    server
}

fn version(name: &str) -> String {
    format!("{GROUP}/{name}")
}

fn host(spec: &Value) -> Request {
    let body = json!({"apiVersion": version("v1"), "kind": "Host", "metadata": {"name": "x", "namespace": "default"},
        "spec": spec});
    Request::create(&version("v1"), "hosts", body)
}

fn named(request: Request) -> Request {
    request.namespace("default").name("x")
}

async fn ask(server: &Server, request: &Request) -> Result<Value, Status> {
    Ok(match server.ask(request).await?.reply {
        Reply::Object(object) => object.value(),
        Reply::Value(value) => value,
        Reply::List(list) => Value::Array(list.items.iter().map(|object| object.value()).collect()),
        other => panic!("{other:?}"),
    })
}

#[tokio::test]
async fn an_object_is_kept_in_one_version_and_served_in_both() {
    let server = server(&webhook().await);
    let made = ask(&server, &host(&json!({"host": "a:8"}))).await.unwrap();
    assert_eq!((&made["apiVersion"], &made["spec"]), (&json!(version("v1")), &json!({"host": "a:8"})));
    let kept = ask(&server, &named(Request::get(&version("v2"), "hosts"))).await.unwrap();
    assert_eq!(
        (&kept["apiVersion"], &kept["spec"]),
        (&json!(version("v2")), &json!({"hostname": "a", "port": 8}))
    );
    assert_eq!(kept["metadata"]["annotations"], json!({"converted": "yes"}));
    assert_eq!(
        kept["metadata"]["finalizers"],
        Value::Null,
        "only labels and annotations are a webhook's to change"
    );
    let change = Request::patch(PatchType::Merge, &version("v1"), "hosts", json!({"spec": {"host": "b:9"}}));
    assert_eq!(ask(&server, &named(change)).await.unwrap()["spec"], json!({"host": "b:9"}));
    let listed = ask(&server, &Request::list(&version("v1"), "hosts").namespace("default")).await.unwrap();
    assert_eq!(listed[0]["spec"], json!({"host": "b:9"}));
    ask(&server, &named(Request::delete(&version("v1"), "hosts"))).await.unwrap();
    assert_eq!(ask(&server, &named(Request::get(&version("v1"), "hosts"))).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn a_watch_shows_objects_in_its_version() {
    let server = server(&webhook().await);
    let follow = Request::watch(&version("v1"), "hosts").namespace("default");
    let Reply::Watch(watch) = server.ask(&follow).await.unwrap().reply else { panic!("no watch") };
    let mut events = server.watch(watch);
    let body = json!({"apiVersion": version("v2"), "kind": "Host", "metadata": {"name": "x", "namespace": "default"},
        "spec": {"hostname": "a", "port": 8}});
    ask(&server, &Request::create(&version("v2"), "hosts", body)).await.unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!((event.kind.as_str(), &event.object.value()["spec"]), ("ADDED", &json!({"host": "a:8"})));
}

#[tokio::test]
async fn who_owns_fields_of_another_version_is_asked_in_that() {
    let server = server(&webhook().await);
    ask(&server, &host(&json!({"host": "a:8"})).manager("red")).await.unwrap();
    let body = json!({"apiVersion": version("v2"), "kind": "Host", "metadata": {"name": "x", "namespace": "default"},
        "spec": {"hostname": "b", "port": 8}});
    let apply = Request::apply("blue", &version("v2"), "hosts", body);
    let refusal = ask(&server, &apply).await.unwrap_err();
    assert_eq!(refusal.details.causes[0].field, ".spec.host");
    assert_eq!(refusal.details.causes[0].message, format!("conflict with \"red\" using {GROUP}/v1"));
    assert_eq!(ask(&server, &apply.force()).await.unwrap()["spec"]["hostname"], "b");
}

#[tokio::test]
async fn what_cannot_be_converted_is_refused_and_nothing_is_stored() {
    let hook = webhook().await;
    let server = server(&hook);
    let refusal = ask(&server, &host(&json!({"host": "bad:1"}))).await.unwrap_err();
    let why = format!("conversion webhook for {GROUP}/v1, Kind=Host failed: cannot convert bad");
    assert_eq!((refusal.code, refusal.reason, refusal.message), (500, "", why));
    assert_eq!(ask(&server, &named(Request::get(&version("v2"), "hosts"))).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn a_webhook_that_is_not_there_is_said() {
    let server = server(&json!({"url": "https://127.0.0.1:1/convert"}));
    let refusal = ask(&server, &host(&json!({"host": "a:1"}))).await.unwrap_err();
    let why = format!(
        "conversion webhook for {GROUP}/v1, Kind=Host failed: Post \"https://127.0.0.1:1/convert?timeout=30s\": dial tcp \
         127.0.0.1:1: connect: connection refused"
    );
    assert_eq!((refusal.code, refusal.message), (500, why));
}
