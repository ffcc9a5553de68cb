//! The simulation: the operator's engine on the API server in memory, without a runtime, threads, or time of its own.
//!
//! | module | what it is |
//! |---|---|
//! | [`script`] | the language of `snapshots/*.scenario` |
//! | [`transcript`] | what a run tells, without what differs between equal runs |
//! | [`story`] | random histories, and what must hold at their end |
//! | [`rights`] | what the operator may do in it: exactly what its chart gives it |
//! | [`advisors`] | plugins outside: functions that answer when they like |
//! | [`crowd`] | thousands of equal clusters before the engine alone |
//! | [`dask`] | a model of Dask: workers register when their pods are ready |
//! | [`definitions`] | our definitions, and what the Python operator's store of the same |
//!
//! [`Sim`] runs in one fixed order ([`Sim::settle`]) or lets a seed choose among everything that could happen next
//! ([`Sim::step_by`]). The same seed gives the same history, bit for bit.

pub mod advisors;
pub mod crowd;
pub mod dask;
pub mod definitions;
pub mod rights;
pub mod script;
pub mod story;
pub mod transcript;

use std::collections::VecDeque;
use std::sync::Arc;

use fake_apiserver::Server;
use fake_apiserver::request::{PatchType, Request, Verb};
use fake_apiserver::response::{Reply, Response};
use fake_apiserver::server::{Clock, Config};
use fake_apiserver::status::Status;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::engine::{Engine, Source, Work};
use crate::execute::{self, Hands};
use crate::observe::Key;
use crate::plugin::Registry;
use crate::run;
use crate::scheduler::scripted::ScriptedScheduler;
use crate::settings::Settings;
use crate::sim::advisors::Advisors;
use crate::sim::rights::Rights;
use crate::store::fake::FakeStore;
use crate::store::faults::FaultStore;
use crate::store::recording::RecordingStore;
use crate::store::served::{changes, served};
use crate::store::{Event, Store, WatchStream};

/// The operator's store in a simulation: faults outside, then the transcript of what reached the server.
pub type SimStore = FaultStore<RecordingStore<FakeStore>>;

/// When simulated time begins.
pub const EPOCH: &str = "2026-01-01T00:00:00Z";
/// More rounds than this without time passing mean that something never comes to rest.
const ROUNDS_MAX: usize = 20_000;
/// Events of the history that are kept as text; older ones only count in the hash.
const HISTORY_MAX: usize = 10_000;

/// How a simulation is set up.
#[derive(Clone, Debug, Default)]
pub struct SimConfig {
    /// The operator's settings.
    pub settings: Settings,
    /// Seed of the operator's retries.
    pub seed: u64,
    /// What the operator may do.
    pub rights: Rights,
    /// The plugins that it has.
    pub plugins: Registry,
}

/// One simulated world.
pub struct Sim {
    /// The API server.
    pub server: Server,
    /// The operator's way to it.
    pub store: Arc<SimStore>,
    /// The Dask schedulers.
    pub scheduler: ScriptedScheduler,
    /// The plugins outside.
    pub advisors: Advisors,
    /// The operator.
    pub engine: Engine,
    config: SimConfig,
    watches: Vec<Watched>,
    changed: BoxStream<'static, ()>,
    definitions_changed: bool,
    history: VecDeque<String>,
    hash: u64,
    crashes: u32,
    questions: u64,
}

struct Watched {
    source: Source,
    stream: WatchStream,
    pending: VecDeque<Event>,
}

/// Something that could happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The next event of the watch with this index is delivered.
    Deliver(usize),
    /// The operator looks at this resource.
    Reconcile(Key),
    /// The operator looks at the definitions again, because one changed.
    Learn,
    /// A plugin outside has answered.
    Advise,
    /// The operator does what else is due: questions to schedulers and plugins.
    Operate,
    /// The API server's controllers and kubelets work.
    Controllers,
}

