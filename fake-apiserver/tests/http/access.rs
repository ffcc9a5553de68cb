//! Credentials, impersonation and roles over HTTP.

use bytes::Bytes;
use fake_apiserver::face::{Authentication, HttpService, Server};
use fake_apiserver::request::{Request as ApiRequest, User};
use fake_apiserver::server::Config;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;

fn server() -> Server {
    let server = Server::new(Config { rbac: true, ..Config::default() });
    let role = json!({"metadata": {"name": "pods", "namespace": "default"},
        "rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]});
    let binding = json!({"metadata": {"name": "pods", "namespace": "default"},
        "roleRef": {"kind": "Role", "name": "pods"},
        "subjects": [{"kind": "ServiceAccount", "name": "default"}, {"kind": "User", "name": "jane"}]});
    let group = "rbac.authorization.k8s.io/v1";
    server.request(&ApiRequest::create(group, "roles", role)).unwrap();
    server.request(&ApiRequest::create(group, "rolebindings", binding)).unwrap();
    server
}

fn service() -> HttpService {
    HttpService::new(server(), Some(Authentication::default().token("secret", User::default())))
}

async fn ask(service: &HttpService, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    send(service, "GET", path, headers, &Value::Null).await
}

async fn send(
    service: &HttpService,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let response: Response<_> =
        service.clone().oneshot(request.body(Full::new(body)).unwrap()).await.unwrap();
    let code = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const ADMIN: (&str, &str) = ("authorization", "Bearer secret");

#[tokio::test]
async fn without_credentials_only_public_paths_are_open() {
    let service = service();
    for path in ["/version", "/healthz", "/livez"] {
        assert_eq!(ask(&service, path, &[]).await.0, 200, "{path}");
    }
    let (code, status) = ask(&service, "/apis", &[]).await;
    assert_eq!(
        (code.as_u16(), status["message"].as_str().unwrap()),
        (403, "forbidden: User \"system:anonymous\" cannot get path \"/apis\"")
    );
    let (code, status) = ask(&service, PODS, &[]).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    assert_eq!(ask(&service, "/version", &[("authorization", "Bearer wrong")]).await.0, 401);
}

#[tokio::test]
async fn who_may_not_is_refused_before_the_body_is_looked_at() {
    let service = service();
    let jane = [ADMIN, ("impersonate-user", "jane"), ("content-type", "text/none")];
    assert_eq!(send(&service, "POST", PODS, &jane, &json!("no pod")).await.0, 403);
    assert_eq!(send(&service, "POST", PODS, &[ADMIN, jane[2]], &json!("no pod")).await.0, 415);
    assert_eq!(ask(&service, "/apis/nothing.io/v1/namespaces/default/things", &jane).await.0, 403);
    assert_eq!(ask(&service, "/apis/nothing.io/v1/namespaces/default/things", &[ADMIN]).await.0, 404);
}

#[tokio::test]
async fn an_account_may_what_its_roles_say() {
    let service = service();
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (code, made) = send(&service, "POST", path, &[ADMIN], &json!({})).await;
    assert_eq!(code, 201);
    let bearer = format!("Bearer {}", made["status"]["token"].as_str().unwrap());
    let account = [("authorization", bearer.as_str())];
    assert_eq!(ask(&service, PODS, &account).await.0, 200);
    assert_eq!(ask(&service, "/api/v1/namespaces/kube-system/pods", &account).await.0, 403);
    assert_eq!(ask(&service, "/apis", &account).await.0, 200);
    let jane = [account[0], ("impersonate-user", "jane")];
    let (code, status) = ask(&service, PODS, &jane).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "pods is forbidden: User \"system:serviceaccount:default:default\" cannot impersonate-on:user-info:list \
         resource \"pods\" in API group \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn an_administrator_may_be_anybody() {
    let service = service();
    let jane = [ADMIN, ("impersonate-user", "jane"), ("impersonate-group", "devs"), ("impersonate-uid", "7")];
    let me = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (code, review) = send(&service, "POST", me, &jane, &json!({})).await;
    assert_eq!(code, 201);
    assert_eq!(
        review["status"]["userInfo"],
        json!({"username": "jane", "uid": "7", "groups": ["devs", "system:authenticated"]})
    );
    assert_eq!(ask(&service, PODS, &jane).await.0, 200);
    assert_eq!(ask(&service, "/api/v1/pods", &jane).await.0, 403);
    assert_eq!(ask(&service, PODS, &[ADMIN, ("impersonate-group", "devs")]).await.0, 400);
}

#[tokio::test]
async fn keys_of_tokens_are_published() {
    let service = service();
    let (_, found) = ask(&service, "/.well-known/openid-configuration", &[ADMIN, ("host", "here")]).await;
    assert_eq!(found["jwks_uri"], "https://here/openid/v1/jwks");
    let (_, keys) = ask(&service, "/openid/v1/jwks", &[ADMIN]).await;
    assert_eq!(keys["keys"][0]["crv"], "Ed25519");
}
