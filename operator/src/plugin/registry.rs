//! The plugins that there are, in the order in which their edits are applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::contract::{ChildType, Declaration};
use super::guard::is_name;
use super::native::Plugin;
use super::webhook::Webhook;
use crate::engine::What;
use crate::names;
use crate::observe::Kind;

/// Plugins that one operator has.
const PLUGINS_MAX: usize = 32;

/// One plugin.
#[derive(Clone)]
pub struct Entry {
    /// What it says of itself.
    pub declaration: Declaration,
    /// How it is asked.
    pub how: How,
}

/// How a plugin is asked.
#[derive(Clone)]
pub enum How {
    /// By a call in the operator's process.
    Native(Arc<dyn Plugin>),
    /// By an HTTP request.
    Webhook(Arc<Webhook>),
    /// Not any more: what it added is taken back, for which the operator keeps the rights.
    Removed,
}

impl Entry {
    /// Whether it still has a say.
    pub fn is_asked(&self) -> bool {
        !matches!(self.how, How::Removed)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("declaration", &self.declaration).finish_non_exhaustive()
    }
}

/// All plugins. Clones are the same; with none there is nothing to do for any.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: Arc<[Entry]>,
}

/// What is wrong with the plugins as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// One of them declares what cannot be.
    #[error("plugin {name:?}: {why}")]
    Declaration {
        /// Which.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// There are too many.
    #[error("there are {0} plugins, at most {PLUGINS_MAX} are allowed")]
    TooMany(usize),
}

impl Registry {
    /// These plugins, if they can live together.
    pub fn new(entries: Vec<Entry>) -> Result<Self, RegistryError> {
        if entries.len() > PLUGINS_MAX {
            return Err(RegistryError::TooMany(entries.len()));
        }
        let mut names = BTreeSet::new();
        for Entry { declaration, .. } in &entries {
            let name = &declaration.name;
            let first = names.insert(name.clone());
            let wrong = if first { wrong(declaration) } else { Some("there are two of this name".into()) };
            if let Some(why) = wrong {
                return Err(RegistryError::Declaration { name: name.clone(), why });
            }
        }
        Ok(Self { entries: entries.into() })
    }

    /// A registry of native plugins alone.
    pub fn native(plugins: Vec<Arc<dyn Plugin>>) -> Result<Self, RegistryError> {
        let entry =
            |plugin: Arc<dyn Plugin>| Entry { declaration: plugin.declaration(), how: How::Native(plugin) };
        Self::new(plugins.into_iter().map(entry).collect())
    }

    /// The same, each changed by this. Names and kinds stay as they are.
    pub(super) fn with_each(&self, change: impl Fn(&mut Entry)) -> Self {
        let mut entries = self.entries.to_vec();
        entries.iter_mut().for_each(change);
        Self { entries: entries.into() }
    }

    /// All of them, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.declaration.name == name)
    }

    /// Those that are asked about the children of a kind of parent.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.is_asked() && entry.declaration.concerns(kind))
    }

    /// Whether a plugin that is asked has declared that it adds such children to such parents.
    pub fn declares(&self, plugin: &str, parent: Kind, type_: &ChildType) -> bool {
        self.of(parent).any(|entry| {
            entry.declaration.name == plugin && entry.declaration.kinds.iter().any(|known| known == type_)
        })
    }

    /// What is to be followed for them, each once.
    pub fn follows(&self) -> Vec<What> {
        let all: BTreeSet<What> = self.entries.iter().flat_map(|entry| follows(&entry.declaration)).collect();
        all.into_iter().collect()
    }

    /// The rights that the operator needs for them: API group, plural, verbs.
    pub fn rights(&self) -> Vec<(String, String, &'static [&'static str])> {
        let mut rights = BTreeSet::new();
        for Entry { declaration, .. } in &*self.entries {
            let added = declaration.kinds.iter().map(|type_| (type_.clone(), ADDED_VERBS));
            let shown = declaration.related.iter().map(|related| (related.type_(), SHOWN_VERBS));
            let noting = declaration.concerns(Kind::Job) && !declaration.kinds.is_empty();
            let jobs = ChildType::new(names::API_VERSION, Kind::Job.name(), Kind::Job.plural());
            let noted = noting.then_some((jobs, NOTED_VERBS));
            rights.extend(added.chain(shown).chain(noted).map(|(type_, verbs)| {
                let ChildType { plural, .. } = &type_;
                (type_.group().to_owned(), plural.clone(), verbs)
            }));
        }
        rights.into_iter().collect()
    }
}

/// What the operator does with children that plugins add.
const ADDED_VERBS: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// What the operator does with objects that plugins are shown.
const SHOWN_VERBS: &[&str] = &["list", "watch"];

/// What the operator does with a job that plugins add to: it notes the kinds there. Other parents it may change anyway.
const NOTED_VERBS: &[&str] = &["patch"];

/// What is to be followed for one plugin.
pub fn follows(declaration: &Declaration) -> impl Iterator<Item = What> + '_ {
    let added = declaration.kinds.iter().map(|type_| What::Added(Arc::new(type_.clone())));
    let shown = declaration.related.iter().map(|related| What::Related(Arc::new(related.clone())));
    added.chain(shown)
}

fn wrong(declaration: &Declaration) -> Option<String> {
    let Declaration { name, parents, kinds, related, .. } = declaration;
    if !is_name(name) || name.contains('.') || name.len() > 63 {
        return Some("a name has at most 63 lower-case letters, digits and dashes".into());
    }
    if parents.is_empty() {
        return Some("parents is empty: name DaskCluster, DaskWorkerGroup or DaskJob".into());
    }
    let shown = related.iter().map(super::contract::Related::type_);
    for type_ in kinds.iter().cloned().chain(shown) {
        if !type_.can_be() {
            let ChildType { api_version, kind, plural } = &type_;
            return Some(format!(
                "the kind {kind:?} of {api_version:?} with the plural {plural:?} cannot be"
            ));
        }
    }
    let ours = kinds.iter().find(|type_| {
        type_.group() == names::GROUP && !["DaskWorkerGroup", "DaskAutoscaler"].contains(&&*type_.kind)
    });
    ours.map(|type_| format!("a {} has children of its own and cannot be added by plugins", type_.kind))
}
