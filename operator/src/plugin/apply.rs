//! What a plugin wants, applied to the children as built, or refused as a whole. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::contract::{Built, Change, Declaration, Edit, Role};
use super::extras::ExtraId;
use super::guard;
use crate::observe::Resource;

/// Edits in one answer.
pub const EDITS_MAX: usize = 128;
/// Bytes of one answer, as compact JSON.
pub const CHANGE_BYTES_MAX: usize = 256 << 10;
/// Children that plugins may add to one parent, all of them together.
pub const ADDED_MAX: usize = 32;
/// Bytes of one child that is added, as compact JSON.
pub const OBJECT_BYTES_MAX: usize = 64 << 10;
/// Levels of a child: the API server's own kinds have a dozen, and definitions of others nest a few times that.
pub const DEPTH_MAX: usize = 128;
/// Conditions of one plugin.
pub const CONDITIONS_MAX: usize = 8;

/// The children as they should be, while plugins edit them.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Those that the operator makes.
    pub children: BTreeMap<Role, Value>,
    /// Those that plugins add.
    pub added: BTreeMap<ExtraId, Added>,
    /// The plugins that edited a child, in order.
    pub editors: BTreeMap<Role, Vec<String>>,
    /// The conditions that plugins say, each with its plugin.
    pub said: BTreeMap<String, String>,
}

/// A child that a plugin adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// Which plugin.
    pub plugin: String,
    /// As the plugin wants it.
    pub object: Value,
}

/// What a plugin wants is not done, nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not want anything to be done.
    #[error("{reason}: {message}")]
    Veto {
        /// In its words.
        reason: String,
        /// In its words.
        message: String,
    },
    /// It wants what it may not.
    #[error("{0}")]
    Broken(String),
}

impl Draft {
    /// The children as built.
    pub fn of(built: &[Built]) -> Self {
        let children = built.iter().map(|child| (child.role, child.object.clone())).collect();
        Self { children, ..Self::default() }
    }

    /// Does what a plugin wants, or nothing of it.
    pub fn apply(&mut self, parent: &Resource, plugin: &Declaration, change: &Change) -> Result<(), Refusal> {
        let broken = |why: String| Refusal::Broken(why);
        within_bounds(change).map_err(broken)?;
        let mut draft = self.clone();
        for (number, edit) in change.edits.iter().enumerate() {
            draft.edit(parent, plugin, edit).map_err(|refusal| match refusal {
                Refusal::Broken(why) => Refusal::Broken(format!("edit {number}: {why}")),
                veto @ Refusal::Veto { .. } => veto,
            })?;
        }
        for (role, edited) in &draft.children {
            let before = &self.children[role];
            guard::same_identity(*role, before, edited).map_err(broken)?;
            if before != edited {
                draft.editors.entry(*role).or_default().push(plugin.name.clone());
            }
        }
        for said in &change.conditions {
            if let Some(other) = draft.said.insert(said.kind.clone(), plugin.name.clone()) {
                return Err(Refusal::Broken(format!(
                    "the condition {} is said by plugin {other} already",
                    said.kind
                )));
            }
        }
        if draft.added.len() > ADDED_MAX {
            return Err(Refusal::Broken(format!(
                "{} children would be added to this parent, at most {ADDED_MAX} may be",
                draft.added.len()
            )));
        }
        *self = draft;
        Ok(())
    }

    fn edit(&mut self, parent: &Resource, plugin: &Declaration, edit: &Edit) -> Result<(), Refusal> {
        match edit {
            Edit::Veto { reason, message } => {
                Err(Refusal::Veto { reason: reason.clone(), message: message.clone() })
            }
            Edit::Merge { child, patch } => {
                if !patch.is_object() {
                    return Err(Refusal::Broken(format!("the merge patch of {child} is not an object")));
                }
                json_patch::merge(self.child(*child)?, patch);
                Ok(())
            }
            Edit::Json { child, patch } => json(self.child(*child)?, patch).map_err(|why| {
                Refusal::Broken(format!("the JSON patch of {child} cannot be applied: {why}"))
            }),
            Edit::Add { object } => self.add(parent, plugin, object).map_err(Refusal::Broken),
        }
    }

    fn child(&mut self, role: Role) -> Result<&mut Value, Refusal> {
        self.children
            .get_mut(&role)
            .ok_or_else(|| Refusal::Broken(format!("this parent has no child {role}")))
    }

    fn add(&mut self, parent: &Resource, plugin: &Declaration, object: &Value) -> Result<(), String> {
        let (id, object) = guard::addition(parent, plugin, object)?;
        let taken = |child: &Value| {
            child["apiVersion"] == *id.type_.api_version
                && child["kind"] == *id.type_.kind
                && child["metadata"]["name"] == *id.name
        };
        if self.children.values().any(taken) {
            return Err(format!("{id} is a child of the operator's: edit it by its role"));
        }
        if let Some(other) = self.added.get(&id) {
            return Err(format!("{id} is added by plugin {} already", other.plugin));
        }
        self.added.insert(id, Added { plugin: plugin.name.clone(), object });
        Ok(())
    }
}

/// Applies the operations of a JSON patch. A few copies of copies could fill any memory, and a few moves into each other nest
/// without end: so the depth is looked at before it can have grown beyond what is allowed twice over.
fn json(object: &mut Value, operations: &[Value]) -> Result<(), String> {
    if operations.iter().any(|operation| operation["op"] == "copy") {
        return Err("the operation copy is not taken: add the value itself".into());
    }
    let mut room = 0;
    for (number, operation) in operations.iter().enumerate() {
        let path = operation["path"].as_str().map_or(0, |path| path.matches('/').count());
        let grows = path + guard::depth(&operation["value"]);
        if room < grows {
            check_depth(object)?;
            room = DEPTH_MAX;
        }
        room = room.saturating_sub(grows);
        let patch: json_patch::Patch = serde_json::from_value(json!([operation]))
            .map_err(|error| format!("operation {number}: {error}"))?;
        json_patch::patch(object, &patch)
            .map_err(|error| format!("operation {number}, at {}: {}", error.path, error.kind))?;
    }
    check_depth(object)
}

fn check_depth(object: &Value) -> Result<(), String> {
    if guard::depth(object) <= DEPTH_MAX {
        return Ok(());
    }
    Err(format!("it is nested more than {DEPTH_MAX} levels deep"))
}

fn within_bounds(change: &Change) -> Result<(), String> {
    let too_many = |what: &str, there: usize, most: usize| {
        (there > most).then(|| format!("it has {there} {what}, at most {most} are allowed"))
    };
    for (number, edit) in change.edits.iter().enumerate() {
        let depth = match edit {
            Edit::Merge { patch, .. } => guard::depth(patch),
            Edit::Json { patch, .. } => patch.iter().map(guard::depth).max().unwrap_or(0),
            Edit::Add { object } => guard::depth(object),
            Edit::Veto { .. } => 0,
        };
        if depth > DEPTH_MAX {
            return Err(format!("edit {number}: it is nested more than {DEPTH_MAX} levels deep"));
        }
    }
    let bytes = serde_json::to_vec(change).map_or(usize::MAX, |text| text.len());
    let problem = too_many("edits", change.edits.len(), EDITS_MAX)
        .or_else(|| too_many("conditions", change.conditions.len(), CONDITIONS_MAX))
        .or_else(|| too_many("bytes", bytes, CHANGE_BYTES_MAX));
    problem.map_or(Ok(()), Err)?;
    change.conditions.iter().try_for_each(guard::condition)
}
