//! Which workers go first when a group shrinks: pending, then never registered, then idle, then fewest stored bytes.
//!
//! Only workers of the group itself are ever chosen.

use std::cmp::Reverse;

use super::worker::Worker;
use crate::scheduler::Snapshot;

/// Who goes, by how.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    /// Nothing of them has started: deleted as seen.
    pub unstarted: Vec<&'a Worker>,
    /// Started, but unknown to the scheduler: they hold nothing.
    pub unregistered: Vec<&'a Worker>,
    /// Known to the scheduler: to be retired, with the addresses to retire.
    pub registered: Vec<(&'a Worker, Vec<String>)>,
    /// How many more must go that only the scheduler can choose among.
    pub undecided: usize,
}

/// Chooses `excess` of `alive`. Without an answer of the scheduler only workers that never started are chosen.
pub(super) fn choose<'a>(alive: &[&'a Worker], excess: usize, known: Option<&Snapshot>) -> Choice<'a> {
    let mut choice = Choice::default();
    let (mut unstarted, started): (Vec<&Worker>, Vec<&Worker>) =
        alive.iter().copied().filter(|worker| !worker.expected()).partition(|worker| !worker.started());
    unstarted.sort_by_key(|worker| (Reverse(worker.carrier.created), worker.name().to_owned()));
    choice.unstarted = unstarted.into_iter().take(excess).collect();
    let rest = excess - choice.unstarted.len();
    let Some(known) = known else {
        choice.undecided = rest.min(started.len());
        return choice;
    };
    let mut ranked: Vec<_> = started.into_iter().map(|worker| (rank(worker, known), worker)).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, worker) in ranked.into_iter().take(rest) {
        let addresses: Vec<String> =
            worker.registered(known).into_iter().map(|(address, _)| address.to_owned()).collect();
        if addresses.is_empty() {
            choice.unregistered.push(worker);
        } else {
            choice.registered.push((worker, addresses));
        }
    }
    choice
}

/// Chooses by what Kubernetes alone shows, for a scheduler that offers no way to ask: not ready first, then the youngest.
pub(super) fn choose_blindly<'a>(alive: &[&'a Worker], excess: usize) -> Vec<&'a Worker> {
    let mut workers: Vec<&Worker> = alive.iter().copied().filter(|worker| !worker.expected()).collect();
    workers.sort_by_key(|worker| {
        (worker.started(), worker.ready(), Reverse(worker.carrier.created), worker.name().to_owned())
    });
    workers.truncate(excess);
    workers
}

/// Lower goes first: unregistered, idle, then by stored bytes; the younger of equals.
fn rank(worker: &Worker, known: &Snapshot) -> (bool, bool, u64, Reverse<jiff::Timestamp>, String) {
    let registered = worker.registered(known);
    let busy = registered.iter().any(|(_, dask)| dask.tasks.is_none_or(|tasks| tasks > 0));
    let bytes = registered.iter().map(|(_, dask)| dask.stored_bytes.unwrap_or(0)).sum();
    (!registered.is_empty(), busy, bytes, Reverse(worker.carrier.created), worker.name().to_owned())
}
