//! Requests as they are on the wire, through the tower service.

use bytes::Bytes;
use fake_apiserver::Server;
use fake_apiserver::face::{HttpService, ResponseBody};
use fake_apiserver::server::Config;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::server;

async fn send(
    service: &HttpService,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.clone().oneshot(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

async fn json_of(response: Response<ResponseBody>) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

async fn get(path: &str, accept: &str) -> Response<ResponseBody> {
    send(&server().service(), "GET", path, &[("accept", accept)], "").await
}

#[tokio::test]
async fn version_and_health_are_open_and_tolerate_a_trailing_slash() {
    assert_eq!(json_of(get("/version/", "").await).await["major"], "1");
    for path in ["/healthz", "/livez", "/readyz"] {
        let body = get(path, "").await.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "ok");
    }
    let verbose = get("/readyz?verbose", "").await.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&verbose).contains("[+]ping ok"));
}

#[tokio::test]
async fn unknown_paths_media_types_and_methods_are_refused_with_a_status() {
    let service = server().service();
    for (method, path, header, code) in [
        ("GET", "/apis/apps/v9/things", ("accept", ""), 404),
        ("GET", "/api/v1/namespaces/default/nothings", ("accept", ""), 404),
        ("GET", "/api/v1/pods", ("accept", "text/html"), 406),
        ("POST", "/version", ("accept", ""), 405),
        ("POST", "/api/v1/namespaces/default/configmaps", ("content-type", "text/plain"), 415),
        ("PATCH", "/api/v1/namespaces/default/configmaps/x", ("content-type", "application/json"), 415),
    ] {
        let response = send(&service, method, path, &[header], "{}").await;
        assert_eq!(response.status().as_u16(), code, "{method} {path}");
        let status = json_of(response).await;
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)), "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_no_api_is_refused_by_the_router_in_plain_text() {
    for path in ["/nothing", "/healthz/nothing", "/apis/no.such.group", "/apis/no.such.group/v1/things"] {
        let response = get(path, "application/json").await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8", "{path}");
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "404 page not found\n",
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_body_over_three_mebibytes_is_refused() {
    let large = vec![b' '; fake_apiserver::face::MAX_BODY_BYTES + 1];
    let path = "/api/v1/namespaces/default/configmaps";
    let response =
        send(&server().service(), "POST", path, &[("content-type", "application/json")], large).await;
    assert_eq!(response.status(), 413);
    assert_eq!(json_of(response).await["reason"], "RequestEntityTooLarge");
}

#[tokio::test]
async fn aggregated_discovery_has_the_exact_content_type_and_an_entity_tag() {
    // The last minor version that served v2beta1.
    let older = Config { minor: 35, ..Config::default() };
    for (version, service) in [("v2", server().service()), ("v2beta1", Server::new(older).service())] {
        let wanted = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let response = send(&service, "GET", "/apis", &[("accept", &wanted)], "").await;
        assert_eq!(response.headers()["content-type"], wanted);
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(json_of(response).await["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        let again = send(&service, "GET", "/apis", &[("accept", &wanted), ("if-none-match", &tag)], "").await;
        assert_eq!(again.status(), 304);
    }
}

#[tokio::test]
async fn bodies_may_be_yaml_and_answers_too() {
    let service = server().service();
    let path = "/api/v1/namespaces/default/configmaps";
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: conf\ndata:\n  key: value\n";
    let response = send(&service, "POST", path, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(response.status(), 201);
    let response =
        send(&service, "GET", &format!("{path}/conf"), &[("accept", "application/yaml")], "").await;
    assert_eq!(response.headers()["content-type"], "application/yaml");
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("key: value"));
}

#[tokio::test]
async fn tables_and_metadata_are_answered_where_asked_for() {
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let answer = json_of(get("/api/v1/namespaces", table).await).await;
    assert_eq!(answer["kind"], "Table");
    assert_eq!(answer["rows"][0]["cells"][0], "default");
    let slim = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let answer = json_of(get("/api/v1/namespaces", slim).await).await;
    assert_eq!(answer["kind"], "PartialObjectMetadataList");
    assert_eq!(answer["items"][0].get("status"), None);
}

#[tokio::test]
async fn a_watch_is_one_line_for_each_event_and_tables_name_their_columns_once() {
    let service = server().service();
    let path = "/api/v1/namespaces?watch=1&timeoutSeconds=1";
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (accept, kind) in [("application/json", "Namespace"), (table, "Table")] {
        let body = send(&service, "GET", path, &[("accept", accept)], "").await.into_body();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.len() >= 4, "{text}");
        assert!(events.iter().all(|event| event["type"] == "ADDED" && event["object"]["kind"] == kind));
        assert_eq!(
            events.iter().filter(|event| event["object"]["columnDefinitions"].is_array()).count(),
            usize::from(kind == "Table")
        );
    }
}

#[tokio::test]
async fn unknown_fields_are_named_in_a_warning() {
    let service = server().service();
    let path = "/api/v1/namespaces/default/configmaps";
    let body = json!({"metadata": {"name": "conf"}, "dat": {}}).to_string();
    let response = send(&service, "POST", path, &[("content-type", "application/json")], body.clone()).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["warning"], r#"299 - "unknown field \"dat\"""#);
    let strict = format!("{path}?fieldValidation=Strict");
    let response = send(&service, "POST", &strict, &[("content-type", "application/json")], body).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_watch_that_fell_out_of_history_ends_with_an_error_event() {
    let server = server();
    let service = server.service();
    server.with(|api| api.compact(api.revision()));
    let response = send(&service, "GET", "/api/v1/namespaces?watch=1&resourceVersion=1", &[], "").await;
    assert_eq!(response.status(), 200);
    let event = json_of(response).await;
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
}

#[tokio::test]
async fn the_old_paths_of_watches_are_served() {
    let path = "/api/v1/watch/namespaces/default?timeoutSeconds=1";
    let event = json_of(send(&server().service(), "GET", path, &[], "").await).await;
    assert_eq!(event["object"]["metadata"]["name"], "default");
    // Elsewhere an object's path means the object, whatever the query says.
    let path = "/api/v1/namespaces/default?watch=1&timeoutSeconds=1";
    assert_eq!(json_of(send(&server().service(), "GET", path, &[], "").await).await["kind"], "Namespace");
}

/// So that a client whose watch ends knows where to go on.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_about_to_end_says_how_far_it_has_come() {
    use fake_apiserver::response::Reply;
    use futures::StreamExt as _;
    let server = Server::new(Config::default());
    let mut request = fake_apiserver::request::Request::watch("v1", "configmaps").namespace("default");
    request.params.timeout_seconds = Some(5);
    request.params.allow_watch_bookmarks = true;
    request.params.resource_version = Some(server.with(|api| api.revision()).to_string());
    let Reply::Watch(watch) = server.request(&request).unwrap().reply else { panic!("no watch") };
    let events: Vec<_> = server.watch(watch).collect().await;
    let kinds: Vec<&str> = events.iter().map(|event| event.as_ref().unwrap().kind.as_str()).collect();
    assert_eq!(kinds, ["BOOKMARK"]);
}

#[tokio::test]
async fn a_scale_is_a_table_of_its_own_columns() {
    let service = server().service();
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
    let body = json!({"metadata": {"name": "d"}, "spec": spec}).to_string();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    send(&service, "POST", deployments, &[("content-type", "application/json")], body).await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let response = send(&service, "GET", &format!("{deployments}/d/scale"), &table, "").await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let table: Value = serde_json::from_slice(&body).unwrap();
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"][0], "d");
    assert_eq!(table["rows"][0]["cells"][1], 2);
}
