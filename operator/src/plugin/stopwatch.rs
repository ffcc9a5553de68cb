//! How long the calls of plugins in this process take. The shell measures it around them: the engine, which calls them, has no clock
//! that moves meanwhile, and in a simulation nobody measures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use tokio::time::Instant;

use super::contract::{Change, Declaration, View};
use super::native::Plugin;
use super::registry::{How, Registry};
use crate::metrics::histogram::Histogram;

/// What was measured, by plugin. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stopwatch {
    times: Arc<Mutex<BTreeMap<String, Histogram>>>,
}

impl Stopwatch {
    /// The same plugins; from now on the calls of those in this process are measured.
    pub fn around(&self, registry: &Registry) -> Registry {
        registry.with_each(|entry| {
            let How::Native(plugin) = &entry.how else { return };
            let timed =
                Timed { name: entry.declaration.name.clone(), plugin: plugin.clone(), watch: self.clone() };
            entry.how = How::Native(Arc::new(timed));
        })
    }

    /// What was measured so far.
    pub fn times(&self) -> BTreeMap<String, Histogram> {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Histogram>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plugin whose calls are measured.
struct Timed {
    name: String,
    plugin: Arc<dyn Plugin>,
    watch: Stopwatch,
}

impl Plugin for Timed {
    fn declaration(&self) -> Declaration {
        self.plugin.declaration()
    }

    fn sync(&self, view: &View) -> Change {
        // One that panics has taken its time too.
        let _call = Call { of: self, begun: Instant::now() };
        self.plugin.sync(view)
    }
}

/// A call under way.
struct Call<'a> {
    of: &'a Timed,
    begun: Instant,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let took = SignedDuration::try_from(self.begun.elapsed()).unwrap_or(SignedDuration::MAX);
        let mut times = self.of.watch.locked();
        if let Some(known) = times.get_mut(&self.of.name) {
            known.note(took);
        } else {
            times.entry(self.of.name.clone()).or_default().note(took);
        }
    }
}