impl Sim {
    /// A cluster with our definitions installed and the operator started.
    ///
    /// # Panics
    /// If the server refuses our own definitions.
    pub fn new(config: SimConfig) -> Self {
        let start: Timestamp = EPOCH.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let server = Server::new(Config {
            clock: Clock::Manual(start),
            auto_step: false,
            rbac: config.rights != Rights::Unasked,
            ..Config::default()
        });
        let store = rights::operators(FakeStore::new(server.clone()));
        let store = Arc::new(FaultStore::new(RecordingStore::new(store)));
        let engine = Self::engine(&config);
        let mut sim = Self {
            server,
            store,
            scheduler: ScriptedScheduler::new(),
            advisors: Advisors::default(),
            engine,
            config,
            watches: Vec::new(),
            changed: stream::empty().boxed(),
            definitions_changed: false,
            history: VecDeque::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            crashes: 0,
            questions: 0,
        };
        for request in sim.config.rights.grant(&sim.config.plugins) {
            sim.user(&request).expect("an administrator may give rights");
        }
        for crd in crate::api::crds::crds() {
            sim.user(&create(definitions::API_VERSION, definitions::PLURAL, None, &crd))
                .expect("our own definitions are accepted");
        }
        sim.server.step();
        sim.restart();
        sim
    }

    fn engine(config: &SimConfig) -> Engine {
        let sources = run::sources(&config.rights.namespaces(), &config.plugins);
        Engine::new(config.settings.clone(), sources, config.seed).with(config.plugins.clone())
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.server.now()
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> SignedDuration {
        let start: Timestamp = EPOCH.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        self.now().duration_since(start)
    }

    /// A request of somebody who is not the operator.
    pub fn user(&mut self, request: &Request) -> Result<Response, Status> {
        self.note(&format!(
            "user {:?} {}/{}",
            request.verb,
            request.resource,
            request.name.as_deref().unwrap_or("")
        ));
        self.server.request(request)
    }

    /// The operator dies and a new one starts: it knows nothing but what it observes.
    pub fn restart(&mut self) {
        self.store.revive();
        let sources = run::sources(&self.config.rights.namespaces(), &self.config.plugins);
        self.engine = Self::engine(&self.config);
        self.advisors.forget();
        self.watches = sources.into_iter().map(|source| self.followed(source)).collect();
        self.changed = changes(&*self.store, self.config.settings.look);
        self.note("operator starts");
        self.learn();
    }

    fn followed(&self, source: Source) -> Watched {
        let (resource, scope) = run::watched(&source);
        Watched { stream: self.store.watch(&resource, &scope), source, pending: VecDeque::new() }
    }

    /// The operator finds out what the installed definitions serve, as it does at its start and when an endpoint is missing.
    fn learn(&mut self) {
        let served = served(&*self.store, self.config.settings.look)
            .now_or_never()
            .expect("the store in memory answers at once");
        match served {
            Ok(served) => {
                self.note(&format!("learnt {served:?}"));
                self.engine.learn(served, self.server.now());
            }
            Err(error) => self.note(&format!("learnt nothing: {error}")),
        }
    }

    /// A new operator starts with other settings.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.config.settings);
        self.restart();
    }

    /// A new operator starts with other plugins.
    pub fn restart_with_plugins(&mut self, plugins: Registry) {
        self.config.plugins = plugins;
        self.restart();
    }

    /// How often the operator has died of an injected crash.
    pub fn crashes(&self) -> u32 {
        self.crashes
    }

    /// How many questions schedulers were asked.
    pub fn questions(&self) -> u64 {
        self.questions
    }

