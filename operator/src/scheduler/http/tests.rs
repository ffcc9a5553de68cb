//! Every question, and every way in which a scheduler can fail to answer it.

use serde_json::json;
use wiremock::matchers::{body_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const ALICE: &str = "tcp://10.0.0.1:40001";
const BOB: &str = "tcp://10.0.0.2:40001";

/// A scheduler that answers these paths and nothing else.
async fn mk_scheduler(answers: &[(&str, ResponseTemplate)]) -> (MockServer, SchedulerAddress) {
    let server = MockServer::start().await;
    for (at, answer) in answers {
        Mock::given(path(*at)).respond_with(answer.clone()).mount(&server).await;
    }
    let address = mk_address(server.address().port());
    (server, address)
}

fn mk_address(http_port: u16) -> SchedulerAddress {
    SchedulerAddress {
        host: "127.0.0.1".into(),
        comm_port: 8786,
        http_port: Some(http_port),
        service: "ns/ex".into(),
        tls: None,
    }
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn two_workers() -> ResponseTemplate {
    ok(&json!({"num_workers": 2, "workers": [{"name": "a", "address": ALICE}, {"name": 7, "address": BOB}]}))
}

/// What asking for a snapshot comes to, when `get_workers` is answered so.
async fn check_fault(answer: ResponseTemplate, expected: &str) {
    let (_server, at) = mk_scheduler(&[("/api/v1/get_workers", answer)]).await;
    let error = HttpScheduler::new().snapshot(&at).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{error} does not say {expected:?}");
}

#[tokio::test]
async fn workers_are_listed_with_the_names_they_registered() {
    let counts = ok(&json!({"bytes": 12, "processing": 0}));
    let (_server, at) =
        mk_scheduler(&[("/api/v1/get_workers", two_workers()), ("/json/counts.json", counts)]).await;
    let snapshot = HttpScheduler::new().snapshot(&at).await.unwrap();
    let names: Vec<_> =
        snapshot.workers.iter().map(|(address, worker)| (address.as_str(), &*worker.name)).collect();
    assert_eq!(names, [(ALICE, "a"), (BOB, "7")]);
    let alice = &snapshot.workers[ALICE];
    assert_eq!(
        (alice.tasks, alice.stored_bytes),
        (Some(0), None),
        "nobody runs a task; who holds the data is not said"
    );
}

#[tokio::test]
async fn only_confirmed_workers_are_retired() {
    let (server, at) = mk_scheduler(&[]).await;
    Mock::given(method("POST"))
        .and(path("/api/v1/retire_workers"))
        .and(body_json(json!({"workers": [ALICE, BOB]})))
        .respond_with(ok(&json!({BOB: {"name": "b"}, "tcp://somebody:1": {"name": "else"}})))
        .mount(&server)
        .await;
    let retired =
        HttpScheduler::new().retire(&at, &[ALICE.into(), BOB.into()], Retire::Finish).await.unwrap();
    assert_eq!(retired.into_iter().collect::<Vec<_>>(), [BOB]);
    // Nothing is asked to begin what cannot be begun apart.
    assert!(HttpScheduler::new().retire(&at, &[ALICE.into()], Retire::Begin).await.unwrap().is_empty());
}

#[tokio::test]
async fn retiring_nobody_asks_nothing() {
    let nobody_listens = mk_address(1);
    assert!(HttpScheduler::new().retire(&nobody_listens, &[], Retire::Finish).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_wanted_number_is_read() {
    let (_server, at) = mk_scheduler(&[("/api/v1/adaptive_target", ok(&json!({"workers": 5})))]).await;
    assert_eq!(HttpScheduler::new().desired_workers(&at).await.unwrap(), 5);
}

#[tokio::test]
async fn idle_since_is_null_while_busy() {
    for (answer, expected) in [
        (json!({"idle_since": null}), None),
        (json!({"idle_since": 1_763_683_200.25}), Some("2025-11-21T00:00:00.25Z".parse().unwrap())),
    ] {
        let (_server, at) = mk_scheduler(&[("/api/v1/check_idle", ok(&answer))]).await;
        assert_eq!(HttpScheduler::new().idle_since(&at).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_api_that_is_off_says_how_to_switch_it_on() {
    let (_server, at) = mk_scheduler(&[]).await;
    assert!(!HttpScheduler::new().serves_api(&at).await.unwrap());
    let error = HttpScheduler::new().idle_since(&at).await.unwrap_err();
    assert!(matches!(error, SchedulerError::HttpApiOff { .. }), "{error}");
    assert!(error.to_string().contains("distributed.http.scheduler.api"), "{error}");
}

#[tokio::test]
async fn an_api_that_is_on_is_recognised_by_its_text() {
    let (_server, at) =
        mk_scheduler(&[("/api/v1", ResponseTemplate::new(200).set_body_string("API V1"))]).await;
    assert!(HttpScheduler::new().serves_api(&at).await.unwrap());
}

#[tokio::test]
async fn a_failure_is_told_with_its_own_words() {
    let answer = ResponseTemplate::new(500).set_body_json(json!({"Error": "Internal Server Error"}));
    check_fault(answer, "500").await;
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_refused() {
    check_fault(ResponseTemplate::new(200).set_body_string("<html>hello"), "<html>hello").await;
}

#[tokio::test]
async fn an_answer_that_lacks_fields_is_refused() {
    let counts = ok(&json!({}));
    for answer in [json!({}), json!([]), json!({"workers": [{"name": "nobody"}]})] {
        let answers = [("/api/v1/get_workers", ok(&answer)), ("/json/counts.json", counts.clone())];
        let (_server, at) = mk_scheduler(&answers).await;
        let error = HttpScheduler::new().snapshot(&at).await.unwrap_err();
        assert!(matches!(error, SchedulerError::Garbled { .. }), "{answer}: {error}");
    }
    let (_server, at) = mk_scheduler(&[("/api/v1/adaptive_target", ok(&json!({"workers": -1})))]).await;
    assert!(HttpScheduler::new().desired_workers(&at).await.is_err());
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let answer = ResponseTemplate::new(200).set_body_bytes(vec![b' '; client::BODY_BYTES_MAX + 1]);
    check_fault(answer, "more than").await;
}

#[tokio::test]
async fn a_refused_connection_is_told() {
    // Bound and dropped: a port where nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = HttpScheduler::new().snapshot(&mk_address(port)).await.unwrap_err();
    assert!(matches!(error, SchedulerError::Unreachable { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_hangs_is_given_up_on() {
    // Accepts (the kernel does) and never answers; with time paused the limit passes at once.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = mk_address(listener.local_addr().unwrap().port());
    let error = HttpScheduler::new().desired_workers(&at).await.unwrap_err();
    assert!(matches!(error, SchedulerError::TimedOut { .. } | SchedulerError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_service_without_an_http_port_is_named() {
    let at = SchedulerAddress { http_port: None, ..mk_address(0) };
    let error = HttpScheduler::new().snapshot(&at).await.unwrap_err();
    assert!(error.to_string().contains("ns/ex"), "{error}");
}
