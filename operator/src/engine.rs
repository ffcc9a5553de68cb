//! The engine: events in, work out. Synchronous; the clock comes in as an argument.
//!
//! ```text
//! observe(event) → cache → queue → next() → Work::Execute(plan) → finished(outcome)
//!                                          Work::Poll(question)  → answered(answer)
//!                                          Work::Ask(question)   → advised(answer)
//!                                          Work::Follow(source)  → observe(event)
//! ```
//!
//! The same events at the same times give the same work in the same order. The shell ([`crate::run`]) and the simulation
//! drive it alike.

mod plugins;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;

use crate::check;
use crate::execute::Outcome;
use crate::metrics::tally::{Ended, Tally};
use crate::observe::{Child, ChildId, Key, Kind, Resource};
use crate::plan::{Ask, Plan, Step, Target, Victim};
use crate::plugin;
use crate::polls::Polls;
use crate::queue::Queue;
use crate::scheduler::{Path, SchedulerAddress, SchedulerError, Snapshot};
use crate::settings::Settings;
use crate::store::Event;
use crate::store::served::Served;
use crate::traces::report::{Cause, Reports};
use crate::world::{Kept, SchedulerFacts, Trouble, Unanswered, World};
use crate::{autoscaler, cluster, job, worker_group};

pub use source::{Source, What};

/// Failures in a row of a passing kind after which they are shown on the resource.
const PASSING_FAILURES_SHOWN: u32 = 3;
/// Children of a group for each millisecond that its events are gathered: a plan costs time in proportion to them.
const CHILDREN_PER_MILLISECOND: usize = 100;

/// Something to be done outside.
#[derive(Debug)]
pub enum Work {
    /// Carry out a plan, then call [`Engine::finished`].
    Execute(Task),
    /// Ask a scheduler, then call [`Engine::answered`].
    Poll(Question),
    /// Ask a plugin, then call [`Engine::advised`].
    Ask(plugin::Question),
    /// Follow this too, then call [`Engine::observe`] with what it shows.
    Follow(Source),
}

/// A plan and whose it is.
#[derive(Clone, Debug)]
pub struct Task {
    /// Whose.
    pub key: Key,
    /// What to write.
    pub plan: Plan,
}

/// A question to a scheduler.
#[derive(Clone, Debug)]
pub struct Question {
    /// Namespace and name of the cluster.
    pub cluster: (String, String),
    /// Where the scheduler listens; `None` if its Service is not there.
    pub at: Option<SchedulerAddress>,
    /// What is asked.
    pub ask: Ask,
    /// When it was asked.
    pub asked: Timestamp,
}

/// A scheduler's answers; `None` for what was not asked.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its workers.
    pub workers: Option<Result<Snapshot, SchedulerError>>,
    /// How many it wants.
    pub target: Option<Result<u32, SchedulerError>>,
    /// Since when it is idle.
    pub idle: Option<Result<Option<Timestamp>, SchedulerError>>,
    /// By which path it was asked.
    pub path: Option<Path>,
}

/// The operator without its shell.
#[derive(Debug)]
pub struct Engine {
    /// What is known.
    pub world: World,
    /// Violations the checker found; their plans were not carried out.
    pub violations: Vec<String>,
    /// What was done so far, as numbers.
    pub tally: Tally,
    /// How looking at each resource went, where somebody wants to know.
    pub reports: Reports,
    queue: Queue<Key>,
    polls: Polls,
    sources: BTreeMap<Source, Sync>,
}

/// How far a source has been listed.
#[derive(Debug, Default)]
struct Sync {
    done: bool,
    listed: Option<(BTreeSet<Key>, BTreeSet<ChildId>)>,
}

impl Engine {
    /// An engine that follows these sources; it plans nothing before each of them has been listed once.
    pub fn new(settings: Settings, sources: impl IntoIterator<Item = Source>, seed: u64) -> Self {
        Self {
            world: World::new(settings),
            violations: Vec::new(),
            tally: Tally::default(),
            reports: Reports::default(),
            queue: Queue::new(seed),
            polls: Polls::default(),
            sources: sources.into_iter().map(|source| (source, Sync::default())).collect(),
        }
    }

