//! The client against a scheduler of a few lines: every way in which it can fail to answer. What a real scheduler answers is
//! told in `operator/tests/contract`.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::frame::Decoder;
use super::*;
use crate::scheduler::TlsSecret;

const ALICE: &str = "tcp://10.0.0.1:40001";
const BOB: &str = "tcp://10.0.0.2:40001";

/// A scheduler that answers each operation so; an operation that is not named is not answered.
async fn mk_scheduler(answers: Vec<(&'static str, Value)>) -> SchedulerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = mk_address(listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answers.clone()));
        }
    });
    at
}

async fn serve(mut stream: TcpStream, answers: Vec<(&'static str, Value)>) -> Option<()> {
    let mut decoder = Decoder::new(1 << 20);
    send(&mut stream, &message::Handshake::ours()).await?;
    let _: message::Handshake = receive(&mut stream, &mut decoder).await?;
    loop {
        let request: Value = receive(&mut stream, &mut decoder).await?;
        if let Some((_, answer)) = answers.iter().find(|(op, _)| request["op"] == *op) {
            send(&mut stream, answer).await?;
        }
    }
}

async fn send<T: serde::Serialize>(stream: &mut TcpStream, value: &T) -> Option<()> {
    stream.write_all(&frame::encode(&message::pack(value).ok()?)).await.ok()
}

async fn receive<T: DeserializeOwned>(stream: &mut TcpStream, decoder: &mut Decoder) -> Option<T> {
    loop {
        if let Some(message) = decoder.message().ok()? {
            return message::unpack(&message.head).ok();
        }
        if stream.read_buf(decoder.buffer()).await.ok()? == 0 {
            return None;
        }
    }
}

fn mk_address(comm_port: u16) -> SchedulerAddress {
    SchedulerAddress {
        host: "127.0.0.1".into(),
        comm_port,
        http_port: None,
        service: "ns/ex".into(),
        tls: None,
    }
}

fn mk_comm() -> CommScheduler {
    CommScheduler::new(None)
}

/// Something that is no scheduler and says these bytes to whoever comes.
async fn mk_other(words: &'static [u8]) -> SchedulerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = mk_address(listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(words).await;
            // Closing with bytes unread would reset the connection, and what was said with it.
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    at
}

fn identity(status: &str) -> Value {
    json!({"type": "Scheduler", "id": "Scheduler-1", "workers": {
        ALICE: {"name": "a", "status": status, "last_seen": 2.0, "metrics": {"task_counts": {"executing": 3}}},
    }})
}

#[tokio::test]
async fn tasks_of_a_worker_that_is_being_retired_are_counted_by_the_scheduler() {
    let processing = json!({ALICE: ["x", ["tuple", 0, 1]]});
    let at =
        mk_scheduler(vec![("identity", identity("closing_gracefully")), ("processing", processing)]).await;
    let snapshot = mk_comm().snapshot(&at).await.unwrap();
    let alice = &snapshot.workers[ALICE];
    assert_eq!((alice.tasks, alice.running), (Some(2), Some(3)));
    let gone = json!({"status": "uncaught-error", "exception_text": "KeyError('x')"});
    let at = mk_scheduler(vec![("identity", identity("closing_gracefully")), ("processing", gone)]).await;
    assert_eq!(mk_comm().snapshot(&at).await.unwrap().workers[ALICE].tasks, None, "another one has gone");
}

#[tokio::test]
async fn only_confirmed_workers_are_retired() {
    let answer = json!({BOB: {"name": "b"}, "tcp://somebody:1": {"name": "else"}});
    let at = mk_scheduler(vec![("retire_workers", answer)]).await;
    let retired = mk_comm().retire(&at, &[ALICE.into(), BOB.into()], Retire::Begin).await.unwrap();
    assert_eq!(retired.into_iter().collect::<Vec<_>>(), [BOB]);
}

#[tokio::test]
async fn retiring_nobody_asks_nothing() {
    assert!(mk_comm().retire(&mk_address(1), &[], Retire::Finish).await.unwrap().is_empty());
}

#[tokio::test]
async fn nil_means_busy_where_a_time_is_asked_for() {
    let at = mk_scheduler(vec![("check_idle", Value::Null)]).await;
    assert_eq!(mk_comm().idle_since(&at).await.unwrap(), None);
    let at = mk_scheduler(vec![("check_idle", json!(1_763_683_200.25))]).await;
    let since = mk_comm().idle_since(&at).await.unwrap();
    assert_eq!(since, Some("2025-11-21T00:00:00.25Z".parse().unwrap()));
}

#[tokio::test]
async fn nil_means_an_unknown_operation_elsewhere_and_the_version_is_named() {
    let versions = json!({"host": {}, "packages": {"distributed": "2021.1.0", "numpy": null}});
    let at = mk_scheduler(vec![("adaptive_target", Value::Null), ("versions", versions)]).await;
    let error = mk_comm().desired_workers(&at).await.unwrap_err();
    assert_eq!(error.reason(), "UnsupportedVersion");
    assert!(error.to_string().contains("distributed 2021.1.0"), "{error}");
}

#[tokio::test]
async fn a_handler_that_fails_is_told_with_its_own_words() {
    let answer = json!({"status": "uncaught-error", "exception_text": "ValueError('no')", "exception": {"__Pickled__": 1}});
    let at = mk_scheduler(vec![("identity", answer)]).await;
    let error = mk_comm().snapshot(&at).await.unwrap_err();
    assert!(
        matches!(error, SchedulerError::Failed { .. }) && error.to_string().contains("ValueError('no')"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_scheduler_is_recognised() {
    for (words, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "not a Dask scheduler"),
        (b"\x15\x03\x03\x00\x02\x02\x46\x00", "it speaks TLS"),
        (b"\x11\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\xc0________", "2023.9"),
    ] {
        let error = mk_comm().snapshot(&mk_other(words).await).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.reason(), "NotDask");
    }
}

#[tokio::test]
async fn a_refused_connection_is_told() {
    // Bound and dropped: a port where nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = mk_comm().snapshot(&mk_address(port)).await.unwrap_err();
    assert_eq!(error.reason(), "Unreachable");
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_that_hangs_is_given_up_on() {
    // Accepts (the kernel does) and never answers; with time paused the limit passes at once.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = mk_address(listener.local_addr().unwrap().port());
    let error = mk_comm().desired_workers(&at).await.unwrap_err();
    assert!(matches!(error, SchedulerError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn without_its_secret_a_cluster_with_tls_is_not_asked() {
    let tls = Some(TlsSecret { namespace: "ns".into(), name: "certificates".into() });
    let error = mk_comm().snapshot(&SchedulerAddress { tls, ..mk_address(1) }).await.unwrap_err();
    assert_eq!(error.reason(), "TlsSecret");
    assert!(error.to_string().contains("ns/certificates"), "{error}");
}
