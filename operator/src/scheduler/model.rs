//! A model of one Dask scheduler with its workers, tasks and results: what is lost is noticed.
//!
//! It keeps to what the contract tests show of real ones: `Begin` gives a worker no more tasks, lets it end what it runs and
//! moves what only it holds; `Finish` forgets it, and what it still runs begins anew; a worker whose data finds no place is kept.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Retire, Snapshot, Worker, WorkerStatus};

/// Time after which the container of a worker that was let go has been restarted, if its pod still exists.
const RESTART: SignedDuration = SignedDuration::from_secs(2);
/// Time that a worker takes from its pod's being ready, which by default is at its start, to its being registered.
const START: SignedDuration = SignedDuration::from_secs(2);

/// What one scheduler knows.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// What it calls itself.
    pub id: String,
    /// The registered workers, by address.
    pub workers: BTreeMap<String, ModelWorker>,
    /// Workers that stay when asked to retire, as when they hold an actor.
    pub stubborn: BTreeSet<String>,
    /// The answer to how many workers are wanted.
    pub desired_workers: u32,
    /// The answer to since when there has been nothing to do.
    pub idle_since: Option<Timestamp>,
    /// Every worker let go so far, in order, and when.
    pub retired: Vec<(String, Timestamp)>,
    /// What was lost by a worker's going and need not have been, in words.
    pub lost: Vec<String>,
    tasks: BTreeMap<u64, Task>,
    /// Hosts where workers have started that have not registered yet, and when they will.
    coming: BTreeMap<String, Timestamp>,
    /// Workers that start from now on never register.
    pub deaf: bool,
    /// Workers that somebody else than the operator ended.
    excused: BTreeSet<String>,
    /// Until then it told nonsense of itself, and what is begun anew is its own fault.
    lied: bool,
}

/// A registered worker.
#[derive(Clone, Debug, Default)]
pub struct ModelWorker {
    /// The name it registered with.
    pub name: String,
    /// Its status.
    pub status: WorkerStatus,
    /// Bytes of results it holds besides those of tasks.
    pub bytes: u64,
    /// Tasks it runs besides those known here, without end.
    pub busy: u64,
}

#[derive(Clone, Debug)]
struct Task {
    takes: SignedDuration,
    bytes: u64,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// Given to a worker that has not begun it.
    Given(String),
    Running {
        on: String,
        until: Timestamp,
    },
    /// Its result is there.
    Held(BTreeSet<String>),
}

