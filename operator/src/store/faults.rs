//! Decorator: calls that fail, get lost, or kill the operator, at exactly the places a test names.

use std::{sync::Mutex, time::Duration};

use futures::{StreamExt, stream};

use super::{
    Cause, Result, StoreError, WatchStream,
    call::{Call, Verb},
    decorated::{Decorated, Decorator, Sent},
    error::ObjectName,
};

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Refused: somebody else was faster.
    Conflict,
    /// Refused: a ResourceQuota is exhausted.
    Quota,
    /// Refused: the content is invalid.
    Invalid,
    /// Refused: we may not.
    Forbidden,
    /// Refused with 429 or 503; the server asks to wait this many seconds.
    Busy {
        /// `Retry-After`.
        seconds: u64,
    },
    /// The connection breaks before the request is sent: nothing happens, and the caller cannot know.
    BeforeSend,
    /// The request takes effect and its answer is lost: the caller cannot know.
    ResponseLost,
}

/// Which calls a fault hits. Fields that are `None` match everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Only this verb.
    pub verb: Option<Verb>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only names that contain this.
    pub name: Option<String>,
    /// The first matching call that is hit; the first is 1.
    pub nth: u64,
    /// How many matching calls in a row are hit.
    pub times: u64,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// The nth call of a verb on a kind fails once.
    pub fn nth(verb: Verb, kind: &str, nth: u64, fault: Fault) -> Self {
        Self { verb: Some(verb), kind: Some(kind.into()), name: None, nth, times: 1, fault }
    }

    /// Every call of a verb on a kind fails.
    pub fn always(verb: Verb, kind: &str, fault: Fault) -> Self {
        Self { times: u64::MAX, ..Self::nth(verb, kind, 1, fault) }
    }

    fn matches(&self, call: &Call) -> bool {
        self.verb.is_none_or(|verb| verb == call.verb)
            && self.kind.as_ref().is_none_or(|kind| *kind == call.kind)
            && self.name.as_ref().is_none_or(|name| call.name.contains(name))
    }

    fn hits(&self, count: u64) -> bool {
        count >= self.nth && count - self.nth < self.times
    }
}

/// Where in a write the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashPoint {
    /// The request was never sent.
    BeforeSend,
    /// It took effect; the answer never arrived.
    ResponseLost,
    /// It took effect and was answered; what would have come next does not happen.
    AfterResponse,
}

impl CrashPoint {
    /// All three positions.
    pub const ALL: [Self; 3] = [Self::BeforeSend, Self::ResponseLost, Self::AfterResponse];
}

/// A store whose calls fail by rules.
pub type FaultStore<S> = Decorated<Faults, S>;

/// The rules by which calls fail.
///
/// After a crash every call fails until [`Faults::revive`]: whoever drives the operator drops it and starts another.
#[derive(Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<(Rule, u64)>,
    injected: u64,
    writes: u64,
    crash: Option<(u64, CrashPoint)>,
    crashed: bool,
}

/// What becomes of a call.
enum Fate {
    Passes,
    Fails(Fault),
    Dies(CrashPoint),
    IsDead,
}

impl Faults {
    /// Adds a rule; the first one that hits decides.
    pub fn add(&self, rule: Rule) {
        self.with(|state| state.rules.push((rule, 0)));
    }

    /// Removes all rules and a crash that has not happened yet.
    pub fn heal(&self) {
        self.with(|state| {
            state.rules.clear();
            state.crash = None;
        });
    }

    /// The operator dies at the nth write from the beginning, counted from 1.
    pub fn crash_at_write(&self, nth: u64, point: CrashPoint) {
        self.with(|state| state.crash = Some((nth, point)));
    }

    /// Whether the operator has died.
    pub fn crashed(&self) -> bool {
        self.with(|state| state.crashed)
    }

    /// Lets calls through again after a crash, for the next operator.
    pub fn revive(&self) {
        self.with(|state| state.crashed = false);
    }

