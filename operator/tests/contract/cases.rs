//! What the operator relies on, one case for each fact.

use std::convert::Infallible;
use std::sync::Arc;

use dask_operator::scheduler::comm::CommScheduler;
use dask_operator::scheduler::dask::DaskScheduler;
use dask_operator::scheduler::{
    Path, Retire, Scheduler, SchedulerAddress, SchedulerError, Snapshot, Worker, WorkerStatus,
};
use dask_operator::store::fake::FakeStore;
use dask_operator::store::{Store, StoreExt};
use fake_apiserver::Server;
use fake_apiserver::server::Config;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::Cluster;

type Case = for<'a> fn(&'a mut Cluster) -> LocalBoxFuture<'a, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[(&str, Case)] =
            &[$((stringify!($name), |cluster: &mut Cluster| $name(cluster).boxed_local())),*];
    };
}

cases![
    workers_tell_their_names_and_what_they_hold_and_run,
    a_task_that_runs_goes_on_while_its_worker_is_being_retired,
    a_task_that_was_not_begun_goes_elsewhere_when_its_worker_leaves,
    a_worker_whose_data_finds_no_place_is_kept_and_goes_on_working,
    workers_that_are_not_known_are_left_out,
    the_wanted_number_and_idleness_are_told,
    the_http_api_serves_where_it_is_on,
    tls_needs_the_secret_and_no_name,
    the_version_is_told,
    a_scheduler_that_is_suspended_is_late_and_has_lost_nothing_afterwards,
    an_answer_that_is_cut_off_is_an_error_and_the_question_may_be_asked_again,
];

fn comm() -> CommScheduler {
    CommScheduler::new(None)
}

async fn snapshot(at: &SchedulerAddress) -> Snapshot {
    comm().snapshot(at).await.expect("the scheduler tells of its workers")
}

async fn retire(at: &SchedulerAddress, workers: &[String], how: Retire) -> Vec<String> {
    comm().retire(at, workers, how).await.expect("the scheduler retires").into_iter().collect()
}

async fn workers_tell_their_names_and_what_they_hold_and_run(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("g-0"), json!("g-1"), json!(7)], &Value::Null);
    cluster.tell("hold", json!({"key": "held", "worker": "g-0", "size": 100_000}));
    cluster.tell("work", json!({"key": "run", "worker": "g-1"}));
    cluster.tell("give", json!({"key": "given", "worker": "g-1"}));
    cluster.tell("heartbeat", json!({}));
    let found = snapshot(&at).await;
    assert!(found.staged && found.id.is_some_and(|id| id.starts_with("Scheduler-")));
    assert_eq!(found.workers.len(), 3);
    let worker = |name: &str| -> &Worker { &found.workers[&cluster.address(name)] };
    assert_eq!([&worker("g-0").name, &worker("g-1").name, &worker("7").name], ["g-0", "g-1", "7"]);
    let bytes = worker("g-0").stored_bytes.expect("the bytes are told");
    assert!((100_000..101_000).contains(&bytes), "{bytes}");
    assert_eq!((worker("g-0").tasks, worker("g-0").running), (Some(0), Some(0)));
    assert_eq!((worker("g-1").tasks, worker("g-1").running), (Some(2), Some(1)));
    assert_eq!((worker("7").tasks, worker("7").stored_bytes), (Some(0), Some(0)));
    assert!(found.workers.values().all(|w| w.status == WorkerStatus::Running && w.heartbeat.is_some()));
    cluster.tell("stop", json!({}));
}

/// Retires worker `a`, which holds a result and runs a task, in its two halves.
async fn a_task_that_runs_goes_on_while_its_worker_is_being_retired(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("a"), json!("b")], &Value::Null);
    let alice = [cluster.address("a")];
    cluster.tell("hold", json!({"key": "held", "worker": "a", "size": 1000}));
    cluster.tell("work", json!({"key": "run", "worker": "a"}));
    assert_eq!(retire(&at, &alice, Retire::Begin).await, alice);
    let found = snapshot(&at).await;
    assert_eq!(found.workers[&alice[0]].status, WorkerStatus::Closing);
    assert_eq!(found.workers[&alice[0]].tasks, Some(1), "what it runs is known exactly");
    cluster.tell("let", json!({"key": "run"}));
    let found = snapshot(&at).await;
    assert_eq!(found.workers[&alice[0]].tasks, Some(0), "it has ended");
    assert_eq!(retire(&at, &alice, Retire::Finish).await, alice);
    assert!(!snapshot(&at).await.workers.contains_key(&alice[0]));
    assert_eq!(cluster.tell("results", json!({})), json!({"again": [], "right": true}));
    cluster.tell("stop", json!({}));
}

