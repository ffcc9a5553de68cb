//! What is known of all plugins: what they answered, what they added, what they asked to be shown, and how they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::DynamicObject;

use super::answers::{Next, Slot, Standing};
use super::ask::{About, AskError, Question};
use super::breaker::Breaker;
use super::contract::{Change, ChildType, Declaration, View};
use super::extras::{Extra, ExtraId, Extras};
use super::ledger::Ledger;
use super::registry::{Entry, How, Registry, follows};
use super::related::{self, Place, Shown};
use crate::engine::{Source, What};
use crate::names;
use crate::observe::{Key, Kind, Resource};
use crate::store::{Missing, StoreError};

/// Questions to one plugin that are under way at once.
const QUESTIONS_MAX: usize = 16;
/// Kinds that are followed because plugins that are gone added such, in each namespace that is followed by itself.
const LEFT_MAX: usize = 64;

/// Everything that is known of plugins. Without plugins it is empty and costs nothing.
#[derive(Debug, Default)]
pub struct Plugins {
    /// Who they are.
    pub registry: Registry,
    /// What they added.
    pub extras: Extras,
    /// What they asked to be shown.
    pub shown: Shown,
    slots: BTreeMap<Key, BTreeMap<String, Slot>>,
    sources: BTreeMap<Source, Listing>,
    breakers: BTreeMap<String, Breaker>,
    under_way: BTreeMap<String, usize>,
    waiting: VecDeque<Question>,
    left: usize,
    /// What is to be followed besides, since when this is known.
    wanted: VecDeque<(Source, Timestamp)>,
}

/// What a list has contained so far.
#[derive(Debug, Default)]
struct Listed {
    added: BTreeSet<ExtraId>,
    related: BTreeSet<Place>,
}

/// How far a collection that is followed for plugins has been listed.
#[derive(Debug, Default)]
struct Listing {
    done: bool,
    /// Why not, if it is known.
    error: Option<String>,
    /// The API server knows no such kind.
    unserved: bool,
    listed: Option<Listed>,
}

