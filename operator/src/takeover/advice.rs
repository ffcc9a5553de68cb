//! Plugins in a survey: they are asked as the operator would ask them, and what they say goes into the report.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::core::DynamicObject;

use crate::engine::{Engine, Source, What};
use crate::names;
use crate::observe::Key;
use crate::plan::Target;
use crate::plugin::{self, ExtraId, Registry};
use crate::run;
use crate::store::{Event, Store};

/// Looks at what plugins follow. What cannot be listed is told with the plugin that needs it.
pub(super) async fn observe(
    store: &dyn Store,
    engine: &mut Engine,
    source: &Source,
    now: Timestamp,
) -> Vec<(Target, DynamicObject)> {
    let (resource, scope) = run::watched(source);
    let found = match store.list(&resource, &scope).await {
        Ok(found) => found,
        Err(error) => {
            engine.unlisted(source, &error, now);
            return Vec::new();
        }
    };
    engine.observe(source, Event::Init, now);
    let mut added = Vec::new();
    for object in found {
        if let What::Added(type_) = &source.what {
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let name = object.metadata.name.clone().unwrap_or_default();
            added.push((Target::Extra(ExtraId::new(type_, &namespace, &name)), object.clone()));
        }
        engine.observe(source, Event::InitApply(object), now);
    }
    engine.observe(source, Event::InitDone, now);
    added
}

/// Asks every plugin about every resource; gives who could not be asked about which, and why. One after the other, so that a webhook
/// that does not answer is left alone after a few questions.
pub(super) async fn ask(engine: &mut Engine, now: Timestamp) -> BTreeMap<Key, Vec<String>> {
    let mut silent: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    let keys: Vec<Key> = engine.world.cache.resources().map(|resource| resource.key.clone()).collect();
    let plugins: Registry = engine.world.plugins.registry.clone();
    for key in keys {
        plugin::consult(&mut engine.world, &key, now);
        while let Some(question) = engine.world.plugins.next_question() {
            let answer = question.at.ask(&question.view).await;
            engine.world.plugins.answered(&question, answer, now);
        }
        for entry in plugins.of(key.kind) {
            let name = &entry.declaration.name;
            if engine.world.plugins.is_open(name).is_some() {
                let why = format!(
                    "plugin {name} has failed too often to be asked; nothing would be made or changed before it answers"
                );
                silent.entry(key.clone()).or_default().push(why);
            }
        }
    }
    silent
}

/// What a look without some plugins leaves out, if the resources say that there are such.
pub(super) fn unknown(engine: &Engine) -> Option<String> {
    let world = &engine.world;
    let noted = |plugin: &str| world.plugins.registry.get(plugin).is_some();
    let mut names: Vec<String> = Vec::new();
    for parent in world.cache.resources().filter(|parent| parent.annotations.contains_key(names::ADDED)) {
        let ledger = plugin::ledger::Ledger::of(parent);
        names.extend(ledger.entries().map(|(plugin, _)| plugin.to_owned()).filter(|plugin| !noted(plugin)));
    }
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "plugins have added children that this look knows nothing of: {}; it tells what an operator without them would do. \
             Give it the operator's list by --plugins",
            names.join(", ")
        )
    })
}
