//! Plugins outside, in a simulation: functions that answer when they like, and what they have still to say.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::plugin::{AskError, Change, Question, View};

/// What an outside plugin does with a question: how long it takes, and what it answers. The number counts its questions from 0.
pub type Advisor = Box<dyn FnMut(&View, u64) -> (SignedDuration, Result<Change, AskError>)>;

/// The plugins outside of a simulated operator.
#[derive(Default)]
pub struct Advisors {
    known: BTreeMap<String, (Advisor, u64)>,
    under_way: Vec<(Timestamp, Question, Result<Change, AskError>)>,
}

impl Advisors {
    /// This plugin answers like this from now on.
    pub fn set(&mut self, plugin: &str, advisor: Advisor) {
        let asked = self.asked(plugin);
        self.known.insert(plugin.to_owned(), (advisor, asked));
    }

    /// How often a plugin was asked.
    pub fn asked(&self, plugin: &str) -> u64 {
        self.known.get(plugin).map_or(0, |(_, asked)| *asked)
    }

    /// Takes in a question. One that nobody answers cannot be reached.
    pub(super) fn ask(&mut self, question: Question, now: Timestamp) {
        let (after, answer) = match self.known.get_mut(&question.plugin) {
            Some((advisor, asked)) => {
                *asked += 1;
                advisor(&question.view, *asked - 1)
            }
            None => (SignedDuration::ZERO, Err(AskError::new("Unreachable", "nobody listens there"))),
        };
        self.under_way.push((now + after, question, answer));
    }

    /// The next answer that has come.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<(Question, Result<Change, AskError>)> {
        let position = self.under_way.iter().position(|(at, ..)| *at <= now)?;
        let (_, question, answer) = self.under_way.remove(position);
        Some((question, answer))
    }

    /// When the next answer comes.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.under_way.iter().map(|(at, ..)| *at).min()
    }

    /// Whoever asked is gone.
    pub(super) fn forget(&mut self) {
        self.under_way.clear();
    }
}
