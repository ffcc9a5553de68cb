//! Ownership of the one field that the scale subresource shows: who owns it in the object owns it in the Scale, and the
//! other way round. As `k8s.io/apimachinery/pkg/util/managedfields.ScaleHandler`.

use serde_json::{Value, json};

use super::Applier;
use super::apply::apply;
use super::field_set::{FieldSet, field};
use super::managed_fields::{Entry, Managers};
use crate::status::Status;

const SCALE: &str = "autoscaling/v1";

/// The set of just the field at a dotted path.
fn only(path: &str) -> FieldSet {
    path.rsplit('.').fold(FieldSet::leaf(), |below, name| {
        let mut set = FieldSet::default();
        set.insert(field(name), below);
        set
    })
}

/// `metadata.managedFields` of a Scale of `object`, whose replicas are at `path`.
pub(crate) fn managers_of_scale(object: &Value, path: &str) -> Value {
    let mut scale = json!({});
    owners(object, path).store(&mut scale);
    scale["metadata"]["managedFields"].take()
}

fn owners(object: &Value, path: &str) -> Managers {
    let replicas = only(path);
    let all = Managers::of(object).unwrap_or_default();
    let owning = all.0.into_iter().filter(|entry| !entry.set.intersection(&replicas).is_empty());
    Managers(
        owning
            .map(|entry| Entry { api_version: SCALE.into(), set: only("spec.replicas"), ..entry })
            .collect(),
    )
}

/// Records who owns the replicas of an object after an update of its Scale.
///
/// Whom nobody has been recorded for stays so. Who owns them by updates of the object itself and sees them unchanged keeps them in an
/// entry of its own, since the versions of the two entries differ; and a Scale of none says nothing that could be owned.
pub(crate) fn track_scale(old: &Value, new: &mut Value, path: &str, by: &Applier) {
    let replicas = only(path);
    let mut managers = Managers::of(old).unwrap_or_default();
    let owns = |entry: &Entry| !entry.set.intersection(&replicas).is_empty();
    let owners: Vec<Entry> = managers.0.iter().filter(|entry| owns(entry)).cloned().collect();
    if owners.is_empty() {
        managers.store(new);
        return;
    }
    let at = |value: &Value| {
        let found = path.split('.').try_fold(value, |at, name| at.get(name));
        found.and_then(Value::as_i64).unwrap_or_default()
    };
    let (before, now) = (at(old), at(new));
    managers.0.retain_mut(|entry| {
        if before != now || !entry.applied {
            entry.set.subtract(&replicas);
        }
        !entry.set.is_empty()
    });
    if before == now {
        let apart = |owner: Entry| Entry { set: replicas.clone(), time: None, ..owner };
        managers.0.extend(owners.into_iter().filter(|owner| !owner.applied).map(apart));
    } else if now != 0 {
        managers.0.push(Entry::new(by, false, replicas));
    }
    managers.store(new);
}

/// Applies a Scale: the object's managers as they are then, and the number of replicas.
///
/// # Errors
/// 409 where somebody else owns the number.
pub(crate) fn apply_scale(
    object: &Value,
    scale: &Value,
    path: &str,
    applied: &Value,
    by: &Applier,
) -> Result<(Vec<Value>, Value), Status> {
    let in_scale = Applier { api_version: SCALE.into(), ..by.clone() };
    let result = apply(None, Some(scale), applied, &in_scale)?;
    let kept = Managers::of(&result).unwrap_or_default();
    let replicas = only(path);
    let mut managers = Managers::of(object).unwrap_or_default();
    managers.0.retain_mut(|entry| {
        let same = |other: &Entry| {
            (&other.manager, other.applied, &other.subresource)
                == (&entry.manager, entry.applied, &entry.subresource)
        };
        if !kept.0.iter().any(same) {
            entry.set.subtract(&replicas);
        }
        !entry.set.is_empty()
    });
    let own = Entry::new(by, true, replicas);
    if managers.take(&own).is_some()
        || kept.0.iter().any(|entry| entry.is_of(&Entry { api_version: SCALE.into(), ..own.clone() }))
    {
        managers.0.push(own);
    }
    let mut shell = json!({});
    managers.store(&mut shell);
    let entries = shell["metadata"]["managedFields"].as_array_mut().map(std::mem::take);
    Ok((entries.unwrap_or_default(), result["spec"]["replicas"].clone()))
}
