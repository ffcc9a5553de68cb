//! Who may take the Lease, and how long its holder may act. Pure: no clock, no request.

use jiff::{SignedDuration, Timestamp};

use super::Election;
use super::lease::{Held, Record, time};
use crate::seed::Seed;

/// What one operator knows of the Lease.
#[derive(Debug)]
pub struct Elector {
    election: Election,
    /// The Lease as it was seen last.
    seen: Seen,
    /// What the Lease said last, and since when of our own time.
    unchanged: Option<(Record, Timestamp)>,
    /// When the last renewal that succeeded began.
    renewed: Option<Timestamp>,
    jitter: Seed,
}

/// What is known of the Lease.
#[derive(Debug)]
enum Seen {
    /// It must be looked at before it is written.
    Nothing,
    /// It does not exist.
    Missing,
    /// It was like this.
    Found(Held),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Somebody else holds it.
    Wait,
    /// Make it.
    Create(Record),
    /// Take or renew it, if it is still in this version.
    Write(Record, String),
}

impl Elector {
    /// Knows nothing; `seed` spreads the looks of several who stand by.
    pub fn new(election: Election, seed: u64) -> Self {
        Self { election, seen: Seen::Nothing, unchanged: None, renewed: None, jitter: Seed(seed) }
    }

    /// Whether it may act.
    pub fn leads(&self, now: Timestamp) -> bool {
        now < self.leads_until()
    }

    /// Until when it may act; in the past if it may not.
    pub fn leads_until(&self) -> Timestamp {
        self.renewed.map_or(Timestamp::MIN, |began| began + self.election.timing.renew)
    }

    /// Whether the Lease need not be looked at before it is written.
    pub fn knows(&self) -> bool {
        !matches!(self.seen, Seen::Nothing)
    }

    /// The Lease must be looked at again.
    pub fn forget(&mut self) {
        self.seen = Seen::Nothing;
    }

    /// Takes in a look at the Lease, whose answer came at `now`.
    pub fn saw(&mut self, found: Option<Held>, now: Timestamp) {
        let record = found.as_ref().map(|held| held.record.clone()).unwrap_or_default();
        if self.unchanged.as_ref().is_none_or(|(known, _)| *known != record) {
            self.unchanged = Some((record, now));
        }
        if found.as_ref().is_none_or(|held| held.record.holder != self.election.identity) {
            // Taken away, for instance by somebody who deleted it.
            self.renewed = None;
        }
        self.seen = found.map_or(Seen::Missing, Seen::Found);
    }

    /// What to do at `now`, after what was seen.
    pub fn decide(&self, now: Timestamp) -> Move {
        let held = match &self.seen {
            Seen::Nothing => return Move::Wait,
            Seen::Missing => return Move::Create(self.record(None, now)),
            Seen::Found(held) => held,
        };
        let mine = held.record.holder == self.election.identity;
        let since = self.unchanged.as_ref().map_or(now, |(_, since)| *since);
        // Our own timing counts, as in client-go: all of one release have the same.
        let over = held.record.holder.is_empty() || since + self.election.timing.lease <= now;
        if mine || over {
            return Move::Write(self.record(Some(&held.record), now), held.version.clone());
        }
        Move::Wait
    }

    /// Takes in a write that succeeded: it began at `began`, its answer came at `now`.
    pub fn holds(&mut self, held: Held, began: Timestamp, now: Timestamp) {
        self.unchanged = Some((held.record.clone(), now));
        self.seen = Seen::Found(held);
        self.renewed = Some(began);
    }

    /// What gives the Lease up, if it is held.
    pub fn release(&mut self, now: Timestamp) -> Option<(Record, String)> {
        self.renewed.take()?;
        let Seen::Found(held) = std::mem::replace(&mut self.seen, Seen::Nothing) else { return None };
        let record = Record { holder: String::new(), renewed: time(now), ..held.record };
        Some((record, held.version))
    }

