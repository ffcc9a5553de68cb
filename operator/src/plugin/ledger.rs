//! What kinds of children plugins have added to a parent, noted on the parent: so that they are found again by whoever comes after,
//! also when the plugin has been taken off the list and nothing else tells of its kinds.
//!
//! The note is written before the first child of a kind is made, and taken back when its plugin is gone and none is left.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contract::ChildType;
use super::shape::Shape;
use crate::names;
use crate::observe::Resource;
use crate::plan::{Step, Target};
use crate::world::World;

/// Bytes of a note that is read: kinds of 32 children have less.
const BYTES_MAX: usize = 16 << 10;

/// The kinds that each plugin has added to a parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger(BTreeMap<String, BTreeSet<ChildType>>);

impl Ledger {
    /// What is noted on a parent. What cannot be read was not written by the operator, and says nothing.
    pub fn of(parent: &Resource) -> Self {
        let text = parent.annotations.get(names::ADDED).filter(|text| text.len() <= BYTES_MAX);
        let noted: Self = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        // The names of kinds become part of requests.
        let sound = |(plugin, types): (String, BTreeSet<ChildType>)| {
            let types = types.into_iter().filter(ChildType::can_be).collect();
            (plugin, types)
        };
        Self(noted.0.into_iter().map(sound).collect())
    }

    /// Each plugin with each of its kinds.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &ChildType)> {
        self.0.iter().flat_map(|(plugin, types)| types.iter().map(move |type_| (plugin.as_str(), type_)))
    }

    fn add(&mut self, plugin: &str, type_: &ChildType) {
        self.0.entry(plugin.to_owned()).or_default().insert(type_.clone());
    }

    fn retain(&mut self, keep: impl Fn(&str, &ChildType) -> bool) {
        for (plugin, types) in &mut self.0 {
            types.retain(|type_| keep(plugin, type_));
        }
        self.0.retain(|_, types| !types.is_empty());
    }
}

/// The change of the note that has to come before what plugins add is made, or after the last of it has gone.
pub(super) fn note(world: &World, parent: &Resource, shape: &Shape) -> Option<Step> {
    let noted = parent.annotations.contains_key(names::ADDED);
    if !noted && shape.added.is_empty() {
        return None;
    }
    let before = Ledger::of(parent);
    let mut ledger = before.clone();
    ledger.retain(|plugin, type_| {
        let there = || {
            let owned = world.plugins.extras.owned(&parent.uid);
            owned.filter(|extra| *extra.plugin == *plugin).any(|extra| *extra.id.type_ == *type_)
        };
        world.plugins.declares(plugin, parent.key.kind, type_)
            || there()
            || !world.plugins.is_listed(type_, parent.namespace())
    });
    for (id, added) in &shape.added {
        ledger.add(&added.plugin, &id.type_);
    }
    if ledger == before && noted != ledger.0.is_empty() {
        return None;
    }
    let text = if ledger.0.is_empty() { Value::Null } else { json!(json!(ledger).to_string()) };
    let body = json!({"metadata": {"annotations": {names::ADDED: text}}});
    Some(Step::Patch { target: Target::Resource(parent.key.clone()), body })
}

/// Why what plugins that are gone have added cannot be taken back, for each of them.
pub(super) fn obstacles(world: &World, parent: &Resource) -> Vec<String> {
    if !parent.annotations.contains_key(names::ADDED) {
        return Vec::new();
    }
    let ledger = Ledger::of(parent);
    let gone = ledger
        .entries()
        .filter(|(plugin, type_)| !world.plugins.declares(plugin, parent.key.kind, type_))
        .filter_map(|(plugin, type_)| {
            let why = world.plugins.unlistable(type_, parent.namespace())?;
            Some(format!(
                "plugin {plugin} is not on the list any more, and the {plural} that it added cannot be taken back: {why}; put it on \
                 the list again with `removed: true` and its kinds, or delete them by `kubectl delete {plural} -l {}={plugin}`",
                names::PLUGIN,
                plural = type_.plural
            ))
        });
    gone.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::{Key, Kind};

    fn noted(text: &str) -> Vec<(String, String)> {
        let parent = Resource {
            key: Key::new(Kind::Cluster, "d", "a"),
            uid: "u".into(),
            resource_version: "1".into(),
            generation: 1,
            labels: BTreeMap::new(),
            annotations: BTreeMap::from([(names::ADDED.to_owned(), text.to_owned())]),
            owners: Vec::new(),
            finalizers: Vec::new(),
            deleting: false,
            created: jiff::Timestamp::UNIX_EPOCH,
            spec: Arc::new(Value::Null),
            status: Arc::new(Value::Null),
        };
        let ledger = Ledger::of(&parent);
        ledger.entries().map(|(plugin, type_)| (plugin.to_owned(), type_.plural.clone())).collect()
    }

    #[test]
    fn a_note_that_the_operator_would_not_write_says_nothing() {
        let note = |plural: &str| json!({"p": [{"apiVersion": "v1", "kind": "ConfigMap", "plural": plural}]});
        assert_eq!(noted(&note("configmaps").to_string()), [("p".to_owned(), "configmaps".to_owned())]);
        assert_eq!(noted(&note("../../secrets").to_string()), []);
        assert_eq!(noted("{"), []);
        assert_eq!(noted(&format!("{}{}", note("configmaps"), " ".repeat(BYTES_MAX))), []);
    }
}
