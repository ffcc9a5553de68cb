//! A circuit breaker for each webhook: after some failures in a row, whoever they were about, it is left alone for a while.
//!
//! One parent about which a webhook always fails must not keep it from the others: a parent that it has not failed about is let
//! through soon, and of those that it has, the one that has waited longest.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::answers::Slot;
use super::ask::AskError;
use crate::observe::Key;

/// Failures in a row after which a plugin is left alone.
const FAILURES_MAX: u32 = 5;
/// For how long at first; twice as long after each trial that fails. So long, too, between two trials for those that are new.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(10);
/// For how long at most: one question in this time harms nobody, and when the plugin is well again that is soon noticed.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(1);
/// Between two looks of those whose turn it is not.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// So long after the end of a pause those who have waited longest come first; then anybody, should they not want any more.
const TURN: SignedDuration = SignedDuration::from_secs(5);

/// What is known of a plugin's health.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// Nobody asks before this time, but for one that is new.
    until: Option<Timestamp>,
    /// No other one that is new asks before this time.
    new_at: Option<Timestamp>,
    /// Somebody is asking whether it is well again.
    trial: bool,
    /// Why the last question failed.
    error: Option<AskError>,
    /// Who was turned away, with when it was asked about that one.
    waiting: BTreeMap<Key, Option<Timestamp>>,
}

impl Breaker {
    /// Whether the plugin may be asked about a parent now; if not, when to look again. After a pause one question is let through as a
    /// trial.
    pub fn admit(&mut self, key: &Key, known: &Slot, now: Timestamp) -> Result<(), Timestamp> {
        let Some(until) = self.until else { return Ok(()) };
        if self.trial {
            return Err(now + LOOK_EVERY);
        }
        let mut again = until;
        if !known.has_failed() {
            let new_at = self.new_at.unwrap_or(now);
            if new_at <= now {
                self.new_at = Some(now + PAUSE_MIN);
                self.try_with(key);
                return Ok(());
            }
            again = again.min(new_at);
        }
        if now < again {
            self.waiting.insert(key.clone(), known.asked());
            return Err(again);
        }
        let mine = (known.asked(), key);
        if now < until + TURN && self.waiting.iter().any(|(other, asked)| (*asked, other) < mine) {
            self.waiting.insert(key.clone(), known.asked());
            return Err(now + LOOK_EVERY);
        }
        self.try_with(key);
        Ok(())
    }

    fn try_with(&mut self, key: &Key) {
        self.trial = true;
        self.waiting.remove(key);
    }

    /// Takes note of how a question ended; what was answered, though it cannot be used, is an answer.
    pub fn note(&mut self, failure: Option<&AskError>, now: Timestamp) {
        let Some(error) = failure.filter(|error| error.reason != "Malformed") else {
            *self = Self::default();
            return;
        };
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error.clone());
        // Those that were under way when it opened do not open it further.
        if self.failures >= FAILURES_MAX && (self.trial || self.until.is_none()) {
            let doubled = (self.failures - FAILURES_MAX).min(5);
            self.until = Some(now + (PAUSE_MIN * 2_i32.pow(doubled)).min(PAUSE_MAX));
            self.trial = false;
        }
    }

    /// A parent has gone; `asking`: with a question about it that was not put yet.
    pub fn forget(&mut self, key: &Key, asking: bool) {
        self.waiting.remove(key);
        self.trial &= !asking;
    }

    /// Whether it is left alone, and why.
    pub fn is_open(&self) -> Option<AskError> {
        let error = self.error.as_ref().filter(|_| self.until.is_some())?;
        let text = format!("{}; it has failed too often, and is asked less often now", error.message);
        Some(AskError::new(error.reason, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Kind;
    use crate::plugin::ask::About;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(name: &str) -> Key {
        Key::new(Kind::Cluster, "default", name)
    }

    fn error() -> AskError {
        AskError::new("Failed", "500")
    }

    /// A parent about which the plugin was asked in vain.
    fn failed(second: i64) -> Slot {
        let mut slot = Slot::default();
        slot.ask(About::default(), at(second));
        slot.answered(&About::default(), Err(error()), at(second));
        slot
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.note(Some(&error()), at(0));
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_answer_closes_it() {
        let mut breaker = Breaker::default();
        let (a, slot) = (key("a"), failed(0));
        for second in 0..4 {
            breaker.note(Some(&error()), at(second));
            assert_eq!(breaker.admit(&a, &slot, at(second)), Ok(()));
        }
        breaker.note(Some(&error()), at(4));
        assert_eq!(breaker.admit(&a, &slot, at(5)), Err(at(14)));
        assert_eq!(breaker.admit(&a, &slot, at(14)), Ok(()), "one trial");
        assert_eq!(breaker.admit(&a, &slot, at(14)), Err(at(15)), "and no second one meanwhile");
        assert!(breaker.is_open().is_some_and(|why| why.message.starts_with("500; ")));
        breaker.note(None, at(14));
        assert_eq!(breaker.is_open(), None);
        assert_eq!(breaker.admit(&a, &slot, at(14)), Ok(()));
    }

    #[test]
    fn each_failed_trial_makes_the_pause_longer_up_to_a_minute() {
        let (mut breaker, a, slot) = (opened(), key("a"), failed(0));
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let until = breaker.admit(&a, &slot, now).unwrap_err();
            pauses.push(until.duration_since(now).as_secs());
            now = until;
            assert_eq!(breaker.admit(&a, &slot, now), Ok(()));
            breaker.note(Some(&error()), now);
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn a_parent_that_is_new_need_not_wait_behind_those_it_fails_about() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(&key("new"), &Slot::default(), at(1)), Ok(()));
        breaker.note(Some(&error()), at(2));
        assert_eq!(breaker.admit(&key("newer"), &Slot::default(), at(3)), Err(at(11)), "one in ten seconds");
        assert_eq!(breaker.admit(&key("newer"), &Slot::default(), at(11)), Ok(()));
    }

    #[test]
    fn whoever_has_waited_longest_comes_first_if_it_still_wants_to() {
        let mut breaker = opened();
        let (a, z) = (key("a"), key("z"));
        assert_eq!(breaker.admit(&a, &failed(9), at(9)), Err(at(10)));
        assert_eq!(breaker.admit(&z, &failed(2), at(9)), Err(at(10)));
        assert_eq!(breaker.admit(&a, &failed(9), at(10)), Err(at(11)), "z was asked about before it");
        assert_eq!(breaker.admit(&z, &failed(2), at(10)), Ok(()));
        breaker.note(Some(&error()), at(10));
        assert_eq!(breaker.admit(&z, &failed(10), at(30)), Err(at(31)));
        assert_eq!(breaker.admit(&z, &failed(10), at(35)), Ok(()), "a does not want any more");
        breaker.forget(&z, true);
        assert_eq!(breaker.admit(&z, &failed(10), at(35)), Ok(()), "the question was never put");
    }
}
