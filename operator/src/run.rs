//! The shell around the engine: watches, timers and writes on one tokio task.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, FuturesUnordered, SelectAll, StreamExt};

use crate::clock::Clock;
use crate::engine::{Answer, Engine, Question, Source, Task, What, Work};
use crate::execute::{self, Hands, Outcome};
use crate::health::Health;
use crate::metrics::{Metrics, Observed};
use crate::names;
use crate::plan::Step;
use crate::plugin::dial::{Dial, Network};
use crate::plugin::{self, AskError, Change, Registry, Roster, Stopwatch};
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::store::served::{Served, changes, served};
use crate::store::{Event, Scope, Store, StoreError};
use crate::takeover;
use crate::traces::Traces;

/// Plans under way at once. Each has at most 16 writes under way.
const TASKS_AT_ONCE: usize = 32;
/// Questions to schedulers under way at once.
const QUESTIONS_AT_ONCE: usize = 64;
/// Events taken in before the queue is looked at again.
const EVENTS_AT_ONCE: usize = 512;
/// How long writes under way may take to end after the shutdown signal.
const GRACE: Duration = Duration::from_secs(10);
/// Longest time without a sign of life of the loop.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Pause before missing definitions are looked for again.
const DEFINITIONS_PAUSE: Duration = Duration::from_secs(5);

/// What the operator needs of the outside.
#[derive(Clone)]
pub struct Deps {
    /// Kubernetes.
    pub store: Arc<dyn Store>,
    /// Dask.
    pub scheduler: Arc<dyn Scheduler>,
    /// Time.
    pub clock: Clock,
    /// Operator-wide settings.
    pub settings: Settings,
    /// Only these namespaces; empty means all.
    pub namespaces: Vec<String>,
    /// Seed of the retries' jitter.
    pub seed: u64,
    /// Where signs of life go.
    pub health: Health,
    /// Who is told numbers.
    pub metrics: Metrics,
    /// What others want of the children.
    pub plugins: Roster,
    /// How those of them that are outside are connected to.
    pub dial: Arc<dyn Dial>,
    /// Who is told what was done and why.
    pub traces: Traces,
}

impl Deps {
    /// What must be given, and the default of everything else: all namespaces, and nobody who listens.
    pub fn new(store: Arc<dyn Store>, scheduler: Arc<dyn Scheduler>, clock: Clock) -> Self {
        Self {
            store,
            scheduler,
            clock,
            settings: Settings::default(),
            namespaces: Vec::new(),
            seed: 1,
            health: Health::default(),
            metrics: Metrics::default(),
            plugins: Roster::default(),
            dial: Arc::new(Network),
            traces: Traces::default(),
        }
    }
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps").field("namespaces", &self.namespaces).finish_non_exhaustive()
    }
}

/// Runs the operator until `shutdown`; writes under way are then given ten seconds to end.
///
/// When the plugins change it begins anew, as a new process does: what is followed for them may be something else.
pub async fn run(deps: Deps, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut roster = deps.plugins.clone();
    loop {
        let registry = roster.current();
        let mut changed = false;
        let end = async {
            tokio::select! {
                biased;
                () = &mut shutdown => {}
                () = roster.changed() => changed = true,
            }
        };
        turn(&deps, &registry, end).await;
        if !changed {
            return;
        }
        tracing::info!("the plugins have changed; beginning anew");
    }
}