impl Plugins {
    /// These plugins, whose collections are followed at these sources.
    pub fn new(registry: Registry, sources: impl IntoIterator<Item = Source>) -> Self {
        let sources = sources.into_iter().map(|source| (source, Listing::default())).collect();
        Self { registry, sources, ..Self::default() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.registry.is_empty()
    }

    /// Whether a plugin that is asked adds such children to such parents.
    pub fn declares(&self, plugin: &str, parent: Kind, type_: &ChildType) -> bool {
        self.registry.declares(plugin, parent, type_)
    }

    /// Takes note of the kinds that were added to a parent, which was seen at `source`: those of plugins that are gone are followed
    /// too, as far as there are not too many of them.
    pub fn noted(&mut self, parent: &Resource, source: &Source, now: Timestamp) {
        if !parent.annotations.contains_key(names::ADDED) {
            return;
        }
        for (_, type_) in Ledger::of(parent).entries() {
            let what = What::Added(Arc::new(type_.clone()));
            let wanted = Source { what, namespace: source.namespace.clone() };
            if self.sources.contains_key(&wanted) {
                continue;
            }
            if self.left >= LEFT_MAX {
                tracing::warn!(key = %parent.key, kind = type_.kind, "plugins that are gone have left too many kinds to follow");
                return;
            }
            self.left += 1;
            self.sources.insert(wanted.clone(), Listing::default());
            self.wanted.push_back((wanted, now));
        }
    }

    /// The next collection that is to be followed besides.
    pub fn next_wanted(&mut self) -> Option<Source> {
        self.wanted.pop_front().map(|(source, _)| source)
    }

    /// Whether all children of a kind in a namespace are known.
    pub fn is_listed(&self, type_: &ChildType, namespace: &str) -> bool {
        self.listing_of(type_, namespace).is_some_and(|listing| listing.done)
    }

    /// Why the children of a kind cannot be known. A kind that is not served has none.
    pub fn unlistable(&self, type_: &ChildType, namespace: &str) -> Option<&str> {
        let listing =
            self.listing_of(type_, namespace).filter(|listing| !listing.done && !listing.unserved)?;
        listing.error.as_deref()
    }

    fn listing_of(&self, type_: &ChildType, namespace: &str) -> Option<&Listing> {
        let here = |source: &Source| {
            matches!(&source.what, What::Added(known) if **known == *type_)
                && source.namespace.as_deref().is_none_or(|only| only == namespace)
        };
        self.sources.iter().find(|(source, _)| here(source)).map(|(_, listing)| listing)
    }

    /// What a plugin that cannot be asked yet is waiting for.
    pub fn obstacle(&self, plugin: &Declaration) -> Option<AskError> {
        if let Some(selection) = self.shown.too_large(plugin) {
            return Some(AskError::new("RelatedTooLarge", related::too_large(selection)));
        }
        follows(plugin).find_map(|what| {
            let unlisted = self.sources.iter().find(|(source, listing)| source.what == what && !listing.done);
            let (_, listing) = unlisted?;
            let what = what.describe();
            Some(match &listing.error {
                Some(error) => AskError::new(
                    "KindNotListed",
                    format!("{what}, which it needs, cannot be listed: {error}"),
                ),
                None => AskError::new("KindNotListed", format!("waiting for {what} to be listed")),
            })
        })
    }

    /// How a plugin stands to a parent.
    pub fn standing(&self, plugin: &Declaration, key: &Key, about: &About, now: Timestamp) -> Standing {
        if let Some(error) = self.obstacle(plugin) {
            return Standing::Failed { error, before: None };
        }
        let Some(slot) = self.slots.get(key).and_then(|slots| slots.get(&plugin.name)) else {
            return Standing::Asking;
        };
        match (slot.standing(about, now), self.is_open(&plugin.name)) {
            // It is not asked, because it has failed others.
            (Standing::Asking, Some(error)) if !slot.is_asking() => slot.failed(error),
            (standing, _) => standing,
        }
    }

    /// What a plugin answered last about a parent, to whatever wishes.
    pub fn last_answer(&self, plugin: &str, key: &Key) -> Option<&Change> {
        self.slots.get(key)?.get(plugin)?.last_answer()
    }

    /// Whether a plugin is to be asked about a parent now.
    pub fn would_ask(&self, plugin: &Declaration, key: &Key, about: &About, now: Timestamp) -> bool {
        let slot = self.slots.get(key).and_then(|slots| slots.get(&plugin.name));
        slot.is_none_or(|slot| slot.next(about, now) == Next::Ask)
    }

    /// Asks a plugin about a parent if that is due: a native one at once, another by a question that comes out later. Gives when to
    /// look again, and whether an answer was taken in. `view` is what it is shown, where it is to be asked.
    pub fn consult(
        &mut self,
        entry: &Entry,
        key: &Key,
        view: Option<View>,
        about: &About,
        now: Timestamp,
    ) -> (Option<Timestamp>, Option<Result<(), AskError>>) {
        let name = &entry.declaration.name;
        if self.obstacle(&entry.declaration).is_some() {
            return (None, None);
        }
        let slot = self.slots.entry(key.clone()).or_default().entry(name.clone()).or_default();
        match slot.next(about, now) {
            Next::Nothing => return (None, None),
            Next::Later(at) => return (Some(at), None),
            Next::Ask => {}
        }
        let Some(view) = view else { return (None, None) };
        match &entry.how {
            How::Native(plugin) => {
                let answer = super::native::call(&**plugin, &view)
                    .map_err(|message| AskError::new("Panicked", message));
                let ended = answer.as_ref().map(|_| ()).map_err(Clone::clone);
                slot.ask(about.clone(), now);
                slot.answered(about, answer, now);
                // What it saw may have changed by what it wanted.
                let again = match slot.next(about, now) {
                    Next::Later(at) => Some(at),
                    Next::Nothing | Next::Ask => None,
                };
                (again, Some(ended))
            }
            How::Webhook(at) => {
                if let Err(at) = self.breakers.entry(name.clone()).or_default().admit(key, slot, now) {
                    return (Some(at), None);
                }
                slot.ask(about.clone(), now);
                self.waiting.push_back(Question {
                    plugin: name.clone(),
                    at: at.clone(),
                    key: key.clone(),
                    view: Arc::new(view),
                    about: about.clone(),
                    asked: now,
                });
                (None, None)
            }
            How::Removed => (None, None),
        }
    }

    /// The next question that may be put.
    pub fn next_question(&mut self) -> Option<Question> {
        let position = self.waiting.iter().position(|question| self.has_room(&question.plugin))?;
        let question = self.waiting.remove(position)?;
        *self.under_way.entry(question.plugin.clone()).or_default() += 1;
        Some(question)
    }

    /// When the next question may be put, or something is to be followed.
    pub fn next_due(&self) -> Option<Timestamp> {
        let question = self.waiting.iter().find(|question| self.has_room(&question.plugin));
        let wanted = self.wanted.front().map(|(_, since)| *since);
        question.map(|question| question.asked).into_iter().chain(wanted).min()
    }

    fn has_room(&self, plugin: &str) -> bool {
        self.under_way.get(plugin).is_none_or(|count| *count < QUESTIONS_MAX)
    }

    /// Takes in an answer.
    pub fn answered(&mut self, question: &Question, answer: Result<Change, AskError>, now: Timestamp) {
        if let Some(count) = self.under_way.get_mut(&question.plugin) {
            *count = count.saturating_sub(1);
        }
        self.breakers.entry(question.plugin.clone()).or_default().note(answer.as_ref().err(), now);
        // The parent may have gone in the meantime.
        if let Some(slot) =
            self.slots.get_mut(&question.key).and_then(|slots| slots.get_mut(&question.plugin))
        {
            slot.answered(&question.about, answer, now);
        }
    }

    /// Why a plugin is left alone, if it is because it failed too often.
    pub fn is_open(&self, plugin: &str) -> Option<AskError> {
        self.breakers.get(plugin).and_then(Breaker::is_open)
    }

    /// Forgets a parent.
    pub fn forget(&mut self, key: &Key) {
        self.slots.remove(key);
        for (plugin, breaker) in &mut self.breakers {
            let asking =
                self.waiting.iter().any(|question| question.key == *key && question.plugin == *plugin);
            breaker.forget(key, asking);
        }
        self.waiting.retain(|question| question.key != *key);
    }

    /// The kinds of parents whose plugins follow something.
    pub fn followers(&self, what: &What) -> BTreeSet<Kind> {
        let following = |entry: &&Entry| follows(&entry.declaration).any(|followed| followed == *what);
        let parents = self.registry.entries().iter().filter(following).flat_map(|e| &e.declaration.parents);
        parents.map(|parent| parent.kind()).collect()
    }

    /// A collection begins to be listed anew.
    pub fn listing(&mut self, source: &Source) {
        self.sources.entry(source.clone()).or_default().listed = Some(Listed::default());
        if let What::Related(related) = &source.what {
            self.shown.listing(related);
        }
    }

    /// A collection cannot be listed. Gives whether that is news.
    pub fn unlisted(&mut self, source: &Source, error: &StoreError) -> bool {
        let listing = self.sources.entry(source.clone()).or_default();
        let text = error.to_string();
        let news = !listing.done && listing.error.as_ref() != Some(&text);
        listing.unserved = matches!(error, StoreError::NotFound { missing: Missing::Endpoint, .. });
        listing.error = Some(text);
        news
    }

    /// A collection has been listed; gives the children that are gone, and whether it is the first time.
    pub fn listed(&mut self, source: &Source) -> (Vec<Key>, bool) {
        let listing = self.sources.entry(source.clone()).or_default();
        let first = !std::mem::replace(&mut listing.done, true);
        listing.error = None;
        let Some(listed) = listing.listed.take() else { return (Vec::new(), first) };
        let mut keys = Vec::new();
        match &source.what {
            What::Added(type_) => {
                for id in self.extras.unlisted(type_, source.namespace.as_deref(), &listed.added) {
                    keys.extend(self.extras.delete(&id));
                }
            }
            What::Related(related) => {
                self.shown.listed(related, source.namespace.as_deref(), &listed.related);
            }
            What::Resource(_) | What::Child(_) => {}
        }
        (keys, first)
    }

    /// Takes in a child that a plugin added; gives whom it concerns.
    pub fn apply_added(&mut self, source: &Source, object: &DynamicObject, listing: bool) -> Vec<Key> {
        let What::Added(type_) = &source.what else { return Vec::new() };
        let Some(extra) = Extra::project(type_, object) else { return Vec::new() };
        if listing && let Some(listed) = self.listed_of(source) {
            listed.added.insert(extra.id.clone());
        }
        self.extras.apply(extra)
    }

    /// Takes in an object that plugins are shown; gives whether it is shown otherwise than before.
    pub fn apply_related(&mut self, source: &Source, object: DynamicObject, listing: bool) -> bool {
        let What::Related(related) = &source.what else { return false };
        let related = related.clone();
        let Some(namespace) = object.metadata.namespace.as_deref().map(Box::<str>::from) else {
            return false;
        };
        let place: Place = (namespace, object.metadata.name.as_deref().unwrap_or_default().into());
        if listing && let Some(listed) = self.listed_of(source) {
            listed.related.insert(place.clone());
        }
        self.shown.apply(&related, place, object)
    }

    fn listed_of(&mut self, source: &Source) -> Option<&mut Listed> {
        self.sources.get_mut(source)?.listed.as_mut()
    }
}
