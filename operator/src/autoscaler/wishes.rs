//! What a scheduler wished over a while, for the windows in which a wish has to last.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Longest window over which wishes are kept, as with Kubernetes' HorizontalPodAutoscaler.
pub const WINDOW_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The wishes of one scheduler, the oldest first. Equal ones in a row are one entry, so that a quiet cluster costs one.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    spans: VecDeque<Span>,
    /// Since when nothing has been left out.
    since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    last: Timestamp,
    wanted: u32,
}

impl Wishes {
    /// Takes in a wish and forgets what is older than `keep` (at most [`WINDOW_MAX`]).
    pub fn note(&mut self, at: Timestamp, wanted: u32, keep: SignedDuration) {
        match self.spans.back_mut() {
            Some(span) if span.wanted == wanted => span.last = at,
            _ => self.spans.push_back(Span { last: at, wanted }),
        }
        self.since.get_or_insert(at);
        let oldest = at - keep.min(WINDOW_MAX);
        while self.spans.len() > 1 && self.spans.front().is_some_and(|span| span.last < oldest) {
            self.spans.pop_front();
        }
    }

    /// The smallest wish of a window that ends with the last one. `None` where not all of the window was seen: a wish that may
    /// be younger than the window is not known to last.
    pub fn least(&self, window: SignedDuration) -> Option<u32> {
        self.within(window)?.min()
    }

    /// The largest wish of such a window.
    pub fn most(&self, window: SignedDuration) -> Option<u32> {
        self.within(window)?.max()
    }

    fn within(&self, window: SignedDuration) -> Option<impl Iterator<Item = u32>> {
        let oldest = self.spans.back()?.last - window;
        self.since.filter(|since| *since <= oldest)?;
        Some(self.spans.iter().filter(move |span| span.last >= oldest).map(|span| span.wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(list: &[(i64, u32)]) -> Wishes {
        let mut wishes = Wishes::default();
        for (second, wanted) in list {
            wishes.note(Timestamp::from_second(*second).unwrap(), *wanted, SignedDuration::from_secs(60));
        }
        wishes
    }

    #[test]
    fn without_a_window_the_last_wish_counts() {
        let known = wishes(&[(0, 5), (5, 9)]);
        assert_eq!((known.least(SignedDuration::ZERO), known.most(SignedDuration::ZERO)), (Some(9), Some(9)));
    }

    #[test]
    fn a_window_is_judged_only_when_all_of_it_was_seen() {
        let window = SignedDuration::from_secs(10);
        assert_eq!(wishes(&[(0, 5), (5, 9)]).most(window), None);
        let known = wishes(&[(0, 5), (5, 9), (10, 2)]);
        assert_eq!((known.least(window), known.most(window)), (Some(2), Some(9)));
        assert_eq!(wishes(&[(0, 5), (5, 9), (10, 2), (16, 2)]).most(window), Some(2));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let alternating: Vec<(i64, u32)> = (0..10_000).map(|second| (second, (second % 2) as u32)).collect();
        assert!(wishes(&alternating).spans.len() <= 62);
        let quiet: Vec<(i64, u32)> = (0..10_000).map(|second| (second, 3)).collect();
        assert_eq!(wishes(&quiet).spans.len(), 1);
    }
}