    /// How many writes were asked for, whether they took effect or not.
    pub fn writes(&self) -> u64 {
        self.with(|state| state.writes)
    }

    /// How many faults were injected: a test whose rule never hit has tested nothing.
    pub fn injected(&self) -> u64 {
        self.with(|state| state.injected)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn fate(&self, call: &Call) -> Fate {
        self.with(|state| state.fate(call))
    }
}

impl Decorator for Faults {
    async fn call<T: Send>(
        &self,
        call: Call,
        _: Sent<'_>,
        run: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self.fate(&call) {
            Fate::Passes => run.await,
            Fate::IsDead => Err(dead(&call)),
            Fate::Fails(Fault::ResponseLost) => {
                let _ = run.await;
                Err(lost(&call))
            }
            Fate::Fails(fault) => Err(failure(&call, fault)),
            Fate::Dies(CrashPoint::BeforeSend) => {
                self.with(|state| state.crashed = true);
                Err(dead(&call))
            }
            Fate::Dies(CrashPoint::ResponseLost) => {
                let _ = run.await;
                self.with(|state| state.crashed = true);
                Err(dead(&call))
            }
            Fate::Dies(CrashPoint::AfterResponse) => {
                let answer = run.await;
                self.with(|state| state.crashed = true);
                answer
            }
        }
    }

    /// A fault of a watch is its first item; the watch goes on after it, as the contract says.
    fn watch(&self, call: Call, events: WatchStream) -> WatchStream {
        match self.fate(&call) {
            Fate::Passes => events,
            Fate::IsDead | Fate::Dies(_) => stream::iter([Err(dead(&call))]).chain(events).boxed(),
            Fate::Fails(fault) => stream::iter([Err(failure(&call, fault))]).chain(events).boxed(),
        }
    }
}

impl State {
    fn fate(&mut self, call: &Call) -> Fate {
        if self.crashed {
            return Fate::IsDead;
        }
        if call.verb.writes() {
            self.writes += 1;
            if let Some((nth, point)) = self.crash
                && nth == self.writes
            {
                self.crash = None;
                self.injected += 1;
                return Fate::Dies(point);
            }
        }
        let mut fate = Fate::Passes;
        for (rule, count) in &mut self.rules {
            if rule.matches(call) {
                *count += 1;
                if matches!(fate, Fate::Passes) && rule.hits(*count) {
                    fate = Fate::Fails(rule.fault);
                }
            }
        }
        if matches!(fate, Fate::Fails(_)) {
            self.injected += 1;
        }
        fate
    }
}

fn name(call: &Call) -> ObjectName {
    ObjectName { kind: call.kind.clone(), namespace: call.namespace.clone(), name: call.name.clone() }
}

fn transient(call: &Call, message: &str) -> StoreError {
    StoreError::Transient { object: name(call), message: message.into(), retry_after: None }
}

fn dead(call: &Call) -> StoreError {
    transient(call, "the operator has crashed")
}

fn lost(call: &Call) -> StoreError {
    transient(call, "connection closed before the answer")
}

fn failure(call: &Call, fault: Fault) -> StoreError {
    let object = name(call);
    match fault {
        Fault::Conflict => StoreError::Conflict { object, message: "injected conflict".into() },
        Fault::Quota => {
            StoreError::Forbidden { object, message: "exceeded quota: injected".into(), quota: true }
        }
        Fault::Forbidden => {
            StoreError::Forbidden { object, message: "injected refusal".into(), quota: false }
        }
        Fault::Invalid => {
            let cause = Cause { field: "spec".into(), message: "injected refusal".into() };
            StoreError::Invalid { object, causes: vec![cause] }
        }
        Fault::Busy { seconds } => StoreError::Transient {
            object,
            message: "too many requests".into(),
            retry_after: Some(Duration::from_secs(seconds)),
        },
        Fault::BeforeSend | Fault::ResponseLost => transient(call, "connection refused"),
    }
}
