//! Plugins in the engine: what is observed for them, when they are asked, and what becomes of their answers.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Engine, Source, What};
use crate::names;
use crate::observe::Key;
use crate::plan::{Step, Target};
use crate::plugin::{self, AskError, Change, Plugins, Registry};
use crate::store::{Event, StoreError};
use crate::traces::report::Cause;

/// So long changes of related objects are gathered: there may be many of them, and each concerns every parent beside it.
const RELATED_PAUSE: SignedDuration = SignedDuration::from_secs(1);

impl Engine {
    /// The same engine with plugins; to be called before anything is observed.
    #[must_use]
    pub fn with(mut self, plugins: Registry) -> Self {
        let (own, theirs) = std::mem::take(&mut self.sources)
            .into_iter()
            .partition(|(source, _)| !source.what.is_for_plugins());
        self.sources = own;
        self.world.plugins = Plugins::new(plugins, BTreeMap::into_keys(theirs));
        self
    }

    /// Takes in a plugin's answer and lets the parent it is about be looked at.
    pub fn advised(&mut self, question: &plugin::Question, answer: Result<Change, AskError>, now: Timestamp) {
        let took = now.duration_since(question.asked);
        self.tally.advised(&question.plugin, answer.as_ref().err().map(|error| error.reason), Some(took));
        self.world.plugins.answered(question, answer, now);
        self.reports.note(&question.key, &Cause::Advice);
        self.queue.add(question.key.clone(), now);
    }

    /// A collection that is followed for plugins cannot be listed.
    pub fn unlisted(&mut self, source: &Source, error: &StoreError, now: Timestamp) {
        if source.what.is_for_plugins() && self.world.plugins.unlisted(source, error) {
            self.touch_parents(&source.what.clone(), None, now);
        }
    }

    /// Asks the plugins about a parent where that is due; gives when to look again. Without plugins nothing is looked at.
    pub(super) fn consult(&mut self, key: &Key, now: Timestamp) -> Option<Timestamp> {
        if self.world.plugins.is_empty() {
            return None;
        }
        let mut again = None;
        for said in plugin::consult(&mut self.world, key, now) {
            if let Some(ended) = said.ended {
                self.tally.advised(&said.plugin, ended.err().map(|error| error.reason), None);
            }
            again = again.into_iter().chain(said.again).min();
        }
        again
    }

    pub(super) fn observe_for_plugins(&mut self, source: &Source, event: Event, now: Timestamp) {
        let plugins = &mut self.world.plugins;
        let listing = matches!(event, Event::InitApply(_));
        let what = source.what.clone();
        let cause = if matches!(event, Event::Delete(_)) { Cause::Gone(what) } else { Cause::Seen(what) };
        let keys = match (event, &source.what) {
            (Event::Init, _) => return plugins.listing(source),
            (Event::InitDone, what) => {
                let (keys, first) = plugins.listed(source);
                if first || matches!(what, What::Related(_)) {
                    self.touch_parents(what, source.namespace.as_deref(), now);
                }
                keys
            }
            (Event::InitApply(object) | Event::Apply(object), What::Added(_)) => {
                plugins.apply_added(source, &object, listing)
            }
            (Event::InitApply(object) | Event::Apply(object), what) => {
                let namespace = object.metadata.namespace.clone();
                if plugins.apply_related(source, object, listing) && !listing {
                    self.touch_parents(what, namespace.as_deref(), now + RELATED_PAUSE);
                }
                return;
            }
            (Event::Delete(object), what) => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
                let name = object.metadata.name.as_deref().unwrap_or_default();
                match what {
                    What::Added(type_) => {
                        plugins.extras.delete(&plugin::ExtraId::new(type_, namespace, name))
                    }
                    What::Related(related) => {
                        plugins.shown.delete(related, namespace, name);
                        return self.touch_parents(what, Some(namespace), now + RELATED_PAUSE);
                    }
                    What::Resource(_) | What::Child(_) => return,
                }
            }
        };
        self.touch(keys, &cause, now);
    }

    /// Records that a child which plugins add, or want no more, is being written.
    pub(super) fn expect_for_plugins(&mut self, step: &Step, key: &Key, now: Timestamp) {
        let extras = &mut self.world.plugins.extras;
        match step {
            Step::Create { target: Target::Extra(id), body, .. }
            | Step::Patch { target: Target::Extra(id), body } => {
                let hash = body["metadata"]["annotations"][names::HASH].as_str().unwrap_or_default();
                extras.expect(id, key, Some(hash.into()), now);
            }
            Step::Delete { target: Target::Extra(id), .. } => extras.expect(id, key, None, now),
            _ => {}
        }
    }

    /// Queues all parents of the plugins that follow something, and those on which its kind is noted.
    fn touch_parents(&mut self, what: &What, namespace: Option<&str>, due: Timestamp) {
        let kinds = self.world.plugins.followers(what);
        let added = matches!(what, What::Added(_));
        let inside = |key: &Key| namespace.is_none_or(|only| only == key.namespace);
        let keys: Vec<Key> = self
            .world
            .cache
            .resources()
            .filter(|known| {
                kinds.contains(&known.key.kind) || added && known.annotations.contains_key(names::ADDED)
            })
            .map(|resource| &resource.key)
            .filter(|key| inside(key))
            .cloned()
            .collect();
        self.touch(keys, &Cause::Seen(what.clone()), due);
    }
}
