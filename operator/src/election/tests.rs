//! Two operators on one API server, on paused time: whatever happens to them, never two of them write, and what is wanted
//! comes about as if there were one.

use std::sync::{Arc, Mutex, PoisonError};

use fake_apiserver::Server;
use fake_apiserver::request::{Request, Verb};
use fake_apiserver::response::Reply;
use fake_apiserver::server::{Clock as ServerClock, Config};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::api::crds;
use crate::metrics::Metrics;
use crate::names;
use crate::scheduler::scripted::ScriptedScheduler;
use crate::seed::Seed;
use crate::sim::{create, definitions, patch, story};
use crate::store::call::{Call, Verb as StoreVerb};
use crate::store::decorated::{Decorated, Decorator, Sent};
use crate::store::{FakeStore, RecordingStore, Result as StoreResult, WatchStream};

const START: &str = "2026-01-01T00:00:00Z";
const NAMESPACE: &str = "default";
const LEASE: &str = "dask";

/// The way from one operator to the API server, and the judge of what it sends.
#[derive(Default)]
struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    identity: String,
    server: Option<Server>,
    mode: Mode,
    /// Writes that took effect while another one held the Lease.
    late: Vec<String>,
}

/// What happens to requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Up,
    /// Each fails.
    Down,
    /// None is ever answered.
    Hangs,
    /// Each takes effect so many seconds later.
    Slow(u64),
    /// Each takes effect at once, and its answer is lost.
    Deaf,
}

impl Line {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn judge(&self, call: &Call) {
        self.with(|state| {
            let holder = state.server.as_ref().and_then(holder);
            if call.verb.writes() && call.kind != "Lease" && holder.as_ref() != Some(&state.identity) {
                state.late.push(format!("{call} of {} while {holder:?} holds the lease", state.identity));
            }
        });
    }
}

