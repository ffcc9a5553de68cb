//! Leader election: of several operators one works, the others stand by.
//!
//! | module | what it is |
//! |---|---|
//! | [`elector`] | who may take the Lease, and how long its holder may act; pure |
//! | [`lease`] | the Lease object |
//!
//! The rules are those of client-go's `leaderelection`, so that its timings mean the same here:
//! nobody compares the Lease's times with its own clock. Who stands by takes the Lease when it has seen no change of it for
//! [`Timing::lease`] of its own time; who holds it acts no longer than [`Timing::renew`] from when it *began* the last renewal
//! that succeeded. Clocks may therefore differ by anything, and run differently by a third.
//!
//! An operator that loses the Lease drops everything under way at once and stands by again. One that gains it begins as a fresh
//! process does, with a new list of everything: it sees all that its predecessor has written.

pub mod elector;
pub mod lease;
#[cfg(all(test, feature = "fake"))]
mod tests;

use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::{self, BoxFuture, Either, FutureExt};
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::execute::MANAGER;
use crate::health::Health;
use crate::run::{Deps, run};
use crate::store::{ObjectKey, Part, Patch, PatchOptions, Store, StoreError};
use elector::{Elector, Move};
use lease::Held;

/// Longest time that giving the Lease up may take at the end.
const RELEASE: Duration = Duration::from_secs(2);

/// How the operators of one release find each other.
#[derive(Clone, Debug)]
pub struct Election {
    /// The Lease they share.
    pub lease: ObjectKey,
    /// The name of this one; different in each process.
    pub identity: String,
    /// How long things take.
    pub timing: Timing,
}

/// How long things take; [`Timing::check`] says what must hold between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Without a change of the Lease for so long, it may be taken.
    pub lease: SignedDuration,
    /// So long after its last renewal its holder stops.
    pub renew: SignedDuration,
    /// Between two looks at the Lease.
    pub retry: SignedDuration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: SignedDuration::from_secs(15),
            renew: SignedDuration::from_secs(10),
            retry: SignedDuration::from_secs(2),
        }
    }
}

impl Timing {
    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        let seconds = |time: SignedDuration| time.as_secs_f64();
        if self.lease < SignedDuration::from_secs(1) {
            return Err(format!("a lease of {} s is too short: give it at least 1", seconds(self.lease)));
        }
        if self.renew >= self.lease {
            return Err(format!(
                "a holder that stops {} s after its last renewal would act beside the next one, which takes the lease after {} s: \
                 make the first shorter",
                seconds(self.renew),
                seconds(self.lease)
            ));
        }
        if self.retry * 2 > self.renew || self.retry <= SignedDuration::ZERO {
            return Err(format!(
                "a look every {} s leaves a renewal within {} s no second try: make it at most half of that",
                seconds(self.retry),
                seconds(self.renew)
            ));
        }
        Ok(())
    }
}

/// What an election needs of the outside.
pub struct Outside<'a> {
    /// Kubernetes.
    pub store: &'a dyn Store,
    /// Time.
    pub clock: Clock,
    /// Where signs of life go while another one works.
    pub health: &'a Health,
    /// Who writes the Lease, for `managedFields`.
    pub manager: &'a str,
    /// Spreads the looks of several who stand by.
    pub seed: u64,
}

/// Runs the operator whenever it holds the Lease, until `shutdown`; then gives the Lease up, so that the next one need not wait.
pub async fn lead(election: &Election, deps: &Deps, shutdown: impl Future<Output = ()>) {
    let outside = Outside {
        store: &*deps.store,
        clock: deps.clock,
        health: &deps.health,
        manager: MANAGER,
        seed: deps.seed,
    };
    lead_with(election, &outside, |end| run(deps.clone(), end), shutdown).await;
}

/// The same for any program: `work` is begun each time that the Lease is gained, and dropped where it stands when the Lease is lost.
/// What it is given resolves when it is to end in its own time.
pub async fn lead_with<W: Future<Output = ()>>(
    election: &Election,
    outside: &Outside<'_>,
    work: impl Fn(BoxFuture<'static, ()>) -> W,
    shutdown: impl Future<Output = ()>,
) {
    let elector = Elector::new(election.clone(), outside.seed);
    let mut candidate = Candidate { election, outside, elector };
    let mut shutdown = pin!(shutdown);
    loop {
        tracing::info!(lease = %election.lease, identity = election.identity, "standing by");
        tokio::select! {
            biased;
            () = &mut shutdown => return,
            () = candidate.win() => {}
        }
        tracing::info!(lease = %election.lease, identity = election.identity, "leading");
        let ended = candidate.work(&work, &mut shutdown).await;
        if ended {
            candidate.release().await;
            return;
        }
        tracing::error!(lease = %election.lease, "the lease could not be kept; what was under way is dropped");
    }
}

/// One of those who share the Lease.
struct Candidate<'a> {
    election: &'a Election,
    outside: &'a Outside<'a>,
    elector: Elector,
}

