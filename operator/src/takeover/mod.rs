//! Taking a cluster over from the Python operator: what would change, told for each object, and the clean-up.
//!
//! | module | what it is |
//! |---|---|
//! | [`kopf`] | what kopf leaves on objects; what goes and what must stay |
//! | [`rival`] | whether the Python operator still runs |
//! | [`report`] | plans in words, for each object |
//! | `advice` | what plugins say to it |
//!
//! The operator itself takes over whatever it finds, without being asked ([`crate::ownership`], compatibility contract §10.2).
//! A [`Survey`] tells beforehand what that will be: it lists what the operator would list and plans with the operator's own planners,
//! and carries nothing out; plugins are asked as they would be. What is told is the first plan of each resource; later ones depend on what becomes of these.

mod advice;
pub mod kopf;
pub mod report;
pub mod rival;
#[cfg(all(test, feature = "fake"))]
mod tests;

use std::collections::BTreeMap;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use serde_json::Value;

use crate::check;
use crate::engine::{self, Engine, What};
use crate::execute::{self, MANAGER};
use crate::observe::{ChildId, Key};
use crate::plan::Target;
use crate::plugin::Registry;
use crate::run;
use crate::settings::Settings;
use crate::store::served::served;
use crate::store::{Event, ObjectKey, Part, Patch, PatchOptions, Scope, Store, StoreError};
use report::Report;

/// Why there is no survey.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Without the definitions there is nothing to take over.
    #[error("{kinds} are not served: install the definitions with `dask-operator crds --apply`")]
    NotServed {
        /// The kinds.
        kinds: String,
    },
    /// A list failed.
    #[error("cannot look at what there is")]
    Store(#[from] StoreError),
}

/// Everything the operator would see, at one moment.
#[derive(Debug)]
pub struct Survey {
    engine: Engine,
    /// The objects as they are, by what a plan calls them.
    objects: BTreeMap<Target, Value>,
    rivals: Vec<String>,
    /// Plugins that could not be asked about a resource.
    silent: BTreeMap<Key, Vec<String>>,
    now: Timestamp,
}

impl Survey {
    /// Lists everything in the namespaces, or in all if none is named, and asks the plugins.
    pub async fn look(
        store: &dyn Store,
        settings: Settings,
        namespaces: &[String],
        plugins: &Registry,
        now: Timestamp,
    ) -> Result<Self, SurveyError> {
        let served = served(store, settings.look).await?;
        if !served.missing().is_empty() {
            return Err(SurveyError::NotServed { kinds: served.missing().join(", ") });
        }
        let sources = run::sources(namespaces, plugins);
        let mut engine = Engine::new(settings, sources.clone(), 0).with(plugins.clone());
        engine.world.served = Some(served);
        let mut objects = BTreeMap::new();
        let (theirs, own): (Vec<_>, Vec<_>) =
            sources.into_iter().partition(|source| source.what.is_for_plugins());
        for source in own {
            let (resource, scope) = run::watched(&source);
            engine.observe(&source, Event::Init, now);
            for object in store.list(&resource, &scope).await? {
                let key = ObjectKey::of(&object);
                let namespace = key.namespace.unwrap_or_default();
                let target = match &source.what {
                    What::Resource(kind) => Target::Resource(Key::new(*kind, &namespace, &key.name)),
                    What::Child(kind) => Target::Child(ChildId::new(*kind, &namespace, &key.name)),
                    What::Added(_) | What::Related(_) => continue,
                };
                objects.insert(target, serde_json::to_value(&object).unwrap_or_default());
                engine.observe(&source, Event::InitApply(object), now);
            }
            engine.observe(&source, Event::InitDone, now);
        }
        let left = std::iter::from_fn(|| engine.world.plugins.next_wanted()).collect::<Vec<_>>();
        for source in theirs.into_iter().chain(left) {
            for (target, object) in advice::observe(store, &mut engine, &source, now).await {
                objects.insert(target, serde_json::to_value(&object).unwrap_or_default());
            }
        }
        let silent = advice::ask(&mut engine, now).await;
        let mut rivals = running(store, namespaces).await?;
        rivals.extend(rival::traces(&objects, now));
        Ok(Self { engine, objects, rivals, silent, now })
    }

    /// What would change if the operator ran now; with `cleaning` also what [`Survey::clean`] would do.
    pub fn report(&self, cleaning: bool) -> Report {
        let world = &self.engine.world;
        let warnings = self.rivals.iter().cloned().chain(advice::unknown(&self.engine));
        let mut report = Report::new(&self.objects, warnings.collect());
        if cleaning {
            for (target, object) in &self.objects {
                report.cleaned(target, &kopf::Leftovers::of(object));
            }
        }
        for resource in world.cache.resources() {
            let plan = engine::plan(world, &resource.key, self.now);
            let violations = check::check(world, &resource.key, &plan, self.now);
            report.planned(&resource.key, &plan, &violations);
            for why in self.silent.get(&resource.key).into_iter().flatten() {
                report.note(&Target::Resource(resource.key.clone()), why.clone());
            }
        }
        report
    }

    /// What says that the Python operator still runs.
    pub fn rivals(&self) -> &[String] {
        &self.rivals
    }

    /// Takes away what kopf has left, and nothing else; how many objects were changed.
    ///
    /// An object that has changed since it was looked at is left alone: whoever changed it may be kopf.
    pub async fn clean(&self, store: &dyn Store) -> Result<usize, StoreError> {
        let mut changed = 0;
        for (target, object) in &self.objects {
            let Some(body) = kopf::Leftovers::of(object).removal() else { continue };
            let (_, _, namespace, name) = target.parts();
            let key = ObjectKey::namespaced(namespace, name);
            let options = PatchOptions { manager: MANAGER.into(), part: Part::Object };
            match store.patch(&execute::resource_of(target), &key, &Patch::Merge(body), &options).await {
                Ok(_) => changed += 1,
                // It went away by itself.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }
}

/// Deployments of the Python operator's chart as they come to want pods, in words: those that are there when it begins, and each
/// that comes later. With namespaces nothing else is asked for.
pub fn arrivals(store: &dyn Store, namespaces: &[String]) -> BoxStream<'static, String> {
    let deployments = execute::child_resource(crate::observe::ChildKind::Deployment);
    let scopes = match namespaces {
        [] => vec![Scope::everywhere()],
        some => some.iter().map(Scope::namespace).collect(),
    };
    let watches = scopes.into_iter().map(|scope| store.watch(&deployments, &scope.with_labels(rival::LABEL)));
    let mut there = rival::Present::default();
    stream::select_all(watches)
        // A watch that had an error goes on, and the log of the one for workers says what was wrong.
        .filter_map(move |event| future::ready(event.ok().and_then(|event| there.arrived(event))))
        .boxed()
}

/// Deployments of the Python operator, in all namespaces if that may be asked.
async fn running(store: &dyn Store, namespaces: &[String]) -> Result<Vec<String>, StoreError> {
    let deployments = execute::child_resource(crate::observe::ChildKind::Deployment);
    let mut found = match store.list(&deployments, &Scope::everywhere()).await {
        Err(StoreError::Forbidden { .. }) if !namespaces.is_empty() => Vec::new(),
        answer => return Ok(rival::deployments(&answer?)),
    };
    for namespace in namespaces {
        found.extend(store.list(&deployments, &Scope::namespace(namespace)).await?);
    }
    let mut said = rival::deployments(&found);
    if said.is_empty() {
        tracing::warn!(
            "only the named namespaces may be looked at; the Python operator may run in another one"
        );
    }
    said.dedup();
    Ok(said)
}
