//! A circuit breaker for each webhook: after some failures in a row, whoever they were about, it is left alone for a while.

use jiff::{SignedDuration, Timestamp};

/// Failures in a row after which a plugin is left alone.
const FAILURES_MAX: u32 = 5;
/// For how long at first; twice as long after each trial that fails.
const PAUSE_MIN: SignedDuration = SignedDuration::from_secs(10);
/// For how long at most.
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// What is known of a plugin's health.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// Nobody asks before this time.
    until: Option<Timestamp>,
    /// Somebody is asking whether it is well again.
    trial: bool,
}

impl Breaker {
    /// Whether the plugin may be asked now; if not, when to look again. After a pause one question is let through as a trial.
    pub fn admit(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        match self.until {
            None => Ok(()),
            Some(until) if now < until => Err(until),
            Some(_) if self.trial => Err(now + PAUSE_MIN / 10),
            Some(_) => {
                self.trial = true;
                Ok(())
            }
        }
    }

    /// Takes note of how a question ended.
    pub fn note(&mut self, answered: bool, now: Timestamp) {
        if answered {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        // Those that were under way when it opened do not open it further.
        if self.failures >= FAILURES_MAX && (self.trial || self.until.is_none()) {
            let doubled = (self.failures - FAILURES_MAX).min(5);
            self.until = Some(now + (PAUSE_MIN * 2_i32.pow(doubled)).min(PAUSE_MAX));
            self.trial = false;
        }
    }

    /// Whether it is left alone.
    pub fn is_open(&self) -> bool {
        self.until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_answer_closes_it() {
        let mut breaker = Breaker::default();
        for second in 0..4 {
            breaker.note(false, at(second));
            assert_eq!(breaker.admit(at(second)), Ok(()));
        }
        breaker.note(false, at(4));
        assert_eq!(breaker.admit(at(5)), Err(at(14)));
        assert_eq!(breaker.admit(at(14)), Ok(()), "one trial");
        assert_eq!(breaker.admit(at(14)), Err(at(15)), "and no second one meanwhile");
        breaker.note(true, at(14));
        assert!(!breaker.is_open());
        assert_eq!(breaker.admit(at(14)), Ok(()));
    }

    #[test]
    fn each_failed_trial_makes_the_pause_longer_up_to_five_minutes() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            breaker.note(false, at(0));
        }
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let until = breaker.admit(now).unwrap_err();
            pauses.push(until.duration_since(now).as_secs());
            now = until;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.note(false, now);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
