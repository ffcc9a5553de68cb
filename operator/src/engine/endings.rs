//! What became of what was done: the ends of plans, and schedulers' answers.

use jiff::Timestamp;

use super::{Answer, Engine, Question, Task};
use crate::execute::Outcome;
use crate::metrics::tally::Ended;
use crate::observe::{Key, Kind, Resource};
use crate::plan::{Step, Target, Victim};
use crate::traces::report::Cause;
use crate::world::{Kept, SchedulerFacts, Trouble, Unanswered};

/// Failures in a row of a passing kind after which they are shown on the resource.
const PASSING_FAILURES_SHOWN: u32 = 3;

impl Engine {
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
}
