//! The work queue: which key is looked at next, and when.
//!
//! Ordered by (due, sequence), so that the same history gives the same order; `kube_runtime`'s queue iterates hash maps with
//! random seeds and cannot be replayed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::seed::Seed;

/// First delay after a failure; doubles up to [`BACKOFF_MAX`].
pub const BACKOFF_MIN: SignedDuration = SignedDuration::from_millis(200);
/// Longest delay after failures.
pub const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Keys waiting for their turn.
///
/// A key is queued at most once (its earliest due time wins) and is never handed out twice at the same time:
/// what arrives while it is worked on is remembered and queued when the work is done.
/// The number of keys bounds the length.
#[derive(Debug)]
pub struct Queue<K> {
    order: BTreeMap<(Timestamp, u64), K>,
    places: BTreeMap<K, (Timestamp, u64)>,
    active: BTreeMap<K, Active>,
    failures: BTreeMap<K, u32>,
    sequence: u64,
    jitter: Seed,
}

/// A key that is being worked on.
#[derive(Debug)]
struct Active {
    /// When it was to be looked at.
    due: Timestamp,
    /// When it is to be looked at again, because of what arrived meanwhile.
    again: Option<Timestamp>,
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue; `seed` drives the jitter of retries.
    pub fn new(seed: u64) -> Self {
        Self {
            order: BTreeMap::new(),
            places: BTreeMap::new(),
            active: BTreeMap::new(),
            failures: BTreeMap::new(),
            sequence: 0,
            jitter: Seed(seed),
        }
    }

    /// Asks for `key` to be looked at no later than `due`.
    pub fn add(&mut self, key: K, due: Timestamp) {
        if let Some(active) = self.active.get_mut(&key) {
            active.again = Some(active.again.map_or(due, |known| known.min(due)));
            return;
        }
        if let Some(place) = self.places.get(&key).copied() {
            if place.0 <= due {
                return;
            }
            self.order.remove(&place);
        }
        self.sequence += 1;
        let place = (due, self.sequence);
        self.order.insert(place, key.clone());
        self.places.insert(key, place);
    }

    /// The next key that is due, which is then being worked on until [`Queue::done`].
    pub fn take(&mut self, now: Timestamp) -> Option<K> {
        let (&place, _) = self.order.first_key_value().filter(|((due, _), _)| *due <= now)?;
        let key = self.order.remove(&place)?;
        self.places.remove(&key);
        self.active.insert(key.clone(), Active { due: place.0, again: None });
        Some(key)
    }

    /// All keys that are due now, in order, without taking them. For a simulation that chooses among them.
    pub fn due(&self, now: Timestamp) -> Vec<K> {
        self.order.iter().take_while(|((due, _), _)| *due <= now).map(|(_, key)| key.clone()).collect()
    }

    /// How many keys are due now.
    pub fn due_count(&self, now: Timestamp) -> usize {
        self.order.range(..=(now, u64::MAX)).count()
    }

    /// Takes a given key that is queued.
    pub fn take_key(&mut self, key: &K) -> bool {
        let Some(place) = self.places.remove(key) else { return false };
        self.order.remove(&place);
        self.active.insert(key.clone(), Active { due: place.0, again: None });
        true
    }

    /// Ends the work on `key`; `again` is when it asked to be looked at next.
    pub fn done(&mut self, key: &K, again: Option<Timestamp>) {
        self.failures.remove(key);
        self.release(key, again);
    }

    /// Ends failed work on `key`: it comes back after an exponential delay, or `retry_after` if that is longer.
    /// Returns when.
    pub fn failed(&mut self, key: &K, now: Timestamp, retry_after: Option<SignedDuration>) -> Timestamp {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let doubled = BACKOFF_MIN * 2_i32.pow((*failures).min(12));
        *failures += 1;
        let capped = doubled.min(BACKOFF_MAX);
        let delay = self.jitter.spread(capped).max(retry_after.unwrap_or_default());
        let due = now + delay;
        // What happened meanwhile does not shorten the delay: a failing key must not be driven by its own events.
        if let Some(active) = self.active.get_mut(key) {
            active.again = None;
        }
        self.release(key, Some(due));
        due
    }

    /// Forgets a key whose object is gone.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// How many times in a row the work on `key` failed.
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }

    /// When a key that is being worked on was to be looked at.
    pub fn was_due(&self, key: &K) -> Option<Timestamp> {
        self.active.get(key).map(|active| active.due)
    }

    /// When something is due next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.order.first_key_value().map(|((due, _), _)| *due)
    }

    /// Keys waiting.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn release(&mut self, key: &K, again: Option<Timestamp>) {
        let arrived = self.active.remove(key).and_then(|active| active.again);
        let due = match (arrived, again) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if let Some(due) = due {
            self.add(key.clone(), due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn keys_come_out_by_due_time_then_by_arrival() {
        let mut queue = Queue::new(0);
        queue.add("late", at(5));
        queue.add("b", at(1));
        queue.add("a", at(1));
        queue.add("late", at(0));
        queue.add("b", at(9));
        assert_eq!((queue.due_count(at(0)), queue.due_count(at(1)), queue.len()), (1, 3, 3));
        let order: Vec<_> = std::iter::from_fn(|| queue.take(at(2))).collect();
        assert_eq!(order, ["late", "b", "a"]);
        assert_eq!(queue.take(at(2)), None);
    }

    #[test]
    fn a_key_is_never_worked_on_twice_at_once_and_nothing_is_lost() {
        let mut queue = Queue::new(0);
        queue.add("a", at(0));
        assert_eq!(queue.take(at(0)), Some("a"));
        queue.add("a", at(0));
        assert_eq!(queue.take(at(0)), None);
        assert_eq!(queue.was_due(&"a"), Some(at(0)));
        queue.done(&"a", Some(at(7)));
        assert_eq!(queue.take(at(0)), Some("a"));
        queue.done(&"a", None);
        assert!(queue.is_empty());
    }

    #[test]
    fn failures_back_off_up_to_a_minute_and_success_resets() {
        let mut queue = Queue::new(1);
        let mut delays = Vec::new();
        queue.add("a", at(0));
        for _ in 0..12 {
            let now = queue.next_due().unwrap();
            queue.take(now);
            queue.add("a", now);
            delays.push(queue.failed(&"a", now, None).duration_since(now).as_millis());
        }
        assert!(delays[0] >= 160 && delays[0] <= 240, "{delays:?}");
        assert!(delays[11] >= 48_000 && delays[11] <= 72_000, "{delays:?}");
        let now = queue.next_due().unwrap();
        queue.take(now);
        queue.done(&"a", None);
        assert_eq!(queue.failures(&"a"), 0);
    }
}
