//! Plugins: what others want of the children that the operator makes.
//!
//! ```text
//! observe → build ──► children as built ─┐
//!                                        ├─ View ─► plugin ─► Change ─► guard ─► Shape ─► plan → execute
//!           parent, observed, related ───┘
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`contract`] | `sync(View) -> Change`, with its JSON schema |
//! | [`native`], [`declarative`], [`webhook`], [`dial`] | plugins in this process, as data, and outside, and the way there |
//! | [`registry`], [`config`], [`roster`], [`reload`] | which plugins there are, and that they may change |
//! | [`check`] | `dask-operator plugin check` |
//! | [`view`](mod@view), [`apply`], [`guard`] | what a plugin is shown, what it wants, and what it may not |
//! | [`ask`], [`answers`], [`breaker`] | when it is asked, and what holds meanwhile |
//! | [`stopwatch`] | how long calls in this process take |
//! | [`shape`](mod@shape), [`plan`] | what becomes of the children |
//! | [`extras`], [`related`], [`ledger`], [`state`] | what is known of plugins, of what they added and of what they are shown |
//!
//! A plugin only says what it wants: diff, ownership, rights, retries and deletion stay the operator's. So it can neither race nor
//! leak; and what it may not want is refused as a whole and told, while everybody else's clusters go on.

pub mod answers;
pub mod apply;
pub mod ask;
pub mod breaker;
pub mod check;
pub mod config;
pub mod contract;
pub mod declarative;
pub mod dial;
pub mod extras;
pub mod guard;
pub mod ledger;
pub mod native;
pub mod plan;
pub mod registry;
pub mod related;
pub mod reload;
pub mod roster;
pub mod shape;
pub mod state;
pub mod stopwatch;
pub mod view;
pub mod webhook;

use jiff::Timestamp;

pub use apply::ADDED_MAX;
pub use ask::{AskError, Question};
pub use contract::{
    Built, Change, ChildType, Declaration, Edit, Observed, OnError, Parent, Related, Role, Said, Status, View,
};
pub use extras::{Extra, ExtraId};
pub use native::Plugin;
pub use plan::{announce, leavings, stages};
pub use registry::{Entry, How, Registry, RegistryError};
pub use roster::Roster;
pub use shape::{Shape, shape};
pub use state::Plugins;
pub use stopwatch::Stopwatch;

use crate::observe::{Key, Kind, Resource};
use crate::world::World;
use crate::{cluster, job, worker_group};

/// What became of asking one plugin.
#[derive(Clone, Debug)]
pub struct Consulted {
    /// Which.
    pub plugin: String,
    /// When to look again.
    pub again: Option<Timestamp>,
    /// How it ended, where it answered at once.
    pub ended: Option<Result<(), AskError>>,
}

/// Asks the plugins that are about a parent's children, where that is due.
pub fn consult(world: &mut World, key: &Key, now: Timestamp) -> Vec<Consulted> {
    if world.plugins.registry.of(key.kind).next().is_none() {
        return Vec::new();
    }
    let Some(parent) = world.cache.resource(key).filter(|parent| !parent.deleting).cloned() else {
        return Vec::new();
    };
    let Some(built) = built(world, &parent) else { return Vec::new() };
    let registry = world.plugins.registry.clone();
    let mut consulted = Vec::new();
    for entry in registry.of(key.kind) {
        let plugin = &entry.declaration;
        let about = view::about(world, &parent, &built, plugin);
        // The view is made only where it is shown.
        let view = world
            .plugins
            .would_ask(plugin, key, &about, now)
            .then(|| view::view(world, &parent, &built, plugin));
        let (again, ended) = world.plugins.consult(entry, key, view, &about, now);
        consulted.push(Consulted { plugin: entry.declaration.name.clone(), again, ended });
    }
    consulted
}

/// The children of a parent as the operator would make them; `None` where it would make none.
pub fn built(world: &World, parent: &Resource) -> Option<Vec<Built>> {
    match parent.key.kind {
        Kind::Cluster => cluster::built(world, parent),
        Kind::WorkerGroup => worker_group::built(world, parent),
        Kind::Job => job::built(world, parent),
        Kind::Autoscaler => None,
    }
}
