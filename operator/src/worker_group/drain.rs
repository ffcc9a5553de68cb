//! Making a group smaller without losing what its workers hold and run (pains 1 to 5).
//!
//! ```text
//! chosen ──► marked ──► begun ──────────► drained ──► finished ──► deleted
//!            annotation  no more tasks,    runs no     forgotten,   the carrier
//!            on carrier  data is moved     task        confirmed
//! ```
//!
//! Each arrow is a plan of its own, made from what is observed: the mark on the carrier, and the scheduler's answer. A worker
//! that is marked does not count as one of the group's any more. One that the scheduler keeps counts again.
//!
//! Whoever never started is deleted at once, and so is whoever neither runs nor is known to the scheduler. Whoever runs without the scheduler's knowing it may register and be given work at
//! any moment: it is marked like the others and retired once it has registered; if it does not, it goes after
//! [`REGISTERS_WITHIN`].

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::View;
use super::roll::{Registered, Roll};
use super::update::Turn;
use super::victims::{self, Choice};
use super::worker::Worker;
use crate::conditions;
use crate::names;
use crate::plan::{Ask, Plan, Step, Target, Victim};
use crate::scheduler::{SchedulerAddress, Snapshot, WorkerStatus};
use crate::world::{SchedulerFacts, World};

/// An answer of the scheduler older than this does not choose who goes.
pub(crate) const ANSWER_MAX_AGE: SignedDuration = SignedDuration::from_secs(3);
/// How long a worker that the scheduler kept is not asked for again, unless nobody else can go.
const KEPT_FOR: SignedDuration = SignedDuration::from_secs(30);
/// Between two looks at workers that have tasks to end.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// How long a worker that runs may take to register before it is believed that it will not. Dask's own are there within seconds
/// of their start, where nothing is installed first.
const REGISTERS_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// Reason of a scale-down that waits for its scheduler.
const UNANSWERED: &str = "SchedulerUnanswered";

/// The workers of a group that count, by whether they are to go.
pub(super) struct Split<'a> {
    /// Count as the group's: neither marked, nor marked and kept by the scheduler.
    pub staying: Vec<&'a Worker>,
    /// Marked, on their way out.
    pub going: Vec<&'a Worker>,
}