impl Decorator for Line {
    async fn call<T: Send>(
        &self,
        call: Call,
        _: Sent<'_>,
        run: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let lost = || {
            let object = crate::store::ObjectName { kind: call.kind.clone(), ..Default::default() };
            Err(StoreError::Transient { object, message: "no route".into(), retry_after: None })
        };
        match self.with(|state| state.mode) {
            Mode::Up => {}
            Mode::Down => return lost(),
            Mode::Hangs => return future::pending().await,
            Mode::Slow(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Mode::Deaf => {
                self.judge(&call);
                let _ = run.await;
                return lost();
            }
        }
        self.judge(&call);
        run.await
    }

    fn watch(&self, _: Call, events: WatchStream) -> WatchStream {
        events
    }
}

/// The world of a test.
struct Stage {
    server: Server,
    store: Arc<RecordingStore<FakeStore>>,
    _ticking: JoinHandle<()>,
}

struct Operator {
    line: Arc<Decorated<Line, Arc<RecordingStore<FakeStore>>>>,
    metrics: Metrics,
    health: Health,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Stage {
    fn new() -> Self {
        let start: Timestamp = START.parse().unwrap();
        let server = Server::new(Config { clock: ServerClock::Manual(start), ..Config::default() });
        for crd in crds() {
            server.request(&create(definitions::API_VERSION, definitions::PLURAL, None, &crd)).unwrap();
        }
        let cluster = story::cluster("ex", 3);
        server.request(&create(names::API_VERSION, "daskclusters", Some(NAMESPACE), &cluster)).unwrap();
        let ticked = server.clone();
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                ticked.advance(SignedDuration::from_millis(500));
            }
        });
        let store = Arc::new(RecordingStore::new(FakeStore::new(server.clone())));
        Self { server, store, _ticking: ticking }
    }

    /// Starts an operator whose clock is off by so much.
    fn start(&self, identity: &str, skew: SignedDuration) -> Operator {
        let line: Arc<Decorated<Line, _>> = Arc::new(Decorated::new(self.store.clone()));
        line.with(|state| {
            state.identity = identity.into();
            state.server = Some(self.server.clone());
        });
        let election = Election {
            lease: ObjectKey::namespaced(NAMESPACE, LEASE),
            identity: identity.into(),
            timing: Timing::default(),
        };
        let (metrics, health) = (Metrics::default(), Health::default());
        let clock = Clock::starting_at(self.server.now() + skew);
        let deps = Deps {
            seed: identity.len() as u64,
            health: health.clone(),
            metrics: metrics.clone(),
            ..Deps::new(line.clone(), Arc::new(ScriptedScheduler::new()), clock)
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let told = async {
                let _ = stopped.await;
            };
            lead(&election, &deps, told).await;
        });
        Operator { line, metrics, health, stop: Some(stop), running }
    }

    fn holder(&self) -> String {
        holder(&self.server).unwrap_or_default()
    }

    /// Waits until somebody else than the one given holds the Lease, and says how many tenths of a second that took.
    async fn next_holder(&self, but: &str) -> (String, u32) {
        for tenths in 0..1_000 {
            let holder = self.holder();
            if !holder.is_empty() && holder != but {
                return (holder, tenths);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nobody takes the lease");
    }

    fn scale(&self, replicas: u32) {
        let body = json!({"spec": {"worker": {"replicas": replicas}}});
        self.server.request(&patch(names::API_VERSION, "daskclusters", NAMESPACE, "ex", body)).unwrap();
    }

    /// What is wanted is there, made once: as many pods of workers were made as there are.
    fn judge(&self, operators: &[&Operator], workers: usize) {
        for operator in operators {
            let late = operator.line.with(|state| state.late.clone());
            assert!(late.is_empty(), "two wrote at once: {late:#?}");
        }
        let alive = self.list("v1", "pods").iter().filter(|pod| is_worker(pod)).count();
        assert_eq!(alive, workers);
        let created = |kind: &str| {
            let made = self.store.entries().into_iter();
            made.filter(|entry| {
                entry.call.verb == StoreVerb::Create && entry.call.kind == kind && entry.outcome == "ok"
            })
            .count()
        };
        assert_eq!(created("Pod"), workers, "each worker is made once");
        assert_eq!(created("Deployment"), 1);
        assert_eq!(created("DaskWorkerGroup"), 1);
        let working: Vec<_> = operators.iter().filter(|operator| operator.metrics.working()).collect();
        assert_eq!(working.len(), 1, "one of them works");
    }

    fn list(&self, api_version: &str, resource: &str) -> Vec<Value> {
        let request = Request { verb: Verb::List, ..crate::sim::request(api_version, resource, None) };
        match self.server.request(&request).map(|response| response.reply) {
            Ok(Reply::List(list)) => list.items.iter().map(|stored| stored.value()).collect(),
            _ => Vec::new(),
        }
    }
}

impl Operator {
    fn set(&self, mode: Mode) {
        self.line.with(|state| state.mode = mode);
    }

    fn died(&self) {
        self.running.abort();
    }
}

fn is_worker(pod: &Value) -> bool {
    pod["metadata"]["labels"][names::COMPONENT] == "worker" && pod["metadata"]["deletionTimestamp"].is_null()
}

fn holder(server: &Server) -> Option<String> {
    let mut request = crate::sim::request("coordination.k8s.io/v1", "leases", Some(NAMESPACE));
    request.verb = Verb::Get;
    request.name = Some(LEASE.into());
    match server.request(&request).ok()?.reply {
        Reply::Object(stored) => stored.value()["spec"]["holderIdentity"].as_str().map(str::to_owned),
        _ => None,
    }
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const NONE: SignedDuration = SignedDuration::ZERO;

#[tokio::test(start_paused = true)]
async fn one_works_and_when_it_dies_the_other_goes_on() {
    let stage = Stage::new();
    let (a, b) = (stage.start("a", NONE), stage.start("bb", NONE));
    seconds(30).await;
    stage.judge(&[&a, &b], 3);
    assert!(a.health.is_ready() && b.health.is_ready(), "who stands by is ready too");
    let first = stage.holder();
    let (dead, alive) = if first == "a" { (&a, &b) } else { (&b, &a) };
    dead.died();
    stage.scale(5);
    let (second, tenths) = stage.next_holder(&first).await;
    assert_ne!(first, second);
    assert!((120..=200).contains(&tenths), "{tenths} tenths of a second after the death");
    seconds(30).await;
    stage.judge(&[alive], 5);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_end_gives_the_lease_up() {
    let stage = Stage::new();
    let mut a = stage.start("a", NONE);
    seconds(30).await;
    let b = stage.start("bb", NONE);
    seconds(5).await;
    assert_eq!(stage.holder(), "a");
    a.stop.take().unwrap().send(()).unwrap();
    let (second, tenths) = stage.next_holder("a").await;
    assert_eq!(second, "bb");
    assert!(tenths <= 30, "{tenths} tenths of a second after the end");
    (&mut a.running).await.unwrap();
    stage.scale(4);
    seconds(30).await;
    stage.judge(&[&a, &b], 4);
}

/// The holder's line has something for a minute; the number of workers changes at its beginning.
async fn check_fault(mode: Mode, changes: bool) {
    let stage = Stage::new();
    let a = stage.start("a", NONE);
    seconds(20).await;
    let b = stage.start("bb", NONE);
    seconds(5).await;
    a.set(mode);
    stage.scale(6);
    seconds(60).await;
    assert_eq!(stage.holder() == "bb", changes, "{mode:?}");
    a.set(Mode::Up);
    seconds(60).await;
    stage.judge(&[&a, &b], 6);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_reach_the_api_server_is_replaced_and_stands_by_afterwards() {
    check_fault(Mode::Down, true).await;
}

#[tokio::test(start_paused = true)]
async fn who_hangs_in_a_request_is_replaced() {
    check_fault(Mode::Hangs, true).await;
}

#[tokio::test(start_paused = true)]
async fn renewals_that_are_slow_but_in_time_keep_the_lease() {
    check_fault(Mode::Slow(4), false).await;
}

#[tokio::test(start_paused = true)]
async fn renewals_that_take_longer_than_the_deadline_lose_it() {
    check_fault(Mode::Slow(11), true).await;
}

/// A clock that is wrong makes nobody take what another renews, and hinders nobody from taking what nobody does.
#[tokio::test(start_paused = true)]
async fn wrong_clocks_do_not_matter() {
    for hours in [-30, -1, 1, 30] {
        let stage = Stage::new();
        let a = stage.start("a", NONE);
        seconds(20).await;
        let b = stage.start("bb", SignedDuration::from_hours(hours));
        seconds(120).await;
        assert_eq!(stage.holder(), "a", "{hours} hours off");
        a.died();
        let (second, tenths) = stage.next_holder("a").await;
        assert_eq!(second, "bb");
        assert!((120..=200).contains(&tenths), "{tenths} tenths of a second, {hours} hours off");
        seconds(20).await;
        stage.judge(&[&b], 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_api_server_stops_both_and_afterwards_one_works() {
    let stage = Stage::new();
    let (a, b) = (stage.start("a", NONE), stage.start("bb", NONE));
    seconds(20).await;
    a.set(Mode::Down);
    b.set(Mode::Down);
    stage.scale(5);
    seconds(60).await;
    assert!(!a.metrics.working() && !b.metrics.working(), "nobody can know that it may work");
    assert!(!a.health.is_ready() && !b.health.is_ready());
    let now = |operator: &Operator| operator.health.is_alive(stage.server.now());
    assert!(now(&a) && now(&b), "that is no reason to be restarted");
    a.set(Mode::Up);
    b.set(Mode::Up);
    seconds(60).await;
    stage.judge(&[&a, &b], 5);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_or_taken_away_is_lost() {
    let stage = Stage::new();
    let (a, b) = (stage.start("a", NONE), stage.start("bb", NONE));
    seconds(20).await;
    let gone = crate::sim::delete("coordination.k8s.io/v1", "leases", NAMESPACE, LEASE);
    stage.server.request(&gone).unwrap();
    seconds(20).await;
    stage.judge(&[&a, &b], 3);
    let body = json!({"spec": {"holderIdentity": "somebody else"}});
    stage.server.request(&patch("coordination.k8s.io/v1", "leases", NAMESPACE, LEASE, body)).unwrap();
    seconds(5).await;
    assert!(!a.metrics.working() && !b.metrics.working());
    seconds(30).await;
    stage.judge(&[&a, &b], 3);
}

/// Random trouble on both lines at random times, over many minutes.
#[tokio::test(start_paused = true)]
async fn whatever_happens_to_their_lines_never_two_write() {
    for seed in 0..3 {
        let mut draw = Seed(seed);
        let stage = Stage::new();
        let (a, b) = (stage.start("a", NONE), stage.start("bb", SignedDuration::from_secs(7)));
        let mut workers = 3;
        for _ in 0..12 {
            let modes = [
                Mode::Up,
                Mode::Up,
                Mode::Down,
                Mode::Hangs,
                Mode::Slow(1 + draw.below(14) as u64),
                Mode::Deaf,
            ];
            let operator = if draw.below(2) == 0 { &a } else { &b };
            operator.set(modes[draw.below(modes.len())]);
            if draw.below(3) == 0 {
                workers += 1;
                stage.scale(workers);
            }
            tokio::time::sleep(Duration::from_millis(draw.below(20_000) as u64)).await;
        }
        a.set(Mode::Up);
        b.set(Mode::Up);
        seconds(120).await;
        for operator in [&a, &b] {
            let late = operator.line.with(|state| state.late.clone());
            assert!(late.is_empty(), "seed {seed}: two wrote at once: {late:#?}");
        }
        let alive = stage.list("v1", "pods").iter().filter(|pod| is_worker(pod)).count();
        assert_eq!(alive, workers as usize, "seed {seed}");
        assert!(a.metrics.working() != b.metrics.working(), "seed {seed}: one of them works");
    }
}