    /// Lets everything happen that can happen without time passing, in one fixed order.
    ///
    /// # Panics
    /// If the world does not come to rest, or the checker refuses a plan.
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let Some(choice) = self.choices().into_iter().next() else { return };
            self.take(&choice);
        }
        let last: Vec<&String> = self.history.iter().rev().take(20).collect();
        panic!("the world does not come to rest at {}; last: {last:#?}", self.now());
    }

    /// Lets time pass; everything that becomes due happens at its time.
    pub fn advance(&mut self, by: SignedDuration) {
        let end = self.now() + by;
        loop {
            self.settle();
            let next = self.next_due().filter(|at| *at <= end);
            let Some(at) = next else { break };
            self.server
                .advance(at.max(self.now()).duration_since(self.now()).max(SignedDuration::from_millis(1)));
        }
        if self.now() < end {
            self.server.advance(end.duration_since(self.now()));
        }
        self.settle();
    }

    /// When something is due next, on either side.
    pub fn next_due(&self) -> Option<Timestamp> {
        let outside = self.scheduler.next_due().into_iter().chain(self.advisors.next_due());
        self.engine.wake_at().into_iter().chain(self.server.next_due()).chain(outside).min()
    }

    /// Everything that could happen now, in a fixed order.
    pub fn choices(&mut self) -> Vec<Choice> {
        self.pump();
        let now = self.now();
        let deliveries = self.watches.iter().enumerate().filter(|(_, w)| !w.pending.is_empty());
        let mut choices: Vec<Choice> = deliveries.map(|(index, _)| Choice::Deliver(index)).collect();
        choices.extend(self.definitions_changed.then_some(Choice::Learn));
        choices.extend(self.engine.due(now).into_iter().map(Choice::Reconcile));
        choices.extend(self.advisors.next_due().filter(|at| *at <= now).map(|_| Choice::Advise));
        if choices.is_empty() && self.engine.synced() && self.engine.wake_at().is_some_and(|at| at <= now) {
            choices.push(Choice::Operate);
        }
        if self.controllers_have_work() || self.scheduler.next_due().is_some_and(|at| at <= now) {
            choices.push(Choice::Controllers);
        }
        choices
    }

    /// Lets one of the choices happen, picked by a number.
    pub fn step_by(&mut self, number: usize) -> bool {
        let choices = self.choices();
        if choices.is_empty() {
            return false;
        }
        let choice = choices[number % choices.len()].clone();
        self.take(&choice);
        true
    }

    /// Lets one thing happen.
    pub fn take(&mut self, choice: &Choice) {
        let now = self.now();
        match choice {
            Choice::Deliver(index) => {
                let watched = &mut self.watches[*index];
                let Some(event) = watched.pending.pop_front() else { return };
                let text = format!("deliver {:?} {}", watched.source.what, describe(&event));
                let source = watched.source.clone();
                self.engine.observe(&source, event, now);
                self.note(&text);
            }
            Choice::Reconcile(key) => {
                let work = self.engine.next_key(key, now);
                self.note(&format!("reconcile {key}"));
                self.work(work);
            }
            Choice::Learn => {
                self.definitions_changed = false;
                self.learn();
            }
            Choice::Advise => {
                let Some((question, answer)) = self.advisors.take(now) else { return };
                let how = answer.as_ref().map_or_else(|error| error.reason, |_| "answered");
                self.note(&format!("plugin {} about {}: {how}", question.plugin, question.key));
                self.engine.advised(&question, answer, now);
            }
            Choice::Operate => {
                let work = self.engine.next(now);
                self.work(work);
            }
            Choice::Controllers => {
                self.server.step();
                dask::register(self);
                self.note(&format!("controllers r{}", self.server.with(|api| api.revision())));
            }
        }
    }

    /// The last things that happened.
    pub fn history(&self) -> impl Iterator<Item = &String> {
        self.history.iter()
    }

    /// Hash of everything that happened: equal histories have equal hashes.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// All objects of a resource in all namespaces, parsed.
    pub fn list(&self, api_version: &str, resource: &str) -> Vec<Value> {
        let request = Request { verb: Verb::List, ..request(api_version, resource, None) };
        match self.server.request(&request).map(|response| response.reply) {
            Ok(Reply::List(list)) => list.items.iter().map(|stored| stored.value()).collect(),
            _ => Vec::new(),
        }
    }

    fn work(&mut self, work: Option<Work>) {
        match work {
            Some(Work::Execute(task)) => {
                for step in task.plan.steps() {
                    self.note(&step.summary());
                }
                let part = self.engine.world.status_part(task.key.kind);
                let store = self.store.clone();
                let hands =
                    Hands { store: &*store, scheduler: &self.scheduler, events: self.config.settings.events };
                let outcome = execute::execute(hands, &task, part, self.server.now())
                    .now_or_never()
                    .expect("the store in memory answers at once");
                if let Some(failure) = &outcome.failure {
                    self.note(&format!("failed {}: {}", failure.reason, failure.message));
                }
                if self.store.crashed() {
                    self.crashes += 1;
                    self.restart();
                    return;
                }
                let endpoint_missing = outcome.endpoint_missing;
                self.engine.finished(&task, outcome, self.server.now());
                if endpoint_missing {
                    self.learn();
                }
            }
            Some(Work::Poll(question)) => {
                self.questions += 1;
                // Heartbeats carry the time.
                self.scheduler.work(self.now());
                let answer = execute::ask(&self.scheduler, &question)
                    .now_or_never()
                    .expect("the scripted scheduler answers at once");
                self.note(&format!("asked {}/{}", question.cluster.0, question.cluster.1));
                self.engine.answered(&question, answer, self.server.now());
            }
            Some(Work::Ask(question)) => {
                self.note(&format!("asked plugin {} about {}", question.plugin, question.key));
                self.advisors.ask(question, self.server.now());
            }
            Some(Work::Follow(source)) => {
                self.note(&format!("follow {:?}", source.what));
                let watched = self.followed(source);
                self.watches.push(watched);
            }
            None => {}
        }
        assert!(
            self.engine.violations.is_empty(),
            "the checker refused a plan: {:#?}",
            self.engine.violations
        );
    }

    fn pump(&mut self) {
        while self.changed.next().now_or_never().flatten().is_some() {
            self.definitions_changed = true;
        }
        for watched in &mut self.watches {
            while let Some(Some(event)) = watched.stream.next().now_or_never() {
                match event {
                    Ok(event) => watched.pending.push_back(event),
                    Err(error) => {
                        self.engine.unlisted(&watched.source, &error, self.server.now());
                    }
                }
            }
        }
    }

    fn controllers_have_work(&self) -> bool {
        let now = self.now();
        self.server.with(|api| api.has_work(now))
    }

    fn note(&mut self, what: &str) {
        let line = format!("+{:.3} {what}", self.elapsed().as_secs_f64());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Init => "init".into(),
        Event::InitDone => "init done".into(),
        Event::InitApply(object) | Event::Apply(object) => format!(
            "{} r{}",
            object.metadata.name.as_deref().unwrap_or_default(),
            object.metadata.resource_version.as_deref().unwrap_or_default()
        ),
        Event::Delete(object) => format!("gone {}", object.metadata.name.as_deref().unwrap_or_default()),
    }
}

/// A request to a resource.
pub fn request(api_version: &str, resource: &str, namespace: Option<&str>) -> Request {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Request {
        group: group.into(),
        version: version.into(),
        resource: resource.into(),
        namespace: namespace.map(Into::into),
        ..Request::default()
    }
}

/// A create of an object.
pub fn create(api_version: &str, resource: &str, namespace: Option<&str>, object: &Value) -> Request {
    Request { verb: Verb::Create, body: Some(object.clone()), ..request(api_version, resource, namespace) }
}

/// A merge patch of an object.
pub fn patch(api_version: &str, resource: &str, namespace: &str, name: &str, body: Value) -> Request {
    Request {
        verb: Verb::Patch(PatchType::Merge),
        name: Some(name.into()),
        body: Some(body),
        ..request(api_version, resource, Some(namespace))
    }
}

/// A delete of an object.
pub fn delete(api_version: &str, resource: &str, namespace: &str, name: &str) -> Request {
    Request { verb: Verb::Delete, name: Some(name.into()), ..request(api_version, resource, Some(namespace)) }
}