/// Runs the operator with these plugins until `end`.
async fn turn(deps: &Deps, plugins: &Registry, end: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(end);
    let mut scrapes = deps.metrics.listen();
    let served = tokio::select! {
        biased;
        () = &mut shutdown => return,
        served = definitions(deps, None) => served,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = if deps.namespaces.is_empty() { "all".to_owned() } else { deps.namespaces.join(",") },
        carrier = ?deps.settings.carrier,
        plugins = plugins.entries().iter().map(|entry| &*entry.declaration.name).collect::<Vec<_>>().join(","),
        "watching"
    );
    let stopwatch = Stopwatch::default();
    let mut shell = Shell::new(deps, &stopwatch.around(plugins), served);
    loop {
        shell.start_work();
        let wake = shell.wake_at();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some((task, outcome)) = shell.tasks.next(), if !shell.tasks.is_empty() => shell.finished(&task, outcome),
            Some((question, answer)) = shell.questions.next(), if !shell.questions.is_empty() => {
                shell.engine.answered(&question, answer, deps.clock.now());
            }
            Some((question, answer)) = shell.advice.next(), if !shell.advice.is_empty() => {
                shell.engine.advised(&question, answer, deps.clock.now());
            }
            Some(served) = shell.definitions.next(), if !shell.definitions.is_empty() => {
                shell.engine.learn(served, deps.clock.now());
            }
            Some(()) = shell.changed.next(), if shell.definitions.is_empty() => shell.look_at_definitions(),
            Some(events) = shell.events.next() => shell.observe(events),
            Some(rival) = shell.rivals.next() => {
                tracing::warn!("{rival}; until then each undoes the other's work");
            }
            Some(scrape) = scrapes.recv() => {
                // Whoever asked may have gone.
                let _ = scrape.send(Observed::of(&shell.engine, stopwatch.times(), deps.clock.now()));
            }
            () = tokio::time::sleep_until(wake) => {}
        }
        deps.traces.send(shell.engine.reports.take());
        deps.health.alive(deps.clock.now(), shell.engine.synced());
    }
    tracing::info!(under_way = shell.tasks.len(), "shutting down");
    let ending = async { while shell.tasks.next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ending).await.is_err() {
        tracing::warn!(
            "some writes had not ended after {} s; the next start looks at the state they left",
            GRACE.as_secs()
        );
    }
}

/// The collections the operator follows.
pub fn sources(namespaces: &[String], plugins: &Registry) -> Vec<Source> {
    let places: Vec<Option<String>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
    let followed: Vec<What> = What::ALL.into_iter().chain(plugins.follows()).collect();
    places
        .into_iter()
        .flat_map(|namespace| {
            followed.iter().map(move |what| Source { what: what.clone(), namespace: namespace.clone() })
        })
        .collect()
}

/// How a source is watched: resources of ours whole, children by label.
pub fn watched(source: &Source) -> (kube::core::ApiResource, Scope) {
    let place = source.namespace.as_deref().map_or_else(Scope::everywhere, Scope::namespace);
    match &source.what {
        What::Resource(kind) => (execute::kind_resource(*kind), place),
        What::Child(kind) => {
            let components = format!("{} in (scheduler,worker,job-runner)", names::COMPONENT);
            (execute::child_resource(*kind), place.with_labels(components))
        }
        What::Added(type_) => (type_.resource(), place.with_labels(names::PLUGIN)),
        What::Related(related) => {
            let fields = related.name.as_ref().map(|name| format!("metadata.name={name}"));
            (related.type_().resource(), Scope { labels: related.labels.clone(), fields, ..place })
        }
    }
}

/// The events of a source.
fn followed(deps: &Deps, source: &Source) -> BoxStream<'static, Events> {
    let (resource, scope) = watched(source);
    let source = source.clone();
    let events = deps.store.watch(&resource, &scope).map(move |event| (source.clone(), event));
    events.ready_chunks(EVENTS_AT_ONCE).boxed()
}

/// Waits until the four kinds are served, saying what is missing; what was `known` to be missing is not said again.
async fn definitions(deps: &Deps, known: Option<Served>) -> Served {
    loop {
        match alive_until(deps, served(&*deps.store, deps.settings.look)).await {
            Ok(served) if served.missing().is_empty() => {
                for shortcoming in served.shortcomings_beyond(known.as_ref()) {
                    tracing::warn!("{shortcoming}");
                }
                return served;
            }
            Ok(served) => tracing::warn!(
                missing = served.missing().join(", "),
                "kinds are not served: install the definitions, for instance with `dask-operator crds | kubectl apply -f -`"
            ),
            Err(error) => tracing::warn!(%error, "cannot find out which kinds are served"),
        }
        alive_until(deps, tokio::time::sleep(DEFINITIONS_PAUSE)).await;
    }
}

/// Waits for something before the loop begins. An API server that does not answer is no reason to be restarted.
async fn alive_until<T>(deps: &Deps, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    loop {
        deps.health.beat(deps.clock.now());
        if let Ok(done) = tokio::time::timeout(HEARTBEAT, &mut what).await {
            return done;
        }
    }
}

type Events = Vec<(Source, Result<Event, StoreError>)>;

