//! The handle everything else uses: the state machine behind a lock, its clock, its timers, its watchers.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::NodeProxy;
use crate::request::{Request, Verb};
use crate::response::Response;
use crate::server::{ApiServer, Clock, Config, Conversation, Progress};
use crate::status::Status;
use crate::storage::{GroupResource, Watch, WatchEvent};

/// An API server that can be shared: clones are handles of the same server.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Told when the time of the next timer has changed.
    timer: Notify,
    history: usize,
}

struct State {
    api: ApiServer,
    clock: Clock,
    due: Option<Timestamp>,
    /// One for each resource that is or was watched.
    wakers: BTreeMap<GroupResource, Arc<Notify>>,
    watches: usize,
    nodes: BTreeMap<String, Arc<dyn NodeProxy>>,
}

/// The events of a watch, without end unless the watch has a timeout or falls out of history.
///
/// The last item may be an error: the `Status` of the `ERROR` event.
pub struct WatchStream {
    inner: BoxStream<'static, Result<WatchEvent, Status>>,
}

/// Events read under one lock.
const BATCH: usize = 256;
/// Seconds between bookmarks.
const BOOKMARK_SECONDS: u64 = 60;
/// Seconds between the last of them and the end of a watch.
const LAST_SECONDS: u64 = 2;

impl Server {
    /// A new cluster.
    pub fn new(config: Config) -> Self {
        let history = config.history;
        let clock = config.clock;
        let auto_step = config.auto_step;
        let mut api = ApiServer::new(config, clock_now(clock));
        let due = if auto_step { api.step(clock_now(clock)) } else { None };
        let state = State { api, clock, due, wakers: BTreeMap::new(), watches: 0, nodes: BTreeMap::new() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), timer: Notify::new(), history }) }
    }

    /// The server's time.
    pub fn now(&self) -> Timestamp {
        clock_now(self.lock().clock)
    }

    /// Answers one request, then lets the controllers work (with `Config::auto_step`) and wakes watchers.
    ///
    /// Admission webhooks that would have to be called count as failed: use [`Server::ask`] where there are some.
    pub fn request(&self, request: &Request) -> Result<Response, Status> {
        self.enter(request, |api, now| api.handle(now, request))
    }

    /// Answers one request as [`Server::request`] does, and calls the admission webhooks it has to pass.
    pub async fn ask(&self, request: &Request) -> Result<Response, Status> {
        let mut conversation = Conversation::default();
        loop {
            match self.enter(request, |api, now| api.converse(now, request, &mut conversation))? {
                Progress::Done(response) => return Ok(*response),
                Progress::Call(call) => {
                    let answer = super::webhook::call(self, &call).await;
                    conversation.answer(&call, answer);
                }
            }
        }
    }

    fn enter<T>(
        &self,
        request: &Request,
        handle: impl FnOnce(&mut ApiServer, Timestamp) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut state = self.lock();
        let now = clock_now(state.clock);
        if request.verb == Verb::Watch && state.watches >= state.api.config().max_watches {
            let mut busy =
                Status::new(429, "TooManyRequests", "too many watches are open; please try again later");
            busy.details.retry_after_seconds = 1;
            return Err(busy);
        }
        let answer = handle(&mut state.api, now);
        let reads = matches!(request.verb, Verb::Get | Verb::List | Verb::Watch);
        if state.api.config().auto_step && (!reads || state.due.is_some_and(|due| due <= now)) {
            self.step_locked(&mut state, now);
        }
        self.wake(&mut state);
        answer
    }

    /// Runs the controllers until nothing is due; returns when something will be.
    pub fn step(&self) -> Option<Timestamp> {
        let mut state = self.lock();
        let now = clock_now(state.clock);
        self.step_locked(&mut state, now);
        self.wake(&mut state);
        state.due
    }

    /// When the controllers next have something to do that no write announces, as of the last step.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lock().due
    }

    /// Reads or changes the state machine itself, for what has no request: `|api| api.compact(…)`.
    pub fn with<T>(&self, use_it: impl FnOnce(&mut ApiServer) -> T) -> T {
        let mut state = self.lock();
        let result = use_it(&mut state.api);
        self.wake(&mut state);
        result
    }

    /// Follows a collection; the watch comes from the answer to a watch request.
    pub fn watch(&self, watch: Watch) -> WatchStream {
        let end = watch.timeout_seconds;
        let wake = {
            let mut state = self.lock();
            state.watches += 1;
            Arc::clone(state.wakers.entry(watch.resource.clone()).or_default())
        };
        let follow = Follow {
            guard: WatchGuard { server: self.clone() },
            watch,
            wake,
            ready: Vec::new().into_iter(),
            over: false,
            last_bookmark: end
                .and_then(|end| end.checked_sub(LAST_SECONDS))
                .map(|wait| Instant::now() + Duration::from_secs(wait)),
        };
        let events = futures::stream::unfold(follow, Follow::next);
        let inner = match end {
            Some(seconds) => {
                let end = tokio::time::sleep(Duration::from_secs(seconds));
                events.take_until(end).boxed()
            }
            None => events.boxed(),
        };
        WatchStream { inner }
    }

    /// Moves a manual clock forward, stopping at every time something is due. A system clock is left alone.
    pub fn advance(&self, by: SignedDuration) {
        let mut state = self.lock();
        let Clock::Manual(start) = state.clock else { return };
        let Ok(end) = start.checked_add(by) else { return };
        while let Some(due) = state.due.filter(|due| *due <= end) {
            let at = due.max(clock_now(state.clock));
            state.clock = Clock::Manual(at);
            self.step_locked(&mut state, at);
            if state.due == Some(due) {
                break;
            }
        }
        state.clock = Clock::Manual(end);
        if state.api.config().auto_step {
            self.step_locked(&mut state, end);
        }
        self.wake(&mut state);
    }

    /// Runs timers as they become due on the system clock; never returns. Idle while nothing is due, and with a
    /// manual clock.
    pub async fn run(&self) {
        if matches!(self.lock().clock, Clock::Manual(_)) {
            return std::future::pending().await;
        }
        loop {
            let timer = self.shared.timer.notified();
            match self.next_due() {
                None => timer.await,
                Some(due) => {
                    let wait = due.duration_since(self.now());
                    let wait = Duration::try_from(wait).unwrap_or_default();
                    tokio::select! {
                        biased;
                        () = timer => {}
                        () = tokio::time::sleep(wait) => { self.step(); }
                    }
                }
            }
        }
    }

    /// Requests about pods on `node` that only its kubelet can answer (logs) go to `proxy`.
    pub fn set_node(&self, node: &str, proxy: Arc<dyn NodeProxy>) {
        self.lock().nodes.insert(node.into(), proxy);
    }

    /// The kubelet of a node, if one was set.
    pub fn node(&self, node: &str) -> Option<Arc<dyn NodeProxy>> {
        self.lock().nodes.get(node).cloned()
    }

    /// How many changes of each resource are kept.
    pub fn history(&self) -> usize {
        self.shared.history
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step_locked(&self, state: &mut State, now: Timestamp) {
        let due = state.api.step(now);
        if due != state.due {
            state.due = due;
            self.shared.timer.notify_one();
        }
    }

    #[allow(clippy::unused_self)]
    fn wake(&self, state: &mut State) {
        for resource in state.api.take_touched() {
            if let Some(waker) = state.wakers.get(&resource) {
                waker.notify_waiters();
            }
        }
    }
}

