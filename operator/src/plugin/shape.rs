//! What becomes of the children as built when all plugins have had their say: between `build` and `plan`. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::{CHANGES_MAX, Standing};
use super::apply::{Added, Draft, Refusal};
use super::contract::{Built, Change, OnError, Role, Said, Status};
use super::extras::ExtraId;
use super::ledger;
use super::registry::Entry;
use super::view::about;
use crate::conditions::{self, Condition};
use crate::observe::Resource;
use crate::world::World;
use crate::{hash, merge, names};

/// Bytes of what is told of one plugin.
const TEXT_BYTES_MAX: usize = 1_024;
/// The condition that tells how the plugins are.
pub const READY: &str = "PluginsReady";

/// The children as they should be after all plugins.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Nothing may be made or changed now.
    pub held: bool,
    /// Why, where that is not over in a moment.
    pub waiting: Option<String>,
    /// Plugins that did not answer leave it open how the children should be: nothing is replaced as outdated.
    pub unsure: bool,
    /// Children that plugins add.
    pub added: BTreeMap<ExtraId, Added>,
    /// Plugins that have answered to the present state: what they added and do not add any more goes.
    pub settled: BTreeSet<String>,
    /// What the parent says of them.
    pub conditions: Vec<Condition>,
    /// What is worth an event: reason and message.
    pub news: Option<(&'static str, String)>,
    edited: BTreeMap<Role, Edited>,
}

#[derive(Clone, Debug)]
struct Edited {
    object: Value,
    difference: Value,
}

impl Shape {
    /// Of a parent that has come to its end: no plugin is asked, and what was said before holds.
    pub fn at_rest(parent: &Resource) -> Self {
        let stored = &parent.status["conditions"];
        let mut shape = Self { held: true, unsure: true, ..Self::default() };
        shape.conditions.extend(conditions::known(stored, READY));
        keep(stored, &mut shape.conditions);
        shape
    }

    /// Whether any child as built is changed.
    pub fn edits(&self) -> bool {
        !self.edited.is_empty()
    }

    /// The child as it should be.
    pub fn child(&self, role: Role, built: Value) -> Value {
        self.edited.get(&role).map_or(built, |edited| edited.object.clone())
    }

    /// The edited child, if it was edited.
    pub fn edited(&self, role: Role) -> Option<&Value> {
        self.edited.get(&role).map(|edited| &edited.object)
    }

    /// The hash of what a child is made from: that of the spec, and of what plugins changed. What they would not change leaves it as
    /// it is.
    pub fn hash(&self, role: Role, built: String) -> String {
        match self.edited.get(&role) {
            Some(edited) => hash::of(&json!([built, edited.difference])),
            None => built,
        }
    }
}

/// The children of a parent after all plugins; `built` is called only if there are any for its kind.
pub fn shape(world: &World, parent: &Resource, built: impl FnOnce() -> Vec<Built>, now: Timestamp) -> Shape {
    let left = ledger::obstacles(world, parent);
    if left.is_empty() && world.plugins.registry.of(parent.key.kind).next().is_none() {
        return Shape::default();
    }
    let built = built();
    let problems = left.into_iter().map(|why| ("LeftBehind", why)).collect();
    let mut work = Work { shape: Shape::default(), draft: Draft::of(&built), problems, asking: false };
    let mut asked = Vec::new();
    for entry in world.plugins.registry.of(parent.key.kind) {
        let plugin = &entry.declaration;
        asked.push(plugin.name.as_str());
        let about = about(world, parent, &built, plugin);
        let standing = world.plugins.standing(plugin, &parent.key, &about, now);
        work.take(parent, entry, standing);
    }
    work.finish(parent, &built, &asked)
}

struct Work {
    shape: Shape,
    draft: Draft,
    problems: Vec<(&'static str, String)>,
    asking: bool,
}

impl Work {
    fn take(&mut self, parent: &Resource, entry: &Entry, standing: Standing) {
        let plugin = &entry.declaration;
        match standing {
            Standing::Answered { change, settled, unsteady, trouble } => {
                match self.draft.apply(parent, plugin, &change) {
                    Ok(()) => self.say(&change),
                    Err(refusal) => return self.refused(entry, &refusal),
                }
                if settled {
                    self.shape.settled.insert(plugin.name.clone());
                }
                if let Some(error) = trouble {
                    self.problem(entry, error.reason, &error.message);
                } else if unsteady {
                    let text = format!(
                        "it answered differently {CHANGES_MAX} times though nothing was wished differently; its last answer holds for an hour"
                    );
                    self.problem(entry, "Unsteady", &text);
                }
            }
            Standing::Asking => {
                self.asking = true;
                self.shape.held = true;
            }
            Standing::Failed { error, before } => {
                self.problem(entry, error.reason, &error.message);
                match plugin.on_error {
                    OnError::Fail => self.hold(entry, &error.message),
                    OnError::Skip => self.skip(parent, entry, before.as_deref()),
                }
            }
        }
    }

