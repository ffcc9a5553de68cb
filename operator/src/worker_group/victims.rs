//! Which workers go first when a group shrinks: pending, then never registered, then idle, then fewest stored bytes.
//!
//! Only workers of the group itself are ever chosen.

use std::cmp::Reverse;

use super::roll::Roll;
use super::worker::Worker;
use crate::scheduler::WorkerStatus;

/// Who goes, by how.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    /// Nothing of them has started: deleted as seen.
    pub unstarted: Vec<&'a Worker>,
    /// Started, but unknown to the scheduler when it was asked.
    pub unregistered: Vec<&'a Worker>,
    /// Known to the scheduler: to be retired.
    pub registered: Vec<&'a Worker>,
    /// How many more must go that only the scheduler can choose among.
    pub undecided: usize,
}

/// Chooses up to `excess` of `staying`, those that the scheduler did `keep` before last. Without an answer of the scheduler only
/// workers that never started are chosen.
pub(super) fn choose<'a>(
    staying: &[&'a Worker],
    excess: usize,
    roll: Option<&Roll<'_>>,
    kept: impl Fn(&Worker) -> bool,
) -> Choice<'a> {
    let mut choice = Choice::default();
    let (mut unstarted, started): (Vec<&Worker>, Vec<&Worker>) =
        staying.iter().copied().filter(|worker| !worker.expected()).partition(|worker| !worker.started());
    unstarted.sort_by_key(|worker| (Reverse(worker.carrier.created), worker.name().to_owned()));
    choice.unstarted = unstarted.into_iter().take(excess).collect();
    let rest = excess - choice.unstarted.len();
    let Some(roll) = roll else {
        choice.undecided = rest.min(started.len());
        return choice;
    };
    let mut ranked: Vec<_> =
        started.into_iter().map(|worker| (rank(worker, roll, kept(worker)), worker)).collect();
    ranked.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (rank, worker) in ranked.into_iter().take(rest) {
        let chosen = if rank.registered { &mut choice.registered } else { &mut choice.unregistered };
        chosen.push(worker);
    }
    choice
}

/// Chooses by what Kubernetes alone shows, for a scheduler that cannot be asked: not ready first, then the youngest.
pub(super) fn choose_blindly<'a>(staying: &[&'a Worker], excess: usize) -> Vec<&'a Worker> {
    let mut workers: Vec<&Worker> = staying.iter().copied().filter(|worker| !worker.expected()).collect();
    workers.sort_by_key(|worker| {
        (worker.started(), worker.ready(), Reverse(worker.carrier.created), worker.name().to_owned())
    });
    workers.truncate(excess);
    workers
}

/// Lower goes first; the fields are compared in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    registered: bool,
    kept: bool,
    /// One that somebody else is retiring already (its `lifetime`, or an adaptive client) goes before others.
    working: bool,
    busy: bool,
    bytes: u64,
    created: Reverse<jiff::Timestamp>,
    name: String,
}

fn rank(worker: &Worker, roll: &Roll<'_>, kept: bool) -> Rank {
    let registered = roll.of(worker);
    Rank {
        registered: !registered.is_empty(),
        kept,
        working: registered.iter().any(|(_, dask)| dask.status != WorkerStatus::Closing),
        busy: registered.iter().any(|(_, dask)| dask.tasks.is_none_or(|tasks| tasks > 0)),
        bytes: registered.iter().map(|(_, dask)| dask.stored_bytes.unwrap_or(0)).sum(),
        created: Reverse(worker.carrier.created),
        name: worker.name().to_owned(),
    }
}