fn clock_now(clock: Clock) -> Timestamp {
    match clock {
        Clock::System => Timestamp::now(),
        Clock::Manual(now) => now,
    }
}

struct WatchGuard {
    server: Server,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let mut state = self.server.lock();
        state.watches = state.watches.saturating_sub(1);
    }
}

struct Follow {
    guard: WatchGuard,
    watch: Watch,
    wake: Arc<Notify>,
    ready: std::vec::IntoIter<WatchEvent>,
    over: bool,
    /// When the bookmark before the end of the watch is due, until it was sent.
    last_bookmark: Option<Instant>,
}

impl Follow {
    /// One a minute, and one shortly before the watch ends, so that its client knows where to go on.
    fn next_bookmark(&self) -> Instant {
        let next = Instant::now() + Duration::from_secs(BOOKMARK_SECONDS);
        self.last_bookmark.map_or(next, |last| last.min(next))
    }

    async fn next(mut self) -> Option<(Result<WatchEvent, Status>, Self)> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some((Ok(event), self));
            }
            if self.over {
                return None;
            }
            let wake = Arc::clone(&self.wake);
            let notified = wake.notified();
            let (polled, needed) = {
                let mut state = self.guard.server.lock();
                let polled = state.api.poll_watch(&mut self.watch, BATCH);
                (polled, state.api.needed_conversion())
            };
            let asked = needed.is_some();
            if let Some(call) = needed {
                let answer = super::webhook::call(&self.guard.server, &call).await;
                let taken = self.guard.server.lock().api.take_conversion(&call, answer);
                if let Err(refused) = taken {
                    self.over = true;
                    return Some((Err(refused), self));
                }
            }
            match polled {
                Err(gone) => {
                    self.over = true;
                    return Some((Err(gone), self));
                }
                Ok(events) if asked || !events.is_empty() => self.ready = events.into_iter(),
                Ok(_) if !self.watch.bookmarks => notified.await,
                Ok(_) => {
                    let bookmark = self.next_bookmark();
                    tokio::select! {
                        biased;
                        () = notified => {}
                        () = tokio::time::sleep_until(bookmark) => {
                            self.last_bookmark = self.last_bookmark.filter(|last| *last > bookmark);
                            let event = self.guard.server.lock().api.bookmark(&self.watch);
                            return Some((Ok(event), self));
                        }
                    }
                }
            }
        }
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.poll_next_unpin(context)
    }
}
