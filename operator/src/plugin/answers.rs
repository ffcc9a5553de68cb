//! What plugins answered, for each parent: the last answer that could be used, and what became of the last question.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::ask::{About, AskError};
use super::contract::Change;

/// Shortest time between two questions about the same wishes of which only the observation differs.
const OBSERVED_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// So often a plugin may change its mind about the same wishes; then its last answer holds.
pub const CHANGES_MAX: u32 = 8;
/// Shortest time between two questions after it has so often answered otherwise to other related objects.
const RELATED_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// After this time it may again.
const CHANGES_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// Pause after the first failure in a row, doubled with each further one.
const RETRY_MIN: SignedDuration = SignedDuration::from_secs(1);
/// Longest pause after a failure.
const RETRY_MAX: SignedDuration = SignedDuration::from_mins(1);

/// What is known of one plugin about one parent.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// The last answer, and what it was about.
    answer: Option<(About, Arc<Change>)>,
    /// What is being asked.
    asking: Option<About>,
    /// Why there was no answer to the last question.
    failure: Option<AskError>,
    failures: u32,
    asked: Option<Timestamp>,
    /// How often the answer was another one though the wishes were the same, and since when that is counted.
    changes: u32,
    /// The same where the related objects were others.
    followed: u32,
    since: Option<Timestamp>,
}

/// How a plugin stands to a parent at this moment.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It has answered.
    Answered {
        /// What.
        change: Arc<Change>,
        /// To exactly what there is now, so that what it does not want any more may go.
        settled: bool,
        /// It changed its mind too often, and is not asked for a while.
        unsteady: bool,
        /// Why it could not be asked once more after what there is of the children had changed.
        trouble: Option<AskError>,
    },
    /// It is being asked, or is about to be.
    Asking,
    /// It gave no answer that can be used.
    Failed {
        /// Why.
        error: AskError,
        /// What it answered before, to whatever wishes.
        before: Option<Arc<Change>>,
    },
}

/// Whether to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is nothing to ask.
    Nothing,
    /// Now.
    Ask,
    /// Not before this time.
    Later(Timestamp),
}

impl Slot {
    /// Whether to ask about this now.
    pub fn next(&self, about: &About, now: Timestamp) -> Next {
        if self.asking.is_some() {
            return Next::Nothing;
        }
        let known = self.answer.as_ref().map(|(known, _)| known).filter(|known| known.input == about.input);
        if known == Some(about) && self.failure.is_none() {
            return Next::Nothing;
        }
        if self.unsteady(about, now) {
            return Next::Later(self.since.map_or(now, |since| since + CHANGES_EVERY));
        }
        let pause = match self.failures {
            0 if self.followed >= CHANGES_MAX
                && known.is_some_and(|known| known.related != about.related) =>
            {
                RELATED_EVERY
            }
            0 if known.is_some() => OBSERVED_EVERY,
            0 => SignedDuration::ZERO,
            n => (RETRY_MIN * 2_i32.pow((n - 1).min(6))).min(RETRY_MAX),
        };
        match self.asked.map(|asked| asked + pause).filter(|at| *at > now) {
            Some(at) => Next::Later(at),
            None => Next::Ask,
        }
    }

    /// Takes note of a question that is put.
    pub fn ask(&mut self, about: About, now: Timestamp) {
        self.asking = Some(about);
        self.asked = Some(now);
    }

    /// Takes note of an answer, or of why there is none.
    pub fn answered(&mut self, about: &About, answer: Result<Change, AskError>, now: Timestamp) {
        self.asking = None;
        match answer {
            Ok(change) => {
                self.failure = None;
                self.failures = 0;
                self.count(about, &change, now);
                self.answer = Some((about.clone(), Arc::new(change)));
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.failure = Some(error);
            }
        }
    }

    /// Whether it is being asked.
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Whether the last question was not answered.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// When it was asked last.
    pub fn asked(&self) -> Option<Timestamp> {
        self.asked
    }

    /// What it answered last, to whatever wishes.
    pub fn last_answer(&self) -> Option<&Change> {
        self.answer.as_ref().map(|(_, change)| &**change)
    }

    /// How the plugin stands to these wishes.
    pub fn standing(&self, about: &About, now: Timestamp) -> Standing {
        let same = self.answer.as_ref().filter(|(known, _)| known.input == about.input);
        if let Some((known, change)) = same {
            let settled = known.observed == about.observed && known.related == about.related;
            return Standing::Answered {
                change: change.clone(),
                settled,
                unsteady: self.unsteady(about, now),
                trouble: self.failure.clone(),
            };
        }
        match &self.failure {
            Some(error) => self.failed(error.clone()),
            None => Standing::Asking,
        }
    }