impl<'a> Split<'a> {
    pub(super) fn of(alive: &[&'a Worker], facts: Option<&SchedulerFacts>) -> Self {
        let (going, staying) = alive
            .iter()
            .copied()
            .partition(|worker| worker.carrier.retiring.is_some() && !was_kept(worker, facts));
        Self { staying, going }
    }
}

/// What stands in the way of a group's being as small as it should.
pub(super) struct Obstacle {
    /// CamelCase.
    pub reason: &'static str,
}

impl Obstacle {
    /// The scheduler cannot be asked.
    pub(super) fn unanswered(&self) -> bool {
        self.reason == UNANSWERED
    }
}

/// Plans the next steps of everybody who is to go.
pub(super) fn drain(
    world: &World,
    view: &View,
    split: &Split<'_>,
    turn: &Turn<'_>,
    plan: &mut Plan,
    now: Timestamp,
) -> Option<Obstacle> {
    let facts = view.scheduler.as_ref();
    let answer = facts.and_then(|facts| fresh(facts, now));
    let roll = answer.map(|snapshot| Roll::new(snapshot, &view.workers));
    let excess = turn.retire;
    let (candidates, resting): (Vec<&Worker>, Vec<&Worker>) =
        turn.candidates.iter().partition(|worker| !rests(worker, facts, now));
    let choice = victims::choose(&candidates, excess, roll.as_ref(), |worker| was_kept(worker, facts));
    let Choice { unstarted, unregistered, registered, undecided } = choice;
    let (coming, down): (Vec<&Worker>, Vec<&Worker>) =
        unregistered.into_iter().partition(|worker| worker.running());
    let unneeded = unstarted.iter().map(|worker| Step::delete_as_seen(&worker.carrier, "it never started"));
    let unknown =
        down.iter().map(|worker| Step::delete_as_seen(&worker.carrier, "the scheduler does not know it"));
    plan.stage(unneeded.chain(unknown).collect());
    let (Some(roll), Some(facts), Some(snapshot)) = (roll, facts, answer) else {
        if undecided == 0 && split.going.is_empty() {
            // Those that rest are looked at again.
            return resting_ones(&resting, excess, plan, now);
        }
        let unsure = Unsure { going: &split.going, candidates: &turn.candidates, undecided };
        return unasked(world, view, &unsure, plan, now);
    };
    if excess == 0 {
        plan.stage(
            split.staying.iter().filter(|worker| marked(worker)).map(|worker| unmark(worker)).collect(),
        );
    }
    if registered.is_empty() && coming.is_empty() && split.going.is_empty() {
        return resting_ones(&resting, excess, plan, now);
    }
    let at = world.scheduler_address(view.resource.namespace(), cluster_of(view))?;
    let grace = grace(world, view);
    let deadline = |worker: &Worker| worker.carrier.retiring.map(|since| since + grace);
    let mut ways = Ways::default();
    for worker in &split.going {
        let registered = roll.of(worker);
        if registered.is_empty() {
            ways.sort_unregistered(worker, REGISTERS_WITHIN.min(grace), now);
        } else {
            let overdue = deadline(worker).is_some_and(|at| at <= now);
            ways.sort(worker, registered, facts, snapshot, overdue);
        }
    }
    for worker in &registered {
        let way = roll.of(worker);
        if snapshot.staged {
            ways.begin.push(victim(worker, &way));
        } else {
            ways.finish.push(victim(worker, &way));
        }
    }
    let chosen = || registered.iter().chain(&coming);
    let marks = chosen().filter(|worker| !marked(worker)).map(|worker| mark(worker, now)).collect();
    if !ways.late.is_empty() {
        plan.then(Step::announce(&view.resource, true, "ScaleDownUnfinished", late(&ways.late)));
    }
    plan.stage(marks);
    if let Some(at) = ways.coming.iter().map(|(_, at)| *at).min() {
        plan.look_again(at);
    }
    let count = split.going.len() + chosen().count();
    let waiting = waiting_for(count, &ways, &coming);
    plan.waiting.push(waiting);
    ways.act(&at, plan);
    // What has begun is looked at as soon as the scheduler has answered; one that it did not let go has time.
    let pace = world.settings.pace.poll;
    let next = if plan.steps().any(|step| matches!(step, Step::Retire { .. })) {
        now
    } else if plan.steps().any(Step::asks_scheduler) {
        now + pace
    } else {
        now + LOOK_EVERY.min(pace)
    };
    plan.poll = Some(world.poll_workers(view.resource.namespace(), cluster_of(view), next));
    if let Some(at) = ways.busy.iter().filter_map(|worker| deadline(worker)).min() {
        plan.look_again(at);
    }
    None
}

/// Whether a group still carries the mark of a scale-down that waited for its scheduler.
pub(super) fn unanswered_since(view: &View) -> Option<Timestamp> {
    view.resource
        .annotations
        .get(names::UNANSWERED_SINCE)
        .map(|text| text.parse().unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Takes that mark away.
pub(super) fn answered(view: &View) -> Step {
    note(view, &Value::Null)
}

/// How long this group's scale-downs wait.
pub(crate) fn grace(world: &World, view: &View) -> SignedDuration {
    let own = [&view.resource.annotations];
    world.settings.grace(own.into_iter().chain(view.cluster.as_ref().map(|cluster| &cluster.annotations)))
}

/// What is to be done with those that are known to the scheduler.
#[derive(Default)]
struct Ways<'a> {
    begin: Vec<Victim>,
    finish: Vec<Victim>,
    /// Waited for long enough: they go even if the scheduler does not answer.
    overdue: Vec<Victim>,
    late: Vec<&'a Worker>,
    gone: Vec<&'a Worker>,
    /// Have not registered, and until when that is waited for.
    coming: Vec<(&'a Worker, Timestamp)>,
    busy: Vec<&'a Worker>,
}

impl<'a> Ways<'a> {
    fn sort(
        &mut self,
        worker: &'a Worker,
        registered: Vec<Registered<'_>>,
        facts: &SchedulerFacts,
        snapshot: &Snapshot,
        overdue: bool,
    ) {
        let drained = registered.iter().all(|(address, dask)| facts.drained(address, dask));
        if drained || !snapshot.staged {
            self.finish.push(victim(worker, &registered));
        } else if overdue {
            self.late.push(worker);
            self.overdue.push(victim(worker, &registered));
        } else {
            let open: Vec<_> =
                registered.into_iter().filter(|(_, dask)| dask.status != WorkerStatus::Closing).collect();
            if open.is_empty() {
                self.busy.push(worker);
            } else {
                self.begin.push(victim(worker, &open));
            }
        }
    }

    /// One that the scheduler does not know: it was let go, or it is about to register, as also one that was let go and whose
    /// container has been restarted.
    fn sort_unregistered(&mut self, worker: &'a Worker, within: SignedDuration, now: Timestamp) {
        let since = worker.carrier.retiring.max(worker.running_since()).unwrap_or(now);
        if worker.running() && since + within > now {
            self.coming.push((worker, since + within));
        } else {
            self.gone.push(worker);
        }
    }

    fn act(&mut self, at: &SchedulerAddress, plan: &mut Plan) {
        plan.stage(
            self.gone.iter().map(|worker| Step::delete(&worker.carrier, "the scheduler let it go")).collect(),
        );
        let drain = |victims: Vec<Victim>, overdue| Step::Drain { at: at.clone(), victims, overdue };
        let mut steps = Vec::new();
        if !self.finish.is_empty() {
            steps.push(drain(std::mem::take(&mut self.finish), false));
        }
        if !self.overdue.is_empty() {
            steps.push(drain(std::mem::take(&mut self.overdue), true));
        }
        if !self.begin.is_empty() {
            steps.push(Step::Retire { at: at.clone(), victims: std::mem::take(&mut self.begin) });
        }
        plan.stage(steps);
    }
}

/// Whoever is to go, if the scheduler says how.
struct Unsure<'a> {
    going: &'a [&'a Worker],
    candidates: &'a [&'a Worker],
    /// How many of the candidates.
    undecided: usize,
}