struct Shell<'a> {
    deps: &'a Deps,
    engine: Engine,
    events: SelectAll<BoxStream<'static, Events>>,
    tasks: FuturesUnordered<BoxFuture<'a, (Task, Outcome)>>,
    questions: FuturesUnordered<BoxFuture<'a, (Question, Answer)>>,
    /// Questions to plugins; the engine bounds how many are under way.
    advice: FuturesUnordered<BoxFuture<'a, (plugin::Question, Result<Change, AskError>)>>,
    /// Says that a definition changed.
    changed: BoxStream<'static, ()>,
    /// Says that the Python operator has come.
    rivals: BoxStream<'static, String>,
    /// The definitions being looked at again, after one changed or an endpoint was missing.
    definitions: FuturesUnordered<BoxFuture<'a, Served>>,
}

impl<'a> Shell<'a> {
    fn new(deps: &'a Deps, plugins: &Registry, served: Served) -> Self {
        let sources = sources(&deps.namespaces, plugins);
        let events = stream::select_all(sources.iter().map(|source| followed(deps, source)));
        let mut engine = Engine::new(deps.settings.clone(), sources, deps.seed).with(plugins.clone());
        engine.world.served = Some(served);
        if deps.traces.wanted() {
            engine.reports.want();
        }
        Self {
            deps,
            engine,
            events,
            tasks: FuturesUnordered::new(),
            questions: FuturesUnordered::new(),
            advice: FuturesUnordered::new(),
            changed: changes(&*deps.store, deps.settings.look),
            rivals: takeover::arrivals(&*deps.store, &deps.namespaces),
            definitions: FuturesUnordered::new(),
        }
    }

    fn start_work(&mut self) {
        let now = self.deps.clock.now();
        while self.tasks.len() < TASKS_AT_ONCE && self.questions.len() < QUESTIONS_AT_ONCE {
            match self.engine.next(now) {
                Some(Work::Execute(task)) => self.execute(task),
                Some(Work::Poll(question)) => {
                    let scheduler = &*self.deps.scheduler;
                    let asked = async move {
                        let answer = execute::ask(scheduler, &question).await;
                        (question, answer)
                    };
                    self.questions.push(asked.boxed());
                }
                Some(Work::Ask(question)) => {
                    let dial = &*self.deps.dial;
                    let asked = async move {
                        let answer = question.at.ask_by(dial, &question.view).await;
                        if let Err(error) = &answer {
                            tracing::warn!(plugin = question.plugin, key = %question.key, reason = error.reason, "{error}");
                        }
                        (question, answer)
                    };
                    self.advice.push(asked.boxed());
                }
                Some(Work::Follow(source)) => self.events.push(followed(self.deps, &source)),
                None => break,
            }
        }
    }

    fn execute(&mut self, task: Task) {
        for step in task.plan.steps() {
            if let Step::Status { .. } = step {
                tracing::debug!(key = %task.key, step = step.summary(), "planned");
            } else {
                tracing::info!(key = %task.key, step = step.summary(), "planned");
            }
        }
        let deps = self.deps;
        let part = self.engine.world.status_part(task.key.kind);
        let done = async move {
            let hands =
                Hands { store: &*deps.store, scheduler: &*deps.scheduler, events: deps.settings.events };
            let outcome = execute::execute(hands, &task, part, deps.clock.now()).await;
            (task, outcome)
        };
        self.tasks.push(done.boxed());
    }

    fn finished(&mut self, task: &Task, outcome: Outcome) {
        if let Some(failure) = &outcome.failure {
            tracing::warn!(key = %task.key, reason = failure.reason, "{}", failure.message);
        }
        if outcome.endpoint_missing && self.definitions.is_empty() {
            self.look_at_definitions();
        }
        self.engine.finished(task, outcome, self.deps.clock.now());
    }

    fn look_at_definitions(&self) {
        let known = self.engine.world.served.clone();
        self.definitions.push(definitions(self.deps, known).boxed());
    }

    fn observe(&mut self, events: Events) {
        let now = self.deps.clock.now();
        for (source, event) in events {
            match event {
                Ok(event) => self.engine.observe(&source, event, now),
                Err(error) => {
                    tracing::warn!(?source, %error, "a watch had an error and goes on");
                    self.engine.unlisted(&source, &error, now);
                }
            }
        }
    }

    fn wake_at(&self) -> tokio::time::Instant {
        let heartbeat = tokio::time::Instant::now() + HEARTBEAT;
        let busy = self.tasks.len() >= TASKS_AT_ONCE;
        match self.engine.wake_at().filter(|_| self.engine.synced() && !busy) {
            Some(at) => self.deps.clock.instant(at).min(heartbeat),
            None => heartbeat,
        }
    }
}