    /// Takes in an event of a watch.
    pub fn observe(&mut self, source: &Source, event: Event, now: Timestamp) {
        if source.what.is_for_plugins() {
            return self.observe_for_plugins(source, event, now);
        }
        match event {
            Event::Init => self.sync(source).listed = Some(Default::default()),
            Event::InitApply(object) => self.apply(source, object, now, true),
            Event::InitDone => self.listed(source, now),
            Event::Apply(object) => self.apply(source, object, now, false),
            Event::Delete(object) => self.delete(source, &object, now),
        }
    }

    /// Takes in what the installed definitions serve, and looks at everything anew if that is something else than before.
    pub fn learn(&mut self, served: Served, now: Timestamp) {
        let served = Some(served);
        if self.world.served == served {
            return;
        }
        self.world.served = served;
        let keys: Vec<Key> = self.world.cache.resources().map(|resource| resource.key.clone()).collect();
        self.touch(keys, &Cause::Definitions, now);
    }

    /// Whether every source has been listed.
    pub fn synced(&self) -> bool {
        self.sources.values().all(|sync| sync.done)
    }

    /// The next thing to do, if any is due.
    pub fn next(&mut self, now: Timestamp) -> Option<Work> {
        if !self.synced() {
            return None;
        }
        for key in self.world.cache.expire(now).into_iter().chain(self.world.plugins.extras.expire(now)) {
            self.reports.note(&key, &Cause::Unseen);
            self.queue.add(key, now);
        }
        if let Some(source) = self.world.plugins.next_wanted() {
            return Some(Work::Follow(source));
        }
        if let Some(question) = self.world.plugins.next_question() {
            return Some(Work::Ask(question));
        }
        if let Some(question) = self.question(now) {
            return Some(Work::Poll(question));
        }
        while let Some(key) = self.queue.take(now) {
            if let Some(work) = self.plan(key, now) {
                return Some(work);
            }
        }
        None
    }

    /// The keys that are due, for a simulation that chooses among them with [`Engine::next_key`].
    pub fn due(&self, now: Timestamp) -> Vec<Key> {
        if self.synced() { self.queue.due(now) } else { Vec::new() }
    }

    /// How many keys are due, and how many will be.
    pub fn queued(&self, now: Timestamp) -> (usize, usize) {
        let due = self.queue.due_count(now);
        (due, self.queue.len() - due)
    }

    /// Plans for a given key that is due.
    pub fn next_key(&mut self, key: &Key, now: Timestamp) -> Option<Work> {
        if self.queue.take_key(key) { self.plan(key.clone(), now) } else { None }
    }