    /// When to look again. Up to a fifth later than the timing says, so that those who stand by do not all come at once.
    pub fn next_look(&mut self, now: Timestamp) -> Timestamp {
        let retry = self.election.timing.retry;
        let fifth = (retry.as_millis() / 5).max(1) as usize;
        now + retry + SignedDuration::from_millis(self.jitter.below(fifth) as i64)
    }

    fn record(&self, before: Option<&Record>, now: Timestamp) -> Record {
        let mine = before.filter(|record| record.holder == self.election.identity);
        Record {
            holder: self.election.identity.clone(),
            seconds: self.election.timing.lease.as_secs().max(1),
            acquired: mine.map_or_else(|| time(now), |record| record.acquired.clone()),
            renewed: time(now),
            transitions: before.map_or(0, |record| record.transitions + i64::from(mine.is_none())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::Timing;
    use crate::store::ObjectKey;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn mk(identity: &str) -> Elector {
        let lease = ObjectKey::namespaced("dask-operator", "dask");
        Elector::new(Election { lease, identity: identity.into(), timing: Timing::default() }, 1)
    }

    fn held(holder: &str, renewed: &str, version: &str) -> Held {
        let record = Record { holder: holder.into(), renewed: renewed.into(), ..Record::default() };
        Held { record, version: version.into() }
    }

    #[test]
    fn what_does_not_exist_is_made_and_what_nobody_holds_is_taken() {
        let mut me = mk("me");
        assert_eq!(me.decide(at(0)), Move::Wait, "nothing was seen yet");
        me.saw(None, at(0));
        assert!(
            matches!(me.decide(at(0)), Move::Create(record) if record.holder == "me" && record.transitions == 0)
        );
        me.saw(Some(held("", "t", "7")), at(0));
        assert!(
            matches!(me.decide(at(0)), Move::Write(record, version) if record.transitions == 1 && version == "7")
        );
    }

    #[test]
    fn another_s_lease_is_taken_when_it_has_not_changed_for_its_time_by_our_clock() {
        let mut me = mk("me");
        // Its times are years ahead of ours; they do not matter.
        me.saw(Some(held("other", "2099-01-01T00:00:00.000000Z", "1")), at(0));
        me.saw(Some(held("other", "2099-01-01T00:00:00.000000Z", "2")), at(14));
        assert_eq!(me.decide(at(14)), Move::Wait);
        me.saw(Some(held("other", "2099-01-01T00:00:02.000000Z", "3")), at(14));
        assert_eq!(me.decide(at(28)), Move::Wait, "it was renewed");
        assert!(matches!(me.decide(at(29)), Move::Write(_, version) if version == "3"));
    }

    #[test]
    fn the_holder_stops_before_anybody_else_may_begin() {
        let (mut me, mut other) = (mk("me"), mk("other"));
        me.saw(None, at(0));
        // The request takes six seconds, and takes effect at their end.
        me.holds(held("me", "t", "1"), at(0), at(6));
        other.saw(Some(held("me", "t", "1")), at(6));
        assert!(me.leads(at(9)) && !me.leads(at(10)));
        assert_eq!(other.decide(at(20)), Move::Wait);
        assert!(matches!(other.decide(at(21)), Move::Write(..)));
    }

    #[test]
    fn a_lease_that_was_taken_away_is_lost_at_once() {
        let mut me = mk("me");
        me.holds(held("me", "t", "1"), at(0), at(0));
        assert!(me.leads(at(1)));
        me.saw(Some(held("other", "t", "2")), at(1));
        assert!(!me.leads(at(1)));
        me.holds(held("me", "t", "3"), at(2), at(2));
        me.saw(None, at(3));
        assert!(!me.leads(at(3)));
    }

    #[test]
    fn whoever_holds_it_gives_up_what_it_saw_last() {
        let mut me = mk("me");
        assert_eq!(me.release(at(0)), None);
        me.holds(held("me", "t", "4"), at(0), at(0));
        let (record, version) = me.release(at(1)).unwrap();
        assert_eq!((record.holder.as_str(), version.as_str()), ("", "4"));
        assert!(!me.leads(at(1)));
    }

    #[test]
    fn times_have_six_digits() {
        assert_eq!(time(at(0)), "1970-01-01T00:00:00.000000Z");
    }
}