impl Candidate<'_> {
    /// Stands by until the Lease is held.
    async fn win(&mut self) {
        while !self.elector.leads(self.outside.clock.now()) {
            let looked = self.attempt().await;
            // Standing by is what it is there for: it is ready as soon as it knows the Lease.
            self.outside.health.alive(self.outside.clock.now(), looked);
            if !self.elector.leads(self.outside.clock.now()) {
                self.pause().await;
            }
        }
    }

    /// Works as long as the Lease is held; `true` if it ended because it was told to.
    async fn work<W: Future<Output = ()>>(
        &mut self,
        work: impl Fn(BoxFuture<'static, ()>) -> W,
        shutdown: impl Future<Output = ()>,
    ) -> bool {
        let (told, hears) = tokio::sync::oneshot::channel::<()>();
        let clock = self.outside.clock;
        let until = AtomicI64::new(self.elector.leads_until().as_microsecond());
        let mut operator = pin!(work(hears.map(|_| ()).boxed()));
        // A process that was suspended may be woken by an answer before its timers: whatever wakes it, it does nothing late.
        let working = pin!(future::poll_fn(|context| {
            if clock.now().as_microsecond() < until.load(Ordering::Relaxed) {
                operator.as_mut().poll(context)
            } else {
                Poll::Pending
            }
        }));
        let keeping = pin!(async {
            while self.elector.leads(clock.now()) {
                self.pause().await;
                // Who hangs in a request must stop in time all the same.
                let deadline = clock.instant(self.elector.leads_until());
                let _ = tokio::time::timeout_at(deadline, self.attempt()).await;
                until.store(self.elector.leads_until().as_microsecond(), Ordering::Relaxed);
            }
        });
        // First the Lease: nothing else happens once it is lost.
        let both = future::select(keeping, working);
        match future::select(both, pin!(shutdown)).await {
            Either::Left((Either::Left(((), _)), _)) => false,
            Either::Left((Either::Right(((), _)), _)) => true,
            Either::Right(((), both)) => {
                let _ = told.send(());
                matches!(both.await, Either::Right(_))
            }
        }
    }

    /// Until the next look, but not longer than the Lease is held.
    async fn pause(&mut self) {
        let now = self.outside.clock.now();
        let mut until = self.elector.next_look(now);
        if self.elector.leads(now) {
            until = until.min(self.elector.leads_until());
        }
        tokio::time::sleep_until(self.outside.clock.instant(until)).await;
    }

    /// One look at the Lease, and one try to take or renew it if that is allowed. Whether the API server answered.
    async fn attempt(&mut self) -> bool {
        match self.try_once().await {
            Ok(()) => true,
            // Somebody else was faster; the next look shows who.
            Err(StoreError::Conflict { .. } | StoreError::AlreadyExists { .. }) => {
                self.elector.forget();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the lease could not be looked at or written");
                self.elector.forget();
                false
            }
        }
    }

    async fn try_once(&mut self) -> Result<(), StoreError> {
        let store = self.outside.store;
        let resource = lease::resource();
        let began = self.outside.clock.now();
        if !self.elector.knows() {
            let found = bounded(self.election, store.get(&resource, &self.election.lease)).await?;
            self.elector.saw(found.as_ref().map(Held::read), self.outside.clock.now());
        }
        let now = self.outside.clock.now();
        let written = match self.elector.decide(now) {
            Move::Wait => {
                self.elector.forget();
                return Ok(());
            }
            Move::Create(record) => {
                let object = record.object(&self.election.lease);
                bounded(self.election, store.create(&resource, &object, self.outside.manager)).await?
            }
            Move::Write(record, version) => {
                let patch = Patch::Merge(record.patch(&version));
                let options = PatchOptions { manager: self.outside.manager.into(), part: Part::Object };
                let key = &self.election.lease;
                bounded(self.election, store.patch(&resource, key, &patch, &options)).await?
            }
        };
        self.elector.holds(Held::read(&written), began, self.outside.clock.now());
        Ok(())
    }

    /// Gives the Lease up. If that fails, the next one waits until it has run out.
    async fn release(&mut self) {
        let Some((record, version)) = self.elector.release(self.outside.clock.now()) else { return };
        let patch = Patch::Merge(record.patch(&version));
        let options = PatchOptions { manager: self.outside.manager.into(), part: Part::Object };
        let (resource, key) = (lease::resource(), &self.election.lease);
        let write = self.outside.store.patch(&resource, key, &patch, &options);
        match tokio::time::timeout(RELEASE, write).await {
            Ok(Ok(_)) => tracing::info!(lease = %key, "the lease was given up"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given up and has to run out"),
            Err(_) => {
                tracing::warn!(lease = %key, "the lease could not be given up in time and has to run out");
            }
        }
    }
}

/// A request that takes longer than a renewal may is of no use.
async fn bounded<T>(
    election: &Election,
    request: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let limit = Duration::try_from(election.timing.renew).unwrap_or_default();
    tokio::time::timeout(limit, request).await.unwrap_or_else(|_| {
        let object = crate::store::ObjectName::one(&lease::resource(), &election.lease);
        let message = format!("no answer within {} s", limit.as_secs_f64());
        Err(StoreError::Transient { object, message, retry_after: None })
    })
}

/// A name for this process that no other has: of the host, which is the pod, and of when and as what process it began.
pub fn identity(host: &str, process: u32, began: Timestamp) -> String {
    let unique = crate::names::hex(&[&process.to_string(), &began.as_nanosecond().to_string()], 8);
    format!("{host}_{unique}")
}