impl Model {
    /// A scheduler that has just been started.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::default() }
    }

    /// A worker registers.
    pub fn join(&mut self, address: &str, name: &str) {
        self.workers
            .insert(address.to_owned(), ModelWorker { name: name.to_owned(), ..ModelWorker::default() });
    }

    /// Whether those that started at this host, without having been here before, register now.
    pub fn comes(&mut self, host: &str, now: Timestamp) -> bool {
        let due = *self.coming.entry(host.to_owned()).or_insert(now + START);
        let comes = !self.deaf && due <= now;
        if comes {
            self.coming.remove(host);
        }
        comes
    }

    /// Those that started at other hosts than these have gone without having registered.
    pub fn stay(&mut self, here: impl Fn(&str) -> bool) {
        self.coming.retain(|host, _| here(host));
    }

    /// A client hands in a task that takes so long and has a result of that size.
    pub fn submit(&mut self, takes: SignedDuration, bytes: u64) {
        let number = self.tasks.keys().next_back().map_or(0, |last| last + 1);
        self.tasks.insert(number, Task { takes, bytes, state: State::Waiting });
    }

    /// Clients want no result any more that is there.
    pub fn release(&mut self) {
        self.tasks.retain(|_, task| !matches!(task.state, State::Held(_)));
    }

    /// How many tasks have their result, of how many.
    pub fn results(&self) -> (usize, usize) {
        let held = self.tasks.values().filter(|task| matches!(task.state, State::Held(_))).count();
        (held, self.tasks.len())
    }

    /// What ends at this host from now on is not the operator's doing.
    pub fn excuse(&mut self, host: &str) {
        self.excused.insert(host.to_owned());
    }

    /// From now on what begins anew is the fault of what the scheduler said.
    pub fn lie(&mut self) {
        self.lied = true;
    }

    /// A worker is gone without a word.
    pub fn lose(&mut self, address: &str) {
        let Some(worker) = self.workers.remove(address) else { return };
        let excused = self.excused.iter().any(|host| address.contains(host.as_str()));
        let mut lost = Vec::new();
        for (number, task) in &mut self.tasks {
            let alone = match &mut task.state {
                State::Given(on) | State::Running { on, .. } if on == address => true,
                State::Held(on) => on.remove(address) && on.is_empty(),
                _ => false,
            };
            if !alone {
                continue;
            }
            match std::mem::replace(&mut task.state, State::Waiting) {
                State::Running { .. } => lost.push(format!("task {number} was running on {}", worker.name)),
                State::Held(_) => lost.push(format!("only {} held the result of task {number}", worker.name)),
                State::Given(_) | State::Waiting => {}
            }
        }
        if !excused {
            self.lost.extend(lost);
        }
    }

    /// When a worker at this host that was let go registers again, and with which port.
    pub fn returns(&self, host: &str) -> Option<(Timestamp, usize)> {
        let mut lives = self.retired.iter().filter(|(address, _)| address.contains(host));
        let count = lives.clone().count();
        lives.next_back().map(|(_, at)| (*at + RESTART, count))
    }

    /// Tasks end, and others begin.
    pub fn work(&mut self, now: Timestamp) {
        for task in self.tasks.values_mut() {
            if let State::Running { on, until } = &task.state
                && *until <= now
            {
                task.state = State::Held(BTreeSet::from([on.clone()]));
            }
        }
        let working: Vec<String> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.status == WorkerStatus::Running)
            .map(|(address, _)| address.clone())
            .collect();
        // A thread each, and one more task to have when that one has ended.
        for address in &working {
            let given = |task: &&mut Task| task.state == State::Given(address.clone());
            if self.running(address) == 0
                && let Some(task) = self.tasks.values_mut().find(given)
            {
                task.state = State::Running { on: address.clone(), until: now + task.takes };
            }
        }
        for address in &working {
            let waiting = |task: &&mut Task| task.state == State::Waiting;
            if self.running(address) == 0
                && let Some(task) = self.tasks.values_mut().find(waiting)
            {
                task.state = State::Running { on: address.clone(), until: now + task.takes };
            }
        }
        for address in &working {
            let waiting = |task: &&mut Task| task.state == State::Waiting;
            if self.given(address) == 0
                && let Some(task) = self.tasks.values_mut().find(waiting)
            {
                task.state = State::Given(address.clone());
            }
        }
    }

    /// When something ends or comes next.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.tasks.values().filter_map(|task| match &task.state {
            State::Running { until, .. } => Some(*until),
            _ => None,
        });
        ends.chain(self.coming.values().copied().filter(|due| *due > now)).min()
    }

    /// What it says of its workers.
    pub fn snapshot(&self, staged: bool, now: Timestamp) -> Snapshot {
        let worker = |(address, worker): (&String, &ModelWorker)| {
            let running = self.running(address) + worker.busy;
            let told = Worker {
                name: worker.name.clone(),
                stored_bytes: Some(worker.bytes + self.bytes(address)),
                tasks: Some(running + self.given(address)),
                running: staged.then_some(running),
                status: worker.status,
                heartbeat: Some(now),
            };
            (address.clone(), told)
        };
        Snapshot { id: Some(self.id.clone()), staged, workers: self.workers.iter().map(worker).collect() }
    }

    /// Retires workers; those that it did retire.
    pub fn retire(&mut self, addresses: &[String], how: Retire, now: Timestamp) -> BTreeSet<String> {
        let place = |worker: &(&String, &ModelWorker)| {
            worker.1.status == WorkerStatus::Running && !addresses.contains(worker.0)
        };
        let recipient = self.workers.iter().find(place).map(|(address, _)| address.clone());
        let mut retired = BTreeSet::new();
        for address in addresses {
            if self.stubborn.contains(address) || !self.moves(address, recipient.as_deref()) {
                continue;
            }
            retired.insert(address.clone());
            match how {
                Retire::Begin => {
                    if let Some(worker) = self.workers.get_mut(address) {
                        worker.status = WorkerStatus::Closing;
                    }
                }
                Retire::Finish => self.forget(address, now),
            }
        }
        retired
    }

    /// Moves what only this worker holds; whether it is known and there was a place for all of it.
    fn moves(&mut self, address: &str, recipient: Option<&str>) -> bool {
        let Some(worker) = self.workers.get(address) else { return false };
        let bytes = worker.bytes;
        let only =
            |task: &Task| matches!(&task.state, State::Held(on) if on.len() == 1 && on.contains(address));
        let Some(recipient) = recipient else { return bytes == 0 && !self.tasks.values().any(only) };
        for task in self.tasks.values_mut() {
            if let State::Held(on) = &mut task.state
                && on.remove(address)
            {
                on.insert(recipient.to_owned());
            }
        }
        for (of, bytes) in [(address, 0), (recipient, bytes)] {
            if let Some(worker) = self.workers.get_mut(of) {
                worker.bytes = if bytes == 0 && of == address { 0 } else { worker.bytes + bytes };
            }
        }
        true
    }

    fn forget(&mut self, address: &str, now: Timestamp) {
        let Some(worker) = self.workers.remove(address) else { return };
        self.retired.push((address.to_owned(), now));
        for (number, task) in &mut self.tasks {
            match &task.state {
                State::Given(on) if on == address => task.state = State::Waiting,
                State::Running { on, .. } if on == address => {
                    if !self.lied {
                        self.lost.push(format!("{} was let go while it ran task {number}", worker.name));
                    }
                    task.state = State::Waiting;
                }
                _ => {}
            }
        }
    }

    fn running(&self, address: &str) -> u64 {
        let here = |task: &&Task| matches!(&task.state, State::Running { on, .. } if on == address);
        self.tasks.values().filter(here).count() as u64
    }

    fn given(&self, address: &str) -> u64 {
        let here = |task: &&Task| matches!(&task.state, State::Given(on) if on == address);
        self.tasks.values().filter(here).count() as u64
    }

    fn bytes(&self, address: &str) -> u64 {
        let here = |task: &&Task| matches!(&task.state, State::Held(on) if on.contains(address));
        self.tasks.values().filter(here).map(|task| task.bytes).sum()
    }
}
