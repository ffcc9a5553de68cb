//! `metadata.managedFields`: which manager owns which fields.

use serde_json::{Map, Value, json};

use super::Applier;
use super::compare::{self, Changes};
use super::field_set::FieldSet;
use crate::schema::Schema;

/// How many managers that update are remembered one by one (`capmanagers.go`).
const MAX_UPDATERS: usize = 10;

/// Who owns fields; the identity of an entry is everything but its time, its fields and, for apply, its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    pub(crate) applied: bool,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: Option<String>,
    pub(crate) set: FieldSet,
}

impl Entry {
    pub(crate) fn new(by: &Applier, applied: bool, set: FieldSet) -> Self {
        let manager = if by.manager.is_empty() { "unknown" } else { &by.manager };
        Self {
            manager: manager.into(),
            applied,
            api_version: by.api_version.clone(),
            subresource: by.subresource.clone(),
            time: None,
            set,
        }
    }

    pub(crate) fn is_of(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.applied == other.applied
            && self.subresource == other.subresource
            && (self.applied || self.api_version == other.api_version)
    }

    fn from_value(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let applied = match text("operation")? {
            "Apply" => true,
            "Update" => false,
            _ => return None,
        };
        (text("fieldsType")? == "FieldsV1").then_some(())?;
        Some(Self {
            manager: text("manager").unwrap_or_default().into(),
            applied,
            api_version: text("apiVersion").filter(|v| !v.is_empty())?.into(),
            subresource: text("subresource").unwrap_or_default().into(),
            time: text("time").map(Into::into),
            set: FieldSet::from_value(value.get("fieldsV1").unwrap_or(&json!({}))),
        })
    }

    fn into_value(self) -> Value {
        let mut map = Map::new();
        map.insert("apiVersion".into(), self.api_version.into());
        map.insert("fieldsType".into(), "FieldsV1".into());
        map.insert("fieldsV1".into(), self.set.into_value());
        map.insert("manager".into(), self.manager.into());
        map.insert("operation".into(), if self.applied { "Apply" } else { "Update" }.into());
        if !self.subresource.is_empty() {
            map.insert("subresource".into(), self.subresource.into());
        }
        if let Some(time) = self.time {
            map.insert("time".into(), time.into());
        }
        Value::Object(map)
    }
}

/// All entries of an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Managers(pub(crate) Vec<Entry>);

impl Managers {
    /// The entries of an object; one unreadable entry makes all unreadable, as in the real server.
    pub(crate) fn of(object: &Value) -> Option<Self> {
        let Some(entries) = raw(object) else { return Some(Self::default()) };
        let read = entries.iter().map(Entry::from_value).collect::<Option<Vec<Entry>>>()?;
        // Of several with one identity, which a scale leaves behind, the last counts.
        let mut all: Vec<Entry> = Vec::with_capacity(read.len());
        for entry in read {
            all.retain(|known| !known.is_of(&entry));
            all.push(entry);
        }
        Some(Self(all))
    }

    /// Takes away what changed hands or is gone, from everybody; entries that own nothing any more go.
    pub(crate) fn lose(&mut self, changes: &Changes, except: Option<&Entry>) {
        self.0.retain_mut(|entry| {
            if except.is_some_and(|own| entry.is_of(own)) {
                return true;
            }
            entry.set.subtract(&changes.changed);
            entry.set.subtract(&changes.removed);
            !entry.set.is_empty()
        });
    }

    /// The entry of the same identity, taken out.
    pub(crate) fn take(&mut self, like: &Entry) -> Option<Entry> {
        let at = self.0.iter().position(|entry| entry.is_of(like))?;
        Some(self.0.remove(at))
    }

    /// Writes the entries into the object, in the real server's order.
    pub(crate) fn store(mut self, object: &mut Value) {
        self.0.sort_by(|a, b| {
            let key = |e: &Entry| (!e.applied, e.time.clone().unwrap_or_default());
            key(a)
                .cmp(&key(b))
                .then_with(|| a.manager.cmp(&b.manager))
                .then_with(|| a.api_version.cmp(&b.api_version))
                .then_with(|| a.subresource.cmp(&b.subresource))
        });
        let Some(root) = object.as_object_mut() else { return };
        let entries: Vec<Value> = self.0.into_iter().map(Entry::into_value).collect();
        if entries.is_empty() {
            if let Some(Value::Object(metadata)) = root.get_mut("metadata") {
                metadata.remove("managedFields");
            }
            return;
        }
        let metadata = root.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(metadata) = metadata {
            metadata.insert("managedFields".into(), Value::Array(entries));
        }
    }

