//! Tokens of service accounts: what they say, and when they stop being good.

use fake_apiserver::request::Request;
use fake_apiserver::server::{Config, ISSUER, TokenKey};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{Cluster, pod};

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.ok(&account("sa"));
    cluster
}

fn account(name: &str) -> Request {
    Request::create("v1", "serviceaccounts", json!({"metadata": {"name": name, "namespace": "default"}}))
}

fn token_request(spec: Value) -> Request {
    Request::create("v1", "serviceaccounts", json!({"spec": spec}))
        .namespace("default")
        .name("sa")
        .subresource("token")
}

fn token(cluster: &mut Cluster, spec: Value) -> String {
    cluster.ok(&token_request(spec))["status"]["token"].as_str().unwrap().to_owned()
}

fn review(cluster: &mut Cluster, spec: Value) -> Value {
    let review = Request::create("authentication.k8s.io/v1", "tokenreviews", json!({"spec": spec}));
    cluster.ok(&review)["status"].clone()
}

fn is_good(cluster: &mut Cluster, token: &str) -> bool {
    review(cluster, json!({"token": token}))["authenticated"] == true
}

#[test]
fn a_token_names_its_account_and_for_whom_it_is() {
    let mut cluster = cluster();
    let made = cluster.ok(&token_request(json!({})));
    assert_eq!(made["spec"]["expirationSeconds"], 3600);
    assert_eq!(made["spec"]["audiences"], json!([ISSUER]));
    assert_eq!(made["status"]["expirationTimestamp"], "2026-01-01T01:00:00Z");
    let status = review(&mut cluster, json!({"token": made["status"]["token"]}));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:sa");
    assert_eq!(
        status["user"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert_eq!(status["user"]["uid"], made["metadata"]["uid"]);
    assert_eq!(status["audiences"], json!([ISSUER]));
    let elsewhere = token(&mut cluster, json!({"audiences": ["vault"]}));
    assert_eq!(
        review(&mut cluster, json!({"token": elsewhere}))["error"],
        format!(
            "[invalid bearer token, token audiences [\"vault\"] is invalid for the target audiences [{ISSUER:?}]]"
        )
    );
    assert_eq!(
        review(&mut cluster, json!({"token": elsewhere, "audiences": ["vault"]}))["authenticated"],
        true
    );
}

#[test]
fn a_token_ends_with_its_time() {
    let mut cluster = cluster();
    let token = token(&mut cluster, json!({"expirationSeconds": 600}));
    cluster.now += SignedDuration::from_secs(599);
    assert!(is_good(&mut cluster, &token));
    cluster.now += SignedDuration::from_secs(62);
    let status = review(&mut cluster, json!({"token": token}));
    assert_eq!(status["error"], "[invalid bearer token, service account token has expired]");
}

#[test]
fn a_pods_token_ends_with_the_pod_and_its_volumes_token_lives_long() {
    let mut cluster = cluster();
    let mut own = pod("p");
    own["spec"]["serviceAccountName"] = json!("sa");
    let made = cluster.ok(&Request::create("v1", "pods", own.clone()));
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["metadata"]["uid"]});
    let projected = token(&mut cluster, json!({"expirationSeconds": 3607, "boundObjectRef": bound}));
    let status = review(&mut cluster, json!({"token": projected}));
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    cluster.now += SignedDuration::from_hours(24);
    assert!(is_good(&mut cluster, &projected), "good for a year, as programs that do not read it again need");
    cluster.ok(&Request::delete("v1", "pods").namespace("default").name("p"));
    let gone = "[invalid bearer token, service account token has been invalidated]";
    assert_eq!(review(&mut cluster, json!({"token": projected}))["error"], gone);
    cluster.ok(&Request::create("v1", "pods", own));
    assert!(!is_good(&mut cluster, &projected), "another pod of the name is not this pod");
}

#[test]
fn a_token_ends_with_its_account_and_a_new_account_is_another() {
    let mut cluster = cluster();
    let token = token(&mut cluster, json!({}));
    cluster.ok(&Request::delete("v1", "serviceaccounts").namespace("default").name("sa"));
    assert!(!is_good(&mut cluster, &token));
    cluster.ok(&account("sa"));
    assert!(!is_good(&mut cluster, &token));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut cluster = cluster();
    cluster.ok(&Request::create("v1", "pods", pod("p")));
    let bound = |kind: &str, name: &str, uid: &str| {
        token_request(json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}}))
    };
    let codes = [
        token_request(json!({"expirationSeconds": 10})),
        token_request(json!({})).name("nobody"),
        bound("Pod", "p", ""),
        bound("Pod", "q", ""),
        bound("ConfigMap", "q", ""),
    ]
    .map(|request| cluster.refusal(&request).code);
    assert_eq!(codes, [422, 404, 400, 404, 400]);
}

#[test]
fn a_server_with_another_key_takes_no_tokens_of_this_one() {
    let token = token(&mut cluster(), json!({}));
    let mut other = Cluster::with(Config { token_key: TokenKey::from_seed([1; 32]), ..Config::default() });
    other.ok(&account("sa"));
    assert!(!is_good(&mut other, &token));
    assert!(is_good(&mut cluster(), &token), "the same history gives the same tokens");
}