/// The scheduler gave no answer that could be used.
fn unasked(
    world: &World,
    view: &View,
    unsure: &Unsure<'_>,
    plan: &mut Plan,
    now: Timestamp,
) -> Option<Obstacle> {
    let Unsure { going, candidates, undecided } = *unsure;
    let (namespace, cluster) = (view.resource.namespace(), cluster_of(view));
    let facts = view.scheduler.as_ref();
    let failures = facts.map_or(0, |facts| facts.failures);
    let ask = Ask { workers: true, ..Ask::default() };
    // The first question of a scale-down does not wait for the pace of others.
    plan.poll = Some(if failures == 0 {
        world.poll_workers(namespace, cluster, now)
    } else {
        world.poll(namespace, cluster, ask, now)
    });
    let count = undecided + going.len();
    let Some(failure) = facts.and_then(|facts| facts.failure.as_ref()) else {
        plan.waiting.push(let_go(count));
        return None;
    };
    let blindly = |plan: &mut Plan, reason, why: String| {
        let chosen = going.iter().copied().chain(victims::choose_blindly(candidates, undecided));
        let chosen: Vec<&Worker> = chosen.collect();
        let text = format!("deleting {}: {why}", list(&chosen));
        plan.then(Step::announce(&view.resource, true, reason, text));
        plan.stage(
            chosen.iter().map(|worker| Step::delete(&worker.carrier, "fewer workers are wanted")).collect(),
        );
    };
    if facts.and_then(SchedulerFacts::silence).is_none() {
        plan.waiting.push(format!("{}: {}", let_go(count), failure.message));
        return None;
    }
    let obstacle = Some(Obstacle { reason: UNANSWERED });
    if world.scheduler_is_gone(namespace, cluster) {
        blindly(
            plan,
            "SchedulerGone",
            "the scheduler does not run, and what they hold was known to it alone".into(),
        );
        return obstacle;
    }
    let since = unanswered_since(view);
    let deadline = since.unwrap_or(now) + grace(world, view);
    if deadline <= now {
        let said =
            "the scheduler could not be asked for too long; what they hold or run may be computed again";
        blindly(plan, "ScaleDownUnconfirmed", said.into());
        return obstacle;
    }
    let until = conditions::seconds(deadline);
    let waits = format!("nothing that may hold work is deleted before {until}");
    if since.is_none() {
        plan.then(note(view, &json!(conditions::seconds(now))));
        let said =
            format!("the scheduler cannot be asked which workers can go; {waits}: {}", failure.message);
        plan.then(Step::announce(&view.resource, true, "ScaleDownWaits", said));
    }
    plan.waiting.push(format!("{}; {waits}: {}", let_go(count), failure.message));
    plan.look_again(deadline);
    obstacle
}

