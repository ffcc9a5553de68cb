//! Who wants which scheduler asked, what, and when. All who want the same scheduler asked share one question.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::observe::Key;
use crate::plan::{Ask, Poll};

/// Namespace and name of a cluster.
pub type Place = (String, String);

/// Wishes to have schedulers asked; at most one question to a scheduler is under way.
#[derive(Debug, Default)]
pub struct Polls {
    places: BTreeMap<Place, Polled>,
    /// Whose scheduler each key wants asked.
    asked_by: BTreeMap<Key, Place>,
    /// When which scheduler is to be asked next, so that finding the next one does not look through all of them.
    order: BTreeSet<(Timestamp, Place)>,
}

#[derive(Debug, Default)]
struct Polled {
    wanted: BTreeMap<Key, (Ask, Timestamp)>,
    /// Its entry in the order; none while a question is under way.
    due: Option<Timestamp>,
    asking: bool,
}

impl Polls {
    /// Replaces what a key wants; `None` ends it. A wish that is repeated keeps its time, so that a resource that is looked at
    /// again and again is not put off again and again.
    pub fn want(&mut self, key: &Key, poll: Option<Poll>) {
        let mut before = None;
        if let Some(place) = self.asked_by.remove(key) {
            let wish = self.places.get_mut(&place).and_then(|polled| polled.wanted.remove(key));
            before = wish.map(|wish| (place.clone(), wish));
            self.reorder(&place);
        }
        let Some(poll) = poll else { return };
        let place = (poll.namespace, poll.cluster);
        let same = before.filter(|(known, (ask, _))| *known == place && *ask == poll.ask);
        let at = same.map_or(poll.at, |(_, (_, at))| at.min(poll.at));
        self.places.entry(place.clone()).or_default().wanted.insert(key.clone(), (poll.ask, at));
        self.asked_by.insert(key.clone(), place.clone());
        self.reorder(&place);
    }

    /// The next scheduler to ask, and all that is due to be asked of it.
    pub fn next(&mut self, now: Timestamp) -> Option<(Place, Ask)> {
        let (_, place) = self.order.first().filter(|(at, _)| *at <= now)?.clone();
        let polled = self.places.get_mut(&place)?;
        polled.asking = true;
        let due = polled.wanted.values().filter(|(_, at)| *at <= now).map(|(ask, _)| *ask);
        let ask = due.fold(Ask::default(), Ask::and);
        self.reorder(&place);
        Some((place, ask))
    }

    /// Ends the question to a scheduler: all who wanted something of it look at the answer and say anew what they want.
    pub fn answered(&mut self, place: &Place) -> Vec<Key> {
        let Some(polled) = self.places.get_mut(place) else { return Vec::new() };
        polled.asking = false;
        let keys: Vec<Key> = std::mem::take(&mut polled.wanted).into_keys().collect();
        for key in &keys {
            self.asked_by.remove(key);
        }
        self.reorder(place);
        keys
    }

    /// When a scheduler is to be asked next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    fn reorder(&mut self, place: &Place) {
        let Some(polled) = self.places.get_mut(place) else { return };
        if let Some(known) = polled.due.take() {
            self.order.remove(&(known, place.clone()));
        }
        if polled.asking {
            return;
        }
        polled.due = polled.wanted.values().map(|(_, at)| *at).min();
        match polled.due {
            Some(at) => {
                self.order.insert((at, place.clone()));
            }
            None => {
                self.places.remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Kind;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(kind: Kind) -> Key {
        Key::new(kind, "d", "x")
    }

    fn poll(cluster: &str, ask: Ask, second: i64) -> Poll {
        Poll { namespace: "d".into(), cluster: cluster.into(), ask, at: at(second) }
    }

    const IDLE: Ask = Ask { workers: false, target: false, idle: true, window: jiff::SignedDuration::ZERO };
    const TARGET: Ask = Ask { workers: false, target: true, idle: false, window: jiff::SignedDuration::ZERO };

    #[test]
    fn those_who_are_due_share_one_question() {
        let mut polls = Polls::default();
        polls.want(&key(Kind::Cluster), Some(poll("x", IDLE, 5)));
        polls.want(&key(Kind::Autoscaler), Some(poll("x", TARGET, 4)));
        assert_eq!(polls.next(at(3)), None);
        let place = ("d".to_owned(), "x".to_owned());
        assert_eq!(polls.next(at(5)), Some((place.clone(), IDLE.and(TARGET))));
        assert_eq!(polls.next(at(9)), None, "one question at a time");
        assert_eq!(polls.answered(&place), [key(Kind::Cluster), key(Kind::Autoscaler)]);
        assert_eq!(polls.next_due(), None);
    }

    #[test]
    fn a_repeated_wish_is_not_put_off_and_a_changed_one_is_replaced() {
        let mut polls = Polls::default();
        polls.want(&key(Kind::Cluster), Some(poll("x", IDLE, 5)));
        polls.want(&key(Kind::Cluster), Some(poll("x", IDLE, 9)));
        assert_eq!(polls.next_due(), Some(at(5)));
        polls.want(&key(Kind::Cluster), Some(poll("y", IDLE, 9)));
        assert_eq!(polls.next_due(), Some(at(9)));
        polls.want(&key(Kind::Cluster), None);
        assert_eq!(polls.next_due(), None);
    }

    #[test]
    fn a_wish_that_comes_while_a_question_is_under_way_waits_for_its_end() {
        let mut polls = Polls::default();
        polls.want(&key(Kind::Cluster), Some(poll("x", IDLE, 1)));
        let (place, _) = polls.next(at(1)).unwrap();
        polls.want(&key(Kind::Cluster), None);
        polls.want(&key(Kind::Autoscaler), Some(poll("x", TARGET, 1)));
        assert_eq!(polls.next(at(2)), None);
        assert_eq!(polls.answered(&place), [key(Kind::Autoscaler)]);
    }
}
