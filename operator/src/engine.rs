//! The engine: events in, work out. Synchronous; the clock comes in as an argument.
//!
//! ```text
//! observe(event) → cache → queue → next() → Work::Execute(plan) → finished(outcome)
//!                                          Work::Poll(question)  → answered(answer)
//!                                          Work::Ask(question)   → advised(answer)
//!                                          Work::Follow(source)  → observe(event)
//! ```
//!
//! What comes in stands in `intake` and `endings`, what goes out below.
//!
//! The same events at the same times give the same work in the same order. The shell ([`crate::run`]) and the simulation
//! drive it alike.

mod endings;
mod intake;
mod plugins;
mod source;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::check;
use crate::metrics::tally::{Ended, Tally};
use crate::observe::{Key, Kind};
use crate::plan::{Ask, Plan, Step, Target};
use crate::plugin;
use crate::polls::Polls;
use crate::queue::Queue;
use crate::scheduler::{Path, SchedulerAddress, SchedulerError, Snapshot};
use crate::settings::Settings;
use crate::store::served::Served;
use crate::traces::report::{Cause, Reports};
use crate::world::{Trouble, World};
use crate::{autoscaler, cluster, job, worker_group};

use intake::Sync;
pub use source::{Source, What};

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