/// Workers that the scheduler kept and that are asked for again later.
fn resting_ones(resting: &[&Worker], excess: usize, plan: &mut Plan, now: Timestamp) -> Option<Obstacle> {
    if excess == 0 || resting.is_empty() {
        return None;
    }
    let said = format!(
        "the scheduler keeps {}: what they hold finds no place on other workers, or is an actor",
        list(resting)
    );
    plan.waiting.push(said);
    plan.look_again(now + KEPT_FOR);
    Some(Obstacle { reason: "WorkersKept" })
}

fn fresh(facts: &SchedulerFacts, now: Timestamp) -> Option<&Snapshot> {
    let (asked, snapshot) = facts.workers.as_ref()?;
    (now.duration_since(*asked) <= ANSWER_MAX_AGE).then_some(snapshot)
}

/// Whether the scheduler kept a worker when it was asked to retire it.
fn was_kept(worker: &Worker, facts: Option<&SchedulerFacts>) -> bool {
    facts.is_some_and(|facts| facts.kept.contains_key(&worker.carrier.id))
}

/// Whether that was so lately that it is not asked for again.
fn rests(worker: &Worker, facts: Option<&SchedulerFacts>, now: Timestamp) -> bool {
    let kept = facts.and_then(|facts| facts.kept.get(&worker.carrier.id));
    kept.is_some_and(|kept| now.duration_since(kept.since) < KEPT_FOR)
}

fn cluster_of(view: &View) -> &str {
    view.cluster.as_ref().map(|cluster| cluster.name()).unwrap_or_default()
}

fn victim(worker: &Worker, registered: &[Registered<'_>]) -> Victim {
    Victim {
        carrier: worker.carrier.id.clone(),
        uid: worker.carrier.uid.to_string(),
        addresses: registered.iter().map(|(address, _)| (*address).to_owned()).collect(),
    }
}

fn marked(worker: &Worker) -> bool {
    worker.carrier.retiring.is_some()
}

fn mark(worker: &Worker, now: Timestamp) -> Step {
    annotate(worker, &json!(conditions::seconds(now)))
}

fn unmark(worker: &Worker) -> Step {
    annotate(worker, &Value::Null)
}

fn annotate(worker: &Worker, value: &Value) -> Step {
    Step::Patch {
        target: Target::Child(worker.carrier.id.clone()),
        body: json!({"metadata": {"uid": worker.carrier.uid, "annotations": {names::RETIRING_SINCE: value}}}),
    }
}

fn note(view: &View, value: &Value) -> Step {
    Step::Patch {
        target: Target::Resource(view.resource.key.clone()),
        body: json!({"metadata": {"annotations": {names::UNANSWERED_SINCE: value}}}),
    }
}

/// For people: what is waited for.
fn waiting_for(count: usize, ways: &Ways<'_>, chosen: &[&Worker]) -> String {
    let mut parts = vec![let_go(count)];
    if !ways.busy.is_empty() {
        parts.push(format!("for tasks to end on {}", list(&ways.busy)));
    }
    let coming: Vec<&Worker> =
        ways.coming.iter().map(|(worker, _)| *worker).chain(chosen.iter().copied()).collect();
    if !coming.is_empty() {
        parts.push(format!("for {} to register with it first", list(&coming)));
    }
    parts.join(", and ")
}

fn let_go(count: usize) -> String {
    format!("waiting for the scheduler to let go of {count} of them")
}

fn late(workers: &[&Worker]) -> String {
    format!("retiring {} though tasks go on there; these tasks begin anew elsewhere", list(workers))
}

fn list(workers: &[&Worker]) -> String {
    workers.iter().map(|worker| worker.name()).collect::<Vec<_>>().join(", ")
}