    /// When something is due next.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let polls = self.polls.next_due();
        let plugins = &self.world.plugins;
        let theirs = plugins.next_due().into_iter().chain(plugins.extras.next_expiry());
        self.queue
            .next_due()
            .into_iter()
            .chain(polls)
            .chain(self.world.cache.next_expiry())
            .chain(theirs)
            .min()
    }

    /// Takes in the end of a task.
    pub fn finished(&mut self, task: &Task, outcome: Outcome, now: Timestamp) {
        let resource = self.world.cache.resource(&task.key).map(|resource| &**resource);
        self.tally.finished(task, resource, &outcome, self.took(&task.key, now), now);
        let failure =
            outcome.failure.as_ref().map(|failure| (failure.reason.clone(), failure.message.clone()));
        self.reports.end(&task.key, Ended::of(&outcome), task.plan.steps().map(Step::summary), failure, now);
        for (id, uid) in &outcome.deleted {
            self.world.cache.expect_deleted(id, uid, now);
        }
        for target in &outcome.undone {
            match target {
                Target::Child(id) => self.world.cache.unexpect(id),
                Target::Resource(key) => self.world.cache.unexpect_resource(key),
                Target::Extra(id) => self.world.plugins.extras.unexpect(id),
            }
        }
        for id in &outcome.unmarked {
            self.world.cache.unexpect_retiring(id);
        }
        for object in outcome.written {
            let kind =
                object.types.as_ref().and_then(|t| Kind::ALL.into_iter().find(|kind| kind.name() == t.kind));
            if let Some(resource) = kind.and_then(|kind| Resource::project(kind, object)) {
                self.world.cache.apply_written(resource);
            }
        }
        let key = &task.key;
        if task.plan.steps().any(Step::asks_scheduler) {
            self.retired(task, &outcome.kept, now);
        }
        let Some(failure) = outcome.failure else {
            let memory = self.world.memory.entry(key.clone()).or_default();
            if outcome.status_written {
                memory.status_written = Some(now);
            }
            let cured = memory.trouble.take().is_some();
            self.queue.done(key, if cured { Some(now) } else { task.plan.again });
            self.polls.want(key, task.plan.poll.clone());
            return;
        };
        let passing = failure.passing && self.queue.failures(key) < PASSING_FAILURES_SHOWN;
        let memory = self.world.memory.entry(key.clone()).or_default();
        if outcome.status_written {
            memory.status_written = Some(now);
        }
        if !passing {
            memory.trouble = Some(Trouble { reason: failure.reason, message: failure.message });
        }
        self.queue.failed(key, now, failure.retry_after);
        self.polls.want(key, task.plan.poll.clone());
    }

    /// What the scheduler was asked to do makes its earlier answer about its workers worthless.
    /// After an error nothing is known about those it was asked for, also not that it kept them before.
    fn retired(&mut self, task: &Task, kept: &[Victim], now: Timestamp) {
        let group = &task.key;
        let Some(cluster) = self.world.cache.resource(group).and_then(|group| group.follows()) else {
            return;
        };
        let place = (group.namespace.clone(), cluster.to_owned());
        let facts = self.world.schedulers.entry(place).or_default();
        facts.workers = None;
        for step in task.plan.steps() {
            if let Step::Retire { victims, .. } = step {
                for victim in victims {
                    facts.kept.remove(&victim.carrier);
                }
            }
        }
        for victim in kept {
            let kept = Kept { since: now, addresses: victim.addresses.clone() };
            facts.kept.insert(victim.carrier.clone(), kept);
        }
    }

    /// Takes in a scheduler's answer and lets those who asked look at it.
    pub fn answered(&mut self, question: &Question, answer: Answer, now: Timestamp) {
        self.tally.asked(question, &answer, now);
        let place = &question.cluster;
        let waiting = self.polls.answered(place);
        let mut failure = None;
        if let Some(Ok(snapshot)) = &answer.workers {
            self.world.schedulers.entry(place.clone()).or_default().count_empty(snapshot);
        }
        let workers = match answer.workers {
            Some(Ok(workers)) => match self.world.doubt(&place.0, &place.1, &workers) {
                None => Some(workers),
                Some(doubt) => {
                    failure = Some(doubt);
                    None
                }
            },
            Some(Err(error)) => {
                failure = Some(Unanswered::from(&error));
                None
            }
            None => None,
        };
        let pod = self.world.scheduler_pod(&place.0, &place.1);
        let facts = self.world.schedulers.entry(place.clone()).or_default();
        let told = |facts: &SchedulerFacts| {
            (facts.path, facts.silence().is_some(), facts.failure.as_ref().map(|failure| failure.reason))
        };
        let before = told(facts);
        facts.asked = Some(question.asked);
        if let Some(workers) = workers {
            if let Some((id, pod)) = workers.id.clone().zip(pod) {
                facts.known_as = Some((id, pod));
            }
            facts.learn(question.asked, workers);
        }
        match answer.target {
            Some(Ok(target)) => {
                facts.target = Some((question.asked, target));
                facts.wishes.note(question.asked, target, question.ask.window);
            }
            Some(Err(error)) => failure = Some(Unanswered::from(&error)),
            None => {}
        }
        match answer.idle {
            Some(Ok(idle)) => facts.idle.note(question.asked, idle),
            Some(Err(error)) => failure = Some(Unanswered::from(&error)),
            None => {}
        }
        if question.at.is_none() {
            let message = "the scheduler's Service does not exist".into();
            failure = Some(Unanswered { reason: "ServiceMissing", message });
        }
        facts.failures = if failure.is_some() { facts.failures + 1 } else { 0 };
        facts.failure = failure;
        facts.path = answer.path.or(facts.path);
        let changed = before != told(facts);
        let cluster = Key::new(Kind::Cluster, &place.0, &place.1);
        for key in waiting.into_iter().chain(changed.then_some(cluster)) {
            self.reports.note(&key, &Cause::Answer);
            self.queue.add(key, now);
        }
    }

    fn plan(&mut self, key: Key, now: Timestamp) -> Option<Work> {
        self.reports.begin(&key, self.queue.was_due(&key), now);
        let advice_due = self.consult(&key, now);
        let mut plan = plan(&self.world, &key, now);
        if let Some(at) = advice_due {
            plan.look_again(at);
        }
        let violations = check::check(&self.world, &key, &plan, now);
        if !violations.is_empty() {
            tracing::error!(%key, ?violations, "refusing a plan that breaks an invariant");
            let message = format!("the operator refused its own plan: {}", violations.join("; "));
            self.violations.extend(violations);
            let memory = self.world.memory.entry(key.clone()).or_default();
            let failure = Some(("PlanRefused".to_owned(), message.clone()));
            memory.trouble = Some(Trouble { reason: "PlanRefused".into(), message });
            self.tally.reconciled(&key, Ended::Refused, self.took(&key, now));
            self.reports.end(&key, Ended::Refused, plan.steps().map(Step::summary), failure, now);
            self.queue.failed(&key, now, None);
            return None;
        }
        if plan.is_empty() {
            self.tally.reconciled(&key, Ended::Unchanged, self.took(&key, now));
            self.reports.end(&key, Ended::Unchanged, std::iter::empty(), None, now);
            let known = self.world.cache.resource(&key).is_some();
            let cured = self.world.memory.get_mut(&key).is_some_and(|memory| memory.trouble.take().is_some());
            self.queue.done(&key, if cured { Some(now) } else { plan.again });
            self.polls.want(&key, plan.poll);
            if !known {
                self.world.memory.remove(&key);
                self.queue.forget(&key);
                self.reports.forget(&key);
            }
            return None;
        }
        for step in plan.steps() {
            match step {
                Step::Create { target: Target::Extra(_), .. }
                | Step::Patch { target: Target::Extra(_), .. }
                | Step::Delete { target: Target::Extra(_), .. } => self.expect_for_plugins(step, &key, now),
                Step::Create { expect: Some(child), .. } => {
                    self.world.cache.expect_created((**child).clone(), now);
                }
                Step::Create { target: Target::Resource(made), .. } => {
                    self.world.cache.expect_resource(made, now);
                }
                Step::Delete { target: Target::Child(id), uid, .. } => {
                    self.world.cache.expect_deleted(id, uid, now);
                }
                Step::Delete { target: Target::Resource(going), uid, .. } => {
                    self.world.cache.expect_resource_gone(going, uid, now);
                }
                step => {
                    if let Some(id) = step.marks() {
                        self.world.cache.expect_retiring(id, now);
                    }
                }
            }
        }
        Some(Work::Execute(Task { key, plan }))
    }

    /// How long it is ago that a key which is being worked on was due.
    fn took(&self, key: &Key, now: Timestamp) -> SignedDuration {
        self.queue.was_due(key).map_or(SignedDuration::ZERO, |due| now.duration_since(due))
    }

    fn question(&mut self, now: Timestamp) -> Option<Question> {
        let (cluster, ask) = self.polls.next(now)?;
        let at = self.world.scheduler_address(&cluster.0, &cluster.1);
        Some(Question { cluster, at, ask, asked: now })
    }

    fn apply(&mut self, source: &Source, object: DynamicObject, now: Timestamp, listing: bool) {
        match source.what {
            What::Added(_) | What::Related(_) => {}
            What::Resource(kind) => {
                let Some(resource) = Resource::project(kind, object) else { return };
                let key = resource.key.clone();
                if listing && let Some((keys, _)) = &mut self.sync(source).listed {
                    keys.insert(key.clone());
                }
                let before = self.world.cache.makers(&key);
                self.world.plugins.noted(&resource, source, now);
                self.world.cache.apply_resource(resource);
                let after = self.world.cache.makers(&key);
                self.touch(before.into_iter().chain(after), &Cause::Seen(source.what.clone()), now);
            }
            What::Child(kind) => {
                let Some(child) = Child::project(kind, &object, &self.world.settings.domain) else { return };
                if listing && let Some((_, ids)) = &mut self.sync(source).listed {
                    ids.insert(child.id.clone());
                }
                let before = self.world.cache.child(&child.id).map(|known| self.world.cache.concerned(known));
                let keys = self.world.cache.concerned(&child);
                self.world.cache.apply_child(child);
                let keys = keys.into_iter().chain(before.into_iter().flatten());
                self.touch(keys, &Cause::Seen(source.what.clone()), now);
            }
        }
    }

    fn delete(&mut self, source: &Source, object: &DynamicObject, now: Timestamp) {
        let meta = &object.metadata;
        let (Some(namespace), Some(name)) = (meta.namespace.as_deref(), meta.name.as_deref()) else { return };
        match source.what {
            What::Added(_) | What::Related(_) => {}
            What::Resource(kind) => self.delete_resource(&Key::new(kind, namespace, name), now),
            What::Child(kind) => {
                let id = ChildId::new(kind, namespace, name);
                self.delete_child(&id, now);
            }
        }
    }

    fn delete_resource(&mut self, key: &Key, now: Timestamp) {
        let keys = self.world.cache.makers(key);
        if let Some(known) = self.world.cache.resource(key) {
            self.tally.gone(&known.uid);
        }
        let cause = Cause::Gone(What::Resource(key.kind));
        self.world.cache.delete_resource(key);
        self.world.plugins.forget(key);
        if key.kind == Kind::Cluster {
            self.world.schedulers.remove(&(key.namespace.clone(), key.name.clone()));
        }
        self.touch(keys, &cause, now);
    }

    fn delete_child(&mut self, id: &ChildId, now: Timestamp) {
        self.note_vanished(id, now);
        let keys =
            self.world.cache.child(id).map(|child| self.world.cache.concerned(child)).unwrap_or_default();
        self.world.cache.delete_child(id);
        self.touch(keys, &Cause::Gone(What::Child(id.kind)), now);
    }

    /// A worker that ran to the last and was not being retired may still be known to its scheduler.
    fn note_vanished(&mut self, id: &ChildId, now: Timestamp) {
        let Some(child) = self.world.cache.child(id) else { return };
        let ran = child.pod().is_some_and(|facts| facts.started && !facts.ended());
        let Some(group) = child.group.as_deref().filter(|_| ran && child.retiring.is_none()) else { return };
        let group = Key::new(Kind::WorkerGroup, &id.namespace, group);
        let Some(cluster) = self.world.cache.resource(&group).and_then(|group| group.follows()) else {
            return;
        };
        let place = (id.namespace.to_string(), cluster.to_owned());
        let cluster = self.world.cache.resource(&Key::new(Kind::Cluster, &place.0, &place.1));
        if cluster.is_none_or(|cluster| cluster.deleting) {
            return;
        }
        self.world.schedulers.entry(place).or_default().vanish(id.clone(), now);
    }

    fn listed(&mut self, source: &Source, now: Timestamp) {
        let sync = self.sync(source);
        sync.done = true;
        let Some((keys, ids)) = sync.listed.take() else { return };
        let inside = |namespace: &str| source.namespace.as_deref().is_none_or(|only| only == namespace);
        match source.what {
            What::Added(_) | What::Related(_) => {}
            What::Resource(kind) => {
                let gone: Vec<Key> = self
                    .world
                    .cache
                    .resources()
                    .map(|resource| resource.key.clone())
                    .filter(|key| key.kind == kind && inside(&key.namespace) && !keys.contains(key))
                    .collect();
                for key in gone {
                    self.delete_resource(&key, now);
                }
            }
            What::Child(kind) => {
                for id in self
                    .world
                    .cache
                    .unlisted(|id| id.kind != kind || !inside(&id.namespace) || ids.contains(id))
                {
                    self.delete_child(&id, now);
                }
            }
        }
    }

    /// Queues keys; those of large groups a little later, so that many events cost one plan.
    fn touch(&mut self, keys: impl IntoIterator<Item = Key>, cause: &Cause, now: Timestamp) {
        for key in keys {
            self.reports.note(&key, cause);
            let size = match key.kind {
                Kind::WorkerGroup => self.world.cache.group_size(&key.namespace, &key.name),
                _ => 0,
            };
            let gather = SignedDuration::from_millis((size / CHILDREN_PER_MILLISECOND) as i64);
            self.queue.add(key, now + gather);
        }
    }

    fn sync(&mut self, source: &Source) -> &mut Sync {
        self.sources.entry(source.clone()).or_default()
    }
}

/// What to do about a resource. Whoever carries it out checks it first.
pub fn plan(world: &World, key: &Key, now: Timestamp) -> Plan {
    match key.kind {
        Kind::Job => job::reconcile(world, key, now),
        Kind::Cluster => cluster::reconcile(world, key, now),
        Kind::WorkerGroup => worker_group::reconcile(world, key, now),
        Kind::Autoscaler => autoscaler::reconcile(world, key, now),
    }
}