    /// How the plugin stands to wishes that it has not answered, for this reason.
    pub fn failed(&self, error: AskError) -> Standing {
        Standing::Failed { error, before: self.answer.as_ref().map(|(_, change)| change.clone()) }
    }

    fn count(&mut self, about: &About, change: &Change, now: Timestamp) {
        let same = self.answer.as_ref().filter(|(known, _)| known.input == about.input);
        let Some((known, before)) = same else {
            (self.changes, self.followed, self.since) = (0, 0, Some(now));
            return;
        };
        if self.since.is_none_or(|since| now.duration_since(since) >= CHANGES_EVERY) {
            (self.changes, self.followed, self.since) = (0, 0, Some(now));
        }
        if **before != *change {
            let counted = if known.related == about.related { &mut self.changes } else { &mut self.followed };
            *counted += 1;
        }
    }

    /// Whether it has changed its mind about these wishes too often.
    fn unsteady(&self, about: &About, now: Timestamp) -> bool {
        self.changes >= CHANGES_MAX
            && self
                .answer
                .as_ref()
                .is_some_and(|(known, _)| known.input == about.input && known.related == about.related)
            && self.since.is_some_and(|since| now.duration_since(since) < CHANGES_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::contract::{Said, Status};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn about(input: &str, observed: &str) -> About {
        About { input: input.into(), related: String::new(), observed: observed.into() }
    }

    fn change(number: u32) -> Change {
        let said = Said {
            kind: "a.b/C".into(),
            status: Status::True,
            reason: "R".into(),
            message: number.to_string(),
        };
        Change { conditions: vec![said], ..Change::default() }
    }

    #[test]
    fn an_answer_holds_as_long_as_the_wishes_are_the_same() {
        let mut slot = Slot::default();
        let first = about("wish", "nothing");
        assert_eq!(slot.next(&first, at(0)), Next::Ask);
        slot.ask(first.clone(), at(0));
        assert_eq!(slot.next(&about("other", ""), at(0)), Next::Nothing, "one question at a time");
        slot.answered(&first, Ok(change(1)), at(0));
        assert_eq!(slot.next(&first, at(5)), Next::Nothing);
        let later = about("wish", "something");
        assert_eq!(slot.next(&later, at(0)), Next::Later(at(1)));
        let Standing::Answered { settled, .. } = slot.standing(&later, at(0)) else { panic!() };
        assert!(!settled, "what it does not want any more stays until it has seen the present state");
        assert!(matches!(slot.standing(&about("other", "something"), at(0)), Standing::Asking));
    }

    #[test]
    fn failures_in_a_row_are_asked_about_less_and_less_often() {
        let mut slot = Slot::default();
        let wish = about("wish", "");
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            slot.ask(wish.clone(), now);
            slot.answered(&wish, Err(AskError::new("Unreachable", "no")), now);
            let Next::Later(next) = slot.next(&wish, now) else { panic!("it is to be asked again") };
            pauses.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_mind_that_changes_too_often_is_held_to_its_last_word_for_an_hour() {
        let mut slot = Slot::default();
        for number in 0..=CHANGES_MAX {
            let wish = about("wish", &number.to_string());
            slot.ask(wish.clone(), at(i64::from(number)));
            slot.answered(&wish, Ok(change(number)), at(i64::from(number)));
        }
        let next = about("wish", "next");
        assert_eq!(slot.next(&next, at(60)), Next::Later(at(3_600)));
        assert!(matches!(slot.standing(&next, at(60)), Standing::Answered { unsteady: true, .. }));
        assert_eq!(slot.next(&about("another wish", ""), at(60)), Next::Ask);
        assert_eq!(slot.next(&next, at(3_601)), Next::Ask);
    }
    #[test]
    fn what_is_related_and_changes_all_the_time_is_followed_less_often() {
        let mut slot = Slot::default();
        let wish = |number: u32| About { related: number.to_string(), ..about("wish", "") };
        let mut now = at(0);
        let mut pauses = Vec::new();
        for number in 0..12 {
            if let Next::Later(next) = slot.next(&wish(number), now) {
                pauses.push(next.duration_since(now).as_secs());
                now = next;
            }
            if number > 0 {
                let standing = slot.standing(&wish(number), now);
                let Standing::Answered { settled: false, unsteady: false, .. } = standing else {
                    panic!("what was answered holds meanwhile: {standing:?}")
                };
            }
            slot.ask(wish(number), now);
            slot.answered(&wish(number), Ok(change(number)), now);
        }
        assert_eq!(pauses, [1, 1, 1, 1, 1, 1, 1, 1, 60, 60, 60]);
    }
}
