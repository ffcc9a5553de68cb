//! Server-side apply.
//!
//! The order of things is that of `sigs.k8s.io/structured-merge-diff/merge.Updater` inside
//! `k8s.io/apimachinery/pkg/util/managedfields`. One version of a kind is assumed to have the same paths as another.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Applier;
use super::compare::{self, Changes};
use super::field_set::FieldSet;
use super::managed_fields::{self, Entry, Managers};
use super::typed;
use crate::schema::Schema;
use crate::schema::cause::quote;
use crate::schema::node::View;
use crate::status::{Cause, Status};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Server-side apply: `live` as it becomes when `applied` is what the manager wants.
///
/// The result carries `metadata.managedFields`. When nothing changes, the result equals `live`.
/// Defaulting and validation are the caller's.
///
/// # Errors
/// 409 with one `FieldManagerConflict` cause for each field that another manager owns with another value;
/// 400 for a configuration with managed fields; 500, as the real server, for one that does not fit the schema.
pub fn apply(
    schema: Option<&Schema>,
    live: Option<&Value>,
    applied: &Value,
    by: &Applier,
) -> Result<Value, Status> {
    let view = schema.and_then(Schema::root);
    if managed_fields::raw(applied).is_some() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let misfits = typed::misfits(applied, view);
    if !misfits.is_empty() {
        return Err(Status::new(500, "", misfit_message(applied, &misfits)));
    }
    let managers = managers_before(live, view, by)?;
    let outcome = match merge(view, live, applied, managers.clone(), by, by.force) {
        Err(conflicts) if by.manager == "kubectl" && conflicts.excused(live, view, by) => {
            merge(view, live, applied, managers, by, true)
        }
        outcome => outcome,
    };
    let mut result = outcome.map_err(|conflicts| conflicts.status())?;
    if by.manager == "kubectl" {
        refresh_last_applied(&mut result, applied);
    }
    Ok(result)
}

/// The conflict with those who own fields of another version of the object, which the change that an apply makes would touch there.
pub(crate) fn conflict(
    schema: Option<&Schema>,
    old: &Value,
    new: &Value,
    api_version: &str,
    object: &Value,
) -> Option<Status> {
    let changes = compare::compare(Some(old), new, schema.and_then(Schema::root));
    let mut managers = Managers::of(object)?;
    managers.0.retain(|entry| entry.api_version == api_version);
    let found = Conflicts::find(&managers, &changes);
    (!found.0.is_empty()).then(|| found.status())
}

fn misfit_message(applied: &Value, misfits: &[String]) -> String {
    let text = |pointer: &str| applied.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let why = match misfits {
        [only] => only.clone(),
        many => format!("errors:\n{}", many.iter().map(|m| format!("  {m}")).collect::<Vec<_>>().join("\n")),
    };
    // The core group has no name before the slash.
    let slash = if text("/apiVersion").contains('/') { "" } else { "/" };
    format!(
        "failed to create typed patch object ({}/{}; {slash}{}, Kind={}): {why}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/apiVersion"),
        text("/kind"),
    )
}

/// The live object's managers; fields written before anybody was tracked belong to `before-first-apply`.
fn managers_before(live: Option<&Value>, view: Option<View<'_>>, by: &Applier) -> Result<Managers, Status> {
    let Some(live) = live else { return Ok(Managers::default()) };
    let mut managers = Managers::of(live).ok_or_else(|| {
        Status::internal("failed to decode managed fields: invalid entry in metadata.managedFields")
    })?;
    if managers.0.is_empty() {
        let mut set = compare::compare(None, live, view).changed;
        by.reset.iter().for_each(|path| set.cut(path));
        let mut entry = Entry::new(by, false, set);
        entry.manager = "before-first-apply".into();
        entry.time = Some(by.time.clone());
        managers.0.push(entry);
    }
    Ok(managers)
}

fn merge(
    view: Option<View<'_>>,
    live: Option<&Value>,
    applied: &Value,
    mut managers: Managers,
    by: &Applier,
    force: bool,
) -> Result<Value, Conflicts> {
    let mut result = live.cloned().unwrap_or_else(|| json!({}));
    typed::merge_into(&mut result, applied, view);
    let mut set = compare::fields_of(applied, view);
    by.reset.iter().for_each(|path| set.cut(path));
    let mut own = Entry::new(by, true, set);
    let last = managers.take(&own);
    let mut abandoned = FieldSet::default();
    if let Some(last) = &last {
        abandoned = self::abandoned(&last.set, &own.set, &managers, view);
        typed::remove(&mut result, &abandoned, view);
        own.time.clone_from(&last.time);
    }
    let mut changes = compare::compare(live, &result, view);
    for path in &by.reset {
        changes.changed.cut(path);
        changes.removed.cut(path);
    }
    let conflicts = Conflicts::find(&managers, &changes);
    if !force && !conflicts.0.is_empty() {
        return Err(conflicts);
    }
    managers.lose(&changes, None);
    typed::drop_hollow(&mut result, &abandoned, view);
    if live.is_none_or(|live| *live != result) {
        own.time = Some(by.time.clone());
    }
    if !own.set.is_empty() {
        managers.0.push(own);
    }
    managers.store(&mut result);
    Ok(result)
}