async fn a_task_that_was_not_begun_goes_elsewhere_when_its_worker_leaves(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("a"), json!("b")], &Value::Null);
    let alice = [cluster.address("a")];
    cluster.tell("work", json!({"key": "run", "worker": "a"}));
    cluster.tell("give", json!({"key": "given", "worker": "a"}));
    assert_eq!(retire(&at, &alice, Retire::Begin).await, alice);
    cluster.tell("let", json!({"key": "run"}));
    assert_eq!(retire(&at, &alice, Retire::Finish).await, alice);
    let results = cluster.tell("results", json!({}));
    assert!(results["right"] == true, "{results}");
    // The task that had begun was not begun again.
    assert!(!results["again"].as_array().expect("a list").contains(&json!("run")), "{results}");
    cluster.tell("stop", json!({}));
}

async fn a_worker_whose_data_finds_no_place_is_kept_and_goes_on_working(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("a"), json!("b")], &Value::Null);
    let both = [cluster.address("a"), cluster.address("b")];
    cluster.tell("hold", json!({"key": "held", "worker": "a", "size": 1000}));
    let retired = retire(&at, &both, Retire::Begin).await;
    assert_eq!(retired, [both[1].clone()], "b holds nothing; what a holds could only go to b");
    cluster.tell("hold", json!({"key": "more", "worker": "a", "size": 10}));
    assert_eq!(snapshot(&at).await.workers[&both[0]].status, WorkerStatus::Running);
    assert_eq!(cluster.tell("state", json!({"worker": "b"})), "closing_gracefully");
    assert_eq!(cluster.tell("results", json!({})), json!({"again": [], "right": true}));
    cluster.tell("stop", json!({}));
}

async fn workers_that_are_not_known_are_left_out(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("a")], &Value::Null);
    let asked = ["tcp://127.0.0.1:1".to_owned(), cluster.address("a")];
    for how in [Retire::Begin, Retire::Finish] {
        assert_eq!(retire(&at, &asked, how).await, asked[1..]);
    }
    assert!(retire(&at, &asked, Retire::Finish).await.is_empty(), "it has left");
    cluster.tell("stop", json!({}));
}

async fn the_wanted_number_and_idleness_are_told(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("a")], &Value::Null);
    cluster.tell("work", json!({"key": "run", "worker": "a"}));
    assert_eq!(comm().desired_workers(&at).await.expect("a number"), 1);
    assert_eq!(comm().idle_since(&at).await.expect("an answer"), None);
    cluster.tell("let", json!({"key": "run"}));
    cluster.tell("release", json!({}));
    // It looks every 250 ms, or when it is asked; the first look after a change finds the change.
    let since = loop {
        if let Some(since) = comm().idle_since(&at).await.expect("an answer") {
            break since;
        }
    };
    assert!(since <= jiff::Timestamp::now());
    assert_eq!(comm().desired_workers(&at).await.expect("a number"), 0);
    cluster.tell("stop", json!({}));
}

async fn the_http_api_serves_where_it_is_on(cluster: &mut Cluster) {
    for (on, path) in [(true, Path::Http), (false, Path::Comm)] {
        let at = cluster.start(&[json!("a"), json!("b")], &json!({"api": on}));
        let dask = DaskScheduler::new(None);
        assert_eq!(dask.path(&at), None);
        dask.desired_workers(&at).await.expect("a number");
        assert_eq!(dask.path(&at), Some(path));
        dask.idle_since(&at).await.expect("an answer");
        assert_eq!(dask.path(&at), Some(path));
        // Workers are known in full by either path, since the comm protocol can be had.
        assert!(dask.snapshot(&at).await.expect("workers").staged);
        // Where only the HTTP port is let through, the API alone must do.
        let alone = DaskScheduler::new(None);
        let closed = SchedulerAddress { comm_port: 1, ..at.clone() };
        let found = alone.snapshot(&closed).await;
        assert_eq!(found.is_ok(), on, "{found:?}");
        let alice = [cluster.address("a")];
        let retired = alone.retire(&closed, &alice, Retire::Finish).await;
        assert_eq!(retired.ok().map(|retired| retired.len()), on.then_some(1));
        assert_eq!(snapshot(&at).await.workers.contains_key(&alice[0]), !on);
        cluster.tell("stop", json!({}));
    }
}

async fn tls_needs_the_secret_and_no_name(cluster: &mut Cluster) {
    let folder = tempfile::tempdir().expect("a folder for certificates");
    let certificates = Certificates::new();
    let tls = certificates.write(folder.path());
    let at = cluster.start(&[json!("a")], &json!({"tls": tls}));
    let plain = SchedulerAddress { tls: None, ..at.clone() };
    let error = comm().snapshot(&plain).await.expect_err("it speaks TLS");
    assert!(matches!(error.reason(), "NotDask" | "Unreachable" | "TimedOut"), "{error}");
    let server = Server::new(Config::default());
    let store: Arc<dyn Store> = Arc::new(FakeStore::new(server));
    let missing =
        CommScheduler::new(Some(store.clone())).snapshot(&at).await.expect_err("there is no Secret");
    assert_eq!(missing.reason(), "TlsSecret");
    store.create_as(&certificates.secret(), "contract").await.expect("the Secret is accepted");
    let found = CommScheduler::new(Some(store.clone())).snapshot(&at).await.expect("the scheduler answers");
    assert_eq!(found.workers.len(), 1);
    // Somebody else's authority is not trusted, though its certificate names the same host.
    let mut others = Certificates::new().secret();
    others.metadata.name = Some("others".into());
    store.create_as(&others, "contract").await.expect("the Secret is accepted");
    let mut elsewhere = at.clone();
    elsewhere.tls.as_mut().expect("it has a Secret").name = "others".into();
    let error = CommScheduler::new(Some(store)).snapshot(&elsewhere).await.expect_err("it is not trusted");
    assert_eq!(error.reason(), "Unreachable", "{error}");
    cluster.tell("stop", json!({}));
}