    /// Joins the oldest updaters of a version into `ancient-changes` while there are too many.
    fn cap(&mut self) {
        let mut updaters: Vec<usize> = (0..self.0.len()).filter(|i| !self.0[*i].applied).collect();
        let mut surplus = updaters.len().saturating_sub(MAX_UPDATERS);
        if surplus == 0 {
            return;
        }
        updaters.sort_by(|a, b| {
            self.0[*a].time.cmp(&self.0[*b].time).then_with(|| self.0[*a].manager.cmp(&self.0[*b].manager))
        });
        let mut firsts: Vec<usize> = Vec::new();
        let mut joined: Vec<usize> = Vec::new();
        for index in updaters {
            if surplus == 0 {
                break;
            }
            let version = self.0[index].api_version.clone();
            let Some(first) = firsts.iter().copied().find(|f| self.0[*f].api_version == version) else {
                firsts.push(index);
                continue;
            };
            let (set, time) = (std::mem::take(&mut self.0[index].set), self.0[index].time.take());
            let bucket = &mut self.0[first];
            bucket.manager = "ancient-changes".into();
            bucket.subresource.clear();
            bucket.set.union(set);
            bucket.time = time;
            joined.push(index);
            surplus -= 1;
        }
        let mut index = 0;
        self.0.retain(|_| {
            index += 1;
            !joined.contains(&(index - 1))
        });
    }
}

/// The raw list, if the object has one.
pub(crate) fn raw(object: &Value) -> Option<&Vec<Value>> {
    object.get("metadata")?.get("managedFields")?.as_array()
}

/// An empty list, or a list of one empty entry, asks for a new beginning.
fn is_reset(object: &Value) -> bool {
    match raw(object).map(Vec::as_slice) {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// Takes from the owners of fields in one version of an object what an update has changed there.
pub fn lose(schema: Option<&Schema>, old: &Value, new: &Value, api_version: &str, object: &mut Value) {
    let changes = compare::compare(Some(old), new, schema.and_then(Schema::root));
    let Some(mut managers) = Managers::of(object).filter(|_| !changes.is_empty()) else { return };
    managers.0.retain_mut(|entry| {
        if entry.api_version != api_version {
            return true;
        }
        entry.set.subtract(&changes.changed);
        entry.set.subtract(&changes.removed);
        !entry.set.is_empty()
    });
    managers.store(object);
}

/// Records the ownership of fields that a create, update or patch other than apply has changed.
///
/// `old` is `None` on create. `new.metadata.managedFields` is what the client sent; it is replaced. When nothing
/// changed, entries and their times stay.
pub fn track_update(schema: Option<&Schema>, old: Option<&Value>, new: &mut Value, by: &Applier) {
    let view = schema.and_then(Schema::root);
    let mut changes = compare::compare(old, new, view);
    for path in &by.reset {
        changes.changed.cut(path);
        changes.removed.cut(path);
    }
    let live = || old.and_then(Managers::of).unwrap_or_default();
    let mut managers = if !by.subresource.is_empty() && old.is_some() {
        live()
    } else if is_reset(new) {
        Managers::default()
    } else {
        Managers::of(new).filter(|sent| !sent.0.is_empty()).unwrap_or_else(live)
    };
    // What nobody has been recorded for stays so until the first apply (`skipnonapplied.go`).
    if old.is_some() && managers.0.is_empty() {
        managers.store(new);
        return;
    }
    if !changes.is_empty() {
        managers.lose(&changes, None);
    }
    if !changes.changed.is_empty() {
        let mut own = Entry::new(by, false, changes.changed);
        if let Some(previous) = managers.take(&own) {
            own.set.union(previous.set);
        }
        // What is written through a Scale has no time there.
        own.time = (by.subresource != "scale").then(|| by.time.clone());
        managers.0.push(own);
    }
    managers.cap();
    managers.store(new);
}