/// What the manager applied last time, does not apply now, and nobody else owns.
fn abandoned(last: &FieldSet, now: &FieldSet, others: &Managers, view: Option<View<'_>>) -> FieldSet {
    let mut owned = now.clone();
    for entry in &others.0 {
        owned.union(entry.set.clone());
    }
    let mut doomed = last.with_named_fields(view);
    doomed.subtract(&owned.with_named_fields(view));
    // The object itself cannot be given up.
    for name in ["f:apiVersion", "f:kind", "f:metadata"] {
        if let Some(set) = doomed.children.get_mut(name) {
            set.member = false;
        }
    }
    doomed
}

/// Fields that others own with other values, by manager.
struct Conflicts(Vec<(Entry, FieldSet)>);

impl Conflicts {
    fn find(managers: &Managers, changes: &Changes) -> Self {
        let mut found: Vec<(Entry, FieldSet)> = Vec::new();
        for entry in &managers.0 {
            let both = entry.set.intersection(&changes.changed);
            if !both.is_empty() {
                found.push((entry.clone(), both));
            }
        }
        let key = |entry: &Entry| (entry.manager.clone(), !entry.applied, entry.api_version.clone());
        found.sort_by_key(|(entry, _)| key(entry));
        Self(found)
    }

    /// kubectl's switch from client-side apply: conflicts about values it applied itself are none
    /// (`lastappliedmanager.go`).
    fn excused(&self, live: Option<&Value>, view: Option<View<'_>>, by: &Applier) -> bool {
        let annotation =
            live.and_then(|live| live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str());
        let (Some(live), Some(annotation)) = (live, annotation) else { return false };
        let Ok(last) = serde_json::from_str::<Value>(annotation) else { return false };
        if last["apiVersion"] != by.api_version {
            return false;
        }
        let changes = compare::compare(Some(&last), live, view);
        let mut allowed = compare::fields_of(&last, view);
        allowed.subtract(&changes.changed);
        allowed.subtract(&changes.removed);
        self.0.iter().all(|(_, set)| {
            let mut rest = set.clone();
            rest.subtract(&allowed);
            rest.is_empty()
        })
    }

    fn status(&self) -> Status {
        let fields: Vec<(String, Vec<String>)> =
            self.0.iter().map(|(entry, set)| (shown(entry), set.paths())).collect();
        let count: usize = fields.iter().map(|(_, paths)| paths.len()).sum();
        let message = match fields.as_slice() {
            [(manager, paths)] if paths.len() == 1 => {
                format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths[0])
            }
            many => {
                let lines: Vec<String> = many
                    .iter()
                    .map(|(manager, paths)| {
                        let paths: Vec<String> = paths.iter().map(|path| format!("- {path}")).collect();
                        format!("conflicts with {manager}:\n{}", paths.join("\n"))
                    })
                    .collect();
                format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
            }
        };
        let mut status = Status::new(409, "Conflict", message);
        for (manager, paths) in fields {
            let cause =
                |path: String| Cause::new("FieldManagerConflict", path, format!("conflict with {manager}"));
            status.details.causes.extend(paths.into_iter().map(cause));
        }
        status
    }
}

fn shown(entry: &Entry) -> String {
    let mut out = quote(&entry.manager);
    if !entry.subresource.is_empty() {
        let _ = write!(out, " with subresource {}", quote(&entry.subresource));
    }
    if !entry.applied {
        let _ = write!(out, " using {}", entry.api_version);
    }
    out
}

/// Keeps the annotation of client-side apply in step, where there is one (`lastappliedupdater.go`).
fn refresh_last_applied(result: &mut Value, applied: &Value) {
    let annotation = result.get_mut("metadata").and_then(|m| m.get_mut("annotations")?.get_mut(LAST_APPLIED));
    let Some(annotation) = annotation.filter(|a| a.as_str().is_some_and(|text| !text.is_empty())) else {
        return;
    };
    let mut applied = applied.clone();
    if let Some(Value::Object(annotations)) =
        applied.get_mut("metadata").and_then(|m| m.get_mut("annotations"))
    {
        annotations.remove(LAST_APPLIED);
    }
    *annotation = Value::from(format!("{applied}\n"));
}
