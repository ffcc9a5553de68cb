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
    assert_eq!(snapshot.by_name("7").map(|(address, _)| address), Some(BOB));
    let alice = &snapshot.workers[ALICE];
    assert_eq!(
        (alice.tasks, alice.stored_bytes),
        (Some(0), None),
        "nobody runs a task; who holds the data is not said"
    );
}

#[tokio::test]
async fn without_the_api_workers_are_read_from_the_identity() {
    let identity = ok(&json!({"type": "Scheduler", "workers": {ALICE: {
        "name": "a", "status": "paused",
        "metrics": {"managed_bytes": 100, "spilled_bytes": {"memory": 20, "disk": 9}},
    }}}));
    let (_server, at) = mk_scheduler(&[("/json/identity.json", identity)]).await;
    let snapshot = HttpScheduler::new().snapshot(&at).await.unwrap();
    let expected =
        Worker { name: "a".into(), stored_bytes: Some(120), tasks: None, status: WorkerStatus::Paused };
    assert_eq!(snapshot.workers.into_iter().collect::<Vec<_>>(), [(ALICE.to_owned(), expected)]);
}

#[tokio::test]
async fn an_identity_that_fails_means_that_the_api_is_off() {
    let busy = ResponseTemplate::new(500).set_body_string("keys must be str");
    let (_server, address) = mk_scheduler(&[("/json/identity.json", busy)]).await;
    let error = HttpScheduler::new().snapshot(&address).await.unwrap_err();
    assert!(matches!(error, SchedulerError::HttpApiOff { .. }), "{error}");
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
    let retired = HttpScheduler::new().retire(&at, &[ALICE.into(), BOB.into()]).await.unwrap();
    assert_eq!(retired.into_iter().collect::<Vec<_>>(), [BOB]);
}

#[tokio::test]
async fn retiring_nobody_asks_nothing() {
    let nobody_listens = mk_address(1);
    assert!(HttpScheduler::new().retire(&nobody_listens, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_wanted_number_is_had_with_and_without_the_api() {
    let target = ("/api/v1/adaptive_target", ok(&json!({"workers": 5})));
    let counts = ("/json/counts.json", ok(&json!({"desired_workers": 3})));
    for (answers, expected) in [(vec![target, counts.clone()], 5), (vec![counts], 3)] {
        let (_server, at) = mk_scheduler(&answers).await;
        assert_eq!(HttpScheduler::new().desired_workers(&at).await.unwrap(), expected);
    }
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
    let error = HttpScheduler::new().idle_since(&at).await.unwrap_err();
    assert!(matches!(error, SchedulerError::HttpApiOff { .. }), "{error}");
    assert!(error.to_string().contains("distributed.http.scheduler.api"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_failure_is_told_with_its_own_words() {
    let answer = ResponseTemplate::new(500).set_body_json(json!({"Error": "Internal Server Error"}));
    check_fault(answer, "answered 500").await;
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
async fn a_refused_connection_is_transient() {
    // Bound and dropped: a port where nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = HttpScheduler::new().snapshot(&mk_address(port)).await.unwrap_err();
    assert!(matches!(error, SchedulerError::Unreachable { .. }), "{error}");
    assert!(error.is_transient());
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
