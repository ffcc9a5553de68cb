//! `idleTimeout`: a cluster without work is deleted (compatibility contract §5.4). Costs nothing where none is set.

use jiff::{SignedDuration, Timestamp};

use super::validate::Valid;
use super::{View, scheduler_ready};
use crate::plan::{Ask, Plan, Step, Target};
use crate::store::Propagation;
use crate::world::World;

/// What is known of a scheduler's idleness.
///
/// The scheduler says since when it has been idle by its own clock, which may go wrong. What we saw ourselves bounds it on both
/// sides: it cannot have been idle when it was busy, nor begin to be idle after it said that it is.
#[derive(Clone, Debug, Default)]
pub struct Idleness {
    /// When it was asked last, and what it said; `None` inside means busy.
    said: Option<(Timestamp, Option<Timestamp>)>,
    /// When it was last known to be busy, by our clock.
    busy: Option<Timestamp>,
    /// When we first heard of the idle time it speaks of, by our clock.
    heard: Option<Timestamp>,
}

impl Idleness {
    /// Takes in an answer.
    pub fn note(&mut self, asked: Timestamp, since: Option<Timestamp>) {
        let before = self.said.replace((asked, since));
        match (since, before) {
            (None, _) => (self.busy, self.heard) = (Some(asked), None),
            (Some(_), Some((_, known))) if known == since => {}
            // It was busy at some time after the answer before.
            (Some(_), Some((asked_before, Some(_)))) => {
                (self.busy, self.heard) = (Some(asked_before), Some(asked));
            }
            (Some(_), _) => self.heard = Some(asked),
        }
    }

    /// When it was asked last.
    pub fn asked(&self) -> Option<Timestamp> {
        self.said.map(|(asked, _)| asked)
    }

    /// Since when it has been idle, by our clock; `None` while it is busy or nothing is known.
    pub fn since(&self) -> Option<Timestamp> {
        let (_, since) = self.said?;
        let since = since?.max(self.busy.unwrap_or(Timestamp::MIN));
        Some(since.min(self.heard.unwrap_or(Timestamp::MAX)))
    }
}

/// Deletes the cluster when its scheduler has been idle for longer than `idleTimeout`, as the scheduler says: a client that is
/// connected and asks for nothing does not make it busy.
///
/// A cluster made for a job stays while the job's runner is active, whatever the scheduler says.
pub(super) fn idle(world: &World, view: &View, valid: &Valid, plan: &mut Plan, now: Timestamp) {
    let resource = &*view.resource;
    if valid.spec.idle_timeout <= 0 || view.active_job.is_some() || !scheduler_ready(&view.scheduler_pods) {
        return;
    }
    let timeout = SignedDuration::from_secs(valid.spec.idle_timeout);
    let started = view.scheduler_pods.iter().map(|pod| pod.created).max().unwrap_or(now);
    let known = world.scheduler(resource.namespace(), resource.name()).map(|facts| &facts.idle);
    // An answer from before the scheduler's present pod would be about its predecessor.
    let current = known.filter(|idle| idle.asked().is_some_and(|asked| started <= asked));
    let since = current.and_then(Idleness::since).map(|since| since.max(started));
    let over = since.filter(|since| now.duration_since(*since) > timeout);
    let Some(since) = over else {
        let ask = Ask { idle: true, ..Ask::default() };
        plan.poll = Some(world.poll_every(resource, ask, world.settings.pace.poll, now));
        return;
    };
    let message = format!(
        "deleting the cluster: it has been idle for {} s, longer than its idleTimeout of {} s",
        now.duration_since(since).as_secs(),
        timeout.as_secs()
    );
    plan.then(Step::announce(resource, false, "IdleTimeout", message));
    plan.then(Step::Delete {
        target: Target::Resource(resource.key.clone()),
        uid: resource.uid.clone(),
        resource_version: None,
        propagation: Propagation::Background,
        why: "idle for longer than idleTimeout",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as (asked, idle since), and the second since when it counts as idle.
    fn check(answers: &[(i64, Option<i64>)], expected: Option<i64>) {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut idle = Idleness::default();
        for (asked, since) in answers {
            idle.note(at(*asked), since.map(at));
        }
        assert_eq!(idle.since().map(Timestamp::as_second), expected);
    }

    #[test]
    fn pain_16_null_means_busy() {
        check(&[(10, Some(3)), (15, None)], None);
        check(&[], None);
    }

    #[test]
    fn the_schedulers_own_time_counts_where_it_can_be_right() {
        check(&[(10, Some(3))], Some(3));
        check(&[(10, None), (15, Some(12)), (20, Some(12))], Some(12));
    }

    #[test]
    fn a_clock_that_is_behind_does_not_make_a_busy_scheduler_long_idle() {
        check(&[(1_000, None), (1_005, Some(400)), (1_010, Some(400))], Some(1_000));
        check(&[(1_000, Some(300)), (1_005, Some(400))], Some(1_000));
    }

    #[test]
    fn a_clock_that_is_ahead_does_not_keep_an_idle_cluster() {
        check(&[(1_000, None), (1_005, Some(9_000)), (1_010, Some(9_000))], Some(1_005));
    }
}