    /// Goes on with what the plugin said before, if that still fits, or without it.
    fn skip(&mut self, parent: &Resource, entry: &Entry, before: Option<&Change>) {
        self.shape.unsure = true;
        if let Some(change) = before
            && self.draft.apply(parent, &entry.declaration, change).is_ok()
        {
            self.say(change);
        }
    }

    fn refused(&mut self, entry: &Entry, refusal: &Refusal) {
        let text = refusal.to_string();
        match refusal {
            // A veto is an answer: it holds whatever becomes of a plugin that fails.
            Refusal::Veto { .. } => {
                self.problem(entry, "Vetoed", &text);
                self.hold(entry, &text);
            }
            Refusal::Broken(_) => {
                self.problem(entry, "ChangeRefused", &text);
                match entry.declaration.on_error {
                    OnError::Fail => self.hold(entry, &text),
                    OnError::Skip => self.shape.unsure = true,
                }
            }
        }
    }

    fn hold(&mut self, entry: &Entry, why: &str) {
        self.shape.held = true;
        let text = format!("waiting for plugin {}: {}", entry.declaration.name, cut(why));
        self.shape.waiting.get_or_insert(text);
    }

    fn problem(&mut self, entry: &Entry, reason: &'static str, why: &str) {
        self.problems.push((reason, format!("plugin {}: {}", entry.declaration.name, cut(why))));
    }

    fn say(&mut self, change: &Change) {
        self.shape.conditions.extend(change.conditions.iter().map(said));
    }

    fn finish(self, parent: &Resource, built: &[Built], asked: &[&str]) -> Shape {
        let Self { mut shape, draft, problems, asking } = self;
        shape.unsure |= shape.held;
        let stored = &parent.status["conditions"];
        let ready = match problems.first() {
            Some((reason, first)) => {
                let texts: Vec<&str> = problems.iter().map(|(_, text)| text.as_str()).collect();
                let same = conditions::find(stored, READY)
                    .is_some_and(|known| known["status"] == "False" && known["reason"] == *reason);
                shape.news = (!same).then(|| (*reason, first.clone()));
                Some(Condition::no(READY, reason, texts.join("; ")))
            }
            // Over in a moment: what was said of them still holds.
            None if asking => conditions::known(stored, READY),
            None if asked.is_empty() => None,
            None => Some(Condition::yes(READY, "Answered", asked.join(", "))),
        };
        if asking || !problems.is_empty() {
            keep(stored, &mut shape.conditions);
        }
        shape.conditions.splice(0..0, ready);
        for child in built {
            let edited = &draft.children[&child.role];
            if let Some(difference) = merge::diff(&child.object, edited) {
                let mut object = edited.clone();
                let by = draft.editors.get(&child.role).map(|names| names.join(",")).unwrap_or_default();
                object["metadata"]["annotations"][names::EDITED_BY] = by.into();
                shape.edited.insert(child.role, Edited { object, difference });
            }
        }
        shape.added = draft.added;
        shape
    }
}

/// The beginning of what a plugin says, which stands in conditions and events.
fn cut(text: &str) -> &str {
    let end = text
        .char_indices()
        .map(|(at, letter)| at + letter.len_utf8())
        .take_while(|end| *end <= TEXT_BYTES_MAX);
    &text[..end.last().unwrap_or(0)]
}

/// What plugins said before and have not taken back, though they do not answer now.
fn keep(stored: &Value, conditions: &mut Vec<Condition>) {
    let kinds = stored.as_array().into_iter().flatten().filter_map(|condition| condition["type"].as_str());
    for kind in kinds.filter(|kind| kind.contains('/')) {
        if !conditions.iter().any(|known| known.kind == kind) {
            conditions.extend(conditions::known(stored, kind.to_owned()));
        }
    }
}

fn said(said: &Said) -> Condition {
    Condition {
        kind: said.kind.clone().into(),
        status: match said.status {
            Status::True => Some(true),
            Status::False => Some(false),
            Status::Unknown => None,
        },
        reason: said.reason.clone(),
        message: said.message.clone(),
    }
}
