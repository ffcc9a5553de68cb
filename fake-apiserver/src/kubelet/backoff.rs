//! The growing delay between restarts of a container and between tries to pull an image.
//!
//! Imitates `flowcontrol.Backoff` as the kubelet uses it: the first restart is immediate, then 10 s doubling to 300 s;
//! a container that ran for twice the longest delay starts anew.

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_secs(300);
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(600);

/// One container's delay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff(Option<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    delay: SignedDuration,
    since: Timestamp,
}

/// Whether to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Now; the next delay will be longer.
    Now,
    /// Not before this time.
    Wait {
        /// When the delay is over.
        until: Timestamp,
        /// The whole delay.
        delay: SignedDuration,
    },
}

impl Backoff {
    /// Asks to restart what failed at `failed`. `Now` counts as a restart.
    pub(super) fn ask(&mut self, failed: Timestamp, now: Timestamp) -> Verdict {
        let live = self.0.take().filter(|entry| failed.duration_since(entry.since) <= FORGOTTEN);
        if let Some(entry) = live {
            let until = failed + entry.delay;
            if now < until {
                let delay = entry.delay;
                self.0 = Some(entry);
                return Verdict::Wait { until, delay };
            }
            self.0 = Some(Entry { delay: (entry.delay * 2).min(LONGEST), since: now });
        } else {
            self.0 = Some(Entry { delay: FIRST, since: now });
        }
        Verdict::Now
    }

    /// The delay in force, in the words of `kubectl describe`: `10s`, `2m40s`.
    pub(super) fn spoken(delay: SignedDuration) -> String {
        let seconds = delay.as_secs();
        if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_and_then_the_delay_doubles_to_five_minutes() {
        let (mut backoff, mut now, mut delays) = (Backoff::default(), at(0), Vec::new());
        for _ in 0..9 {
            // It fails at once each time.
            let failed = now;
            if let Verdict::Wait { until, delay } = backoff.ask(failed, now) {
                delays.push(delay.as_secs());
                now = until;
                assert_eq!(backoff.ask(failed, now), Verdict::Now);
            }
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_container_that_ran_for_more_than_ten_minutes_starts_anew() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.ask(at(0), at(0)), Verdict::Now);
        assert!(matches!(backoff.ask(at(1), at(1)), Verdict::Wait { .. }));
        assert_eq!(backoff.ask(at(1), at(11)), Verdict::Now);
        assert_eq!(backoff.ask(at(700), at(700)), Verdict::Now);
    }

    #[test]
    fn a_delay_is_spoken_as_kubectl_shows_it() {
        assert_eq!(Backoff::spoken(SignedDuration::from_secs(160)), "2m40s");
        assert_eq!(Backoff::spoken(FIRST), "10s");
    }
}