async fn a_scheduler_that_is_suspended_is_late_and_has_lost_nothing_afterwards(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("a"), json!("b")], &Value::Null);
    let alice = [cluster.address("a")];
    cluster.tell("hold", json!({"key": "held", "worker": "a", "size": 1000}));
    cluster.signal("STOP");
    let asked = comm().retire(&at, &alice, Retire::Begin).await;
    cluster.signal("CONT");
    assert!(matches!(asked, Err(SchedulerError::TimedOut { .. })), "{asked:?}");
    // Whether it heard the question or not: asked again, it does what it is asked.
    assert_eq!(retire(&at, &alice, Retire::Begin).await, alice);
    assert_eq!(retire(&at, &alice, Retire::Finish).await, alice);
    assert_eq!(cluster.tell("results", json!({})), json!({"again": [], "right": true}));
    cluster.tell("stop", json!({}));
}

/// Wherever the answer ends: the scheduler has done what it was asked, and nobody knows.
async fn an_answer_that_is_cut_off_is_an_error_and_the_question_may_be_asked_again(cluster: &mut Cluster) {
    let at = cluster.start(&[json!("a"), json!("b")], &Value::Null);
    let alice = [cluster.address("a")];
    cluster.tell("hold", json!({"key": "held", "worker": "a", "size": 1000}));
    let mut whole = 0;
    for bytes in (0..).step_by(40) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let through =
            SchedulerAddress { comm_port: listener.local_addr().expect("an address").port(), ..at.clone() };
        let question = comm();
        let asked = tokio::select! {
            asked = question.retire(&through, &alice, Retire::Begin) => asked,
            never = cut(listener, at.comm_port, bytes) => match never {},
        };
        match asked {
            Ok(retired) => {
                assert!(retired.iter().eq(&alice));
                whole = bytes;
                break;
            }
            Err(error) => assert!(bytes < 2_000, "{error}"),
        }
    }
    assert!(whole > 40, "nothing was cut off");
    assert_eq!(retire(&at, &alice, Retire::Finish).await, alice);
    assert_eq!(cluster.tell("results", json!({})), json!({"again": [], "right": true}));
    cluster.tell("stop", json!({}));
}

/// Lets one connection through to this port, and so many bytes of what comes back; for as long as it is polled.
async fn cut(listener: TcpListener, port: u16, bytes: u64) -> Infallible {
    let (near, _) = listener.accept().await.expect("somebody connects");
    let far = TcpStream::connect(("127.0.0.1", port)).await.expect("the scheduler listens");
    let ((mut near_read, mut near_write), (far_read, mut far_write)) = (near.into_split(), far.into_split());
    let questions = tokio::io::copy(&mut near_read, &mut far_write);
    let answers = async {
        let _ = tokio::io::copy(&mut far_read.take(bytes), &mut near_write).await;
        near_write.shutdown().await
    };
    // Either end may be gone before the other: that is what is tried here.
    let _ = tokio::join!(questions, answers);
    std::future::pending().await
}

async fn the_version_is_told(cluster: &mut Cluster) {
    let at = cluster.start(&[], &Value::Null);
    assert_eq!(comm().version(&at).await.expect("a version"), cluster.version);
    cluster.tell("stop", json!({}));
}

/// An authority and what it issued for everybody in the cluster. No name in it is that of a host.
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority of a cluster");
        let authority = params.self_signed(&key).expect("an authority");
        let issuer = rcgen::Issuer::new(params, key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(["dask".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Self { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn write(&self, folder: &std::path::Path) -> Value {
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("a file can be written");
            path.to_string_lossy().into_owned()
        };
        json!({
            "ca": file("ca.crt", &self.authority),
            "cert": file("tls.crt", &self.certificate),
            "key": file("tls.key", &self.key),
        })
    }

    fn secret(&self) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some("certificates".into());
        secret.metadata.namespace = Some("default".into());
        let entry = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
        secret.data = Some(
            [
                entry("ca.crt", &self.authority),
                entry("tls.crt", &self.certificate),
                entry("tls.key", &self.key),
            ]
            .into(),
        );
        secret
    }
}
