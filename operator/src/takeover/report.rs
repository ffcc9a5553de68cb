//! Plans in words: what would change on each object, and what would stay.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::kopf::Leftovers;
use crate::names;
use crate::observe::Key;
use crate::plan::{Plan, Step, Target};

/// Longest value that is shown; longer ones are cut.
const VALUE_MAX: usize = 120;

/// What would change, by object.
#[derive(Clone, Debug, Default)]
pub struct Report {
    objects: BTreeMap<Target, Value>,
    warnings: Vec<String>,
    /// One line for each change.
    changes: BTreeMap<Target, Vec<String>>,
    /// What else is worth knowing.
    notes: BTreeMap<Target, Vec<String>>,
}

impl Report {
    pub(super) fn new(objects: &BTreeMap<Target, Value>, warnings: Vec<String>) -> Self {
        Self { objects: objects.clone(), warnings, ..Self::default() }
    }

    /// How many objects would change.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn cleaned(&mut self, target: &Target, found: &Leftovers) {
        if found.finalizer {
            self.change(target, format!("finalizer {} is removed", names::KOPF_FINALIZER));
        }
        for annotation in &found.progress {
            self.change(target, format!("annotation {annotation} is removed"));
        }
        if found.memory {
            let why = "the Python operator needs it on the way back";
            self.note(target, format!("annotation {} stays: {why}", names::KOPF_LAST_HANDLED));
        }
    }

    pub(super) fn planned(&mut self, key: &Key, plan: &Plan, violations: &[String]) {
        let own = Target::Resource(key.clone());
        for violation in violations {
            self.note(&own, format!("would be refused: {violation}"));
        }
        for step in plan.steps() {
            self.step(key, step);
        }
        for why in &plan.waiting {
            self.note(&own, format!("then waits: {why}"));
        }
        if let Some(poll) = &plan.poll {
            self.note(&own, format!("the scheduler of {} is asked, and its answer looked at", poll.cluster));
        }
    }

    fn step(&mut self, by: &Key, step: &Step) {
        match step {
            Step::Create { target, .. } => {
                let how = step.advised_by().map(|plugin| format!(", as plugin {plugin} wants it"));
                self.change(target, format!("is created for {by}{}", how.unwrap_or_default()));
            }
            Step::Delete { target, why, .. } => self.change(target, format!("is deleted: {why}")),
            Step::Patch { target, body } => {
                let known = self.objects.get(target).cloned().unwrap_or_default();
                for line in differences(&known, body) {
                    self.change(target, line);
                }
            }
            Step::Status { key, body } => {
                let target = Target::Resource(key.clone());
                let known =
                    self.objects.get(&target).map(|object| object["status"].clone()).unwrap_or_default();
                for line in differences(&known, body) {
                    self.change(&target, format!("status.{line}"));
                }
            }
            Step::Retire { victims, .. } => {
                for victim in victims {
                    let how =
                        "the scheduler is asked to move what its workers hold, for it to go then".to_owned();
                    self.change(&Target::Child(victim.carrier.clone()), how);
                }
            }
            Step::Drain { victims, .. } => {
                for victim in victims {
                    let how = "is deleted once the scheduler has let its workers go".to_owned();
                    self.change(&Target::Child(victim.carrier.clone()), how);
                }
            }
            Step::Announce(said) => {
                let target = Target::Resource(said.about.clone());
                self.note(&target, format!("an Event says {}: {}", said.reason, said.message));
            }
        }
    }

    fn change(&mut self, target: &Target, line: String) {
        let lines = self.changes.entry(target.clone()).or_default();
        // Taking kopf's finalizer away is part of the clean-up and of the plan.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }

    pub(super) fn note(&mut self, target: &Target, line: String) {
        self.notes.entry(target.clone()).or_default().push(line);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "WARNING: {warning}")?;
        }
        let mut named: Vec<&Target> =
            self.objects.keys().chain(self.changes.keys()).chain(self.notes.keys()).collect();
        named.sort();
        named.dedup();
        let mut stays = 0;
        for target in named {
            let changes = self.changes.get(target).map_or(&[][..], Vec::as_slice);
            let notes = self.notes.get(target).map_or(&[][..], Vec::as_slice);
            if changes.is_empty() {
                stays += 1;
                writeln!(f, "{target}: stays as it is")?;
            } else {
                writeln!(f, "{target}:")?;
            }
            for change in changes {
                writeln!(f, "  ~ {change}")?;
            }
            for note in notes {
                writeln!(f, "    {note}")?;
            }
        }
        writeln!(f, "{} objects would change, {stays} would stay as they are", self.changes.len())
    }
}

/// What a merge patch changes, each leaf in a line.
fn differences(known: &Value, patch: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    collect(known, patch, "", &mut lines);
    lines
}

fn collect(known: &Value, patch: &Value, path: &str, lines: &mut Vec<String>) {
    match path {
        "metadata.resourceVersion" => return,
        "metadata.ownerReferences" => return lines.extend(listed(known, patch, "owner", owner)),
        "metadata.finalizers" => return lines.extend(listed(known, patch, "finalizer", text)),
        "conditions" => return lines.extend(conditions(known, patch)),
        _ => {}
    }
    if let Value::Object(fields) = patch {
        for (name, inner) in fields {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            collect(&known[name], inner, &below, lines);
        }
        return;
    }
    if known == patch {
        return;
    }
    let path = path
        .strip_prefix("metadata.annotations.")
        .map_or_else(|| path.to_owned(), |name| format!("annotation {name}"));
    lines.push(match (known, patch) {
        (_, Value::Null) => format!("{path} is removed"),
        (Value::Null, new) => format!("{path}: {}", short(new)),
        (old, new) => format!("{path}: {} → {}", short(old), short(new)),
    });
}

/// What comes and goes in a list that is replaced as a whole.
fn listed(known: &Value, patch: &Value, what: &str, name: fn(&Value) -> String) -> Vec<String> {
    let names = |list: &Value| list.as_array().into_iter().flatten().map(name).collect::<Vec<_>>();
    let (old, new) = (names(known), names(patch));
    let gone = old.iter().filter(|name| !new.contains(name)).map(|name| format!("{what} {name} is removed"));
    let come = new.iter().filter(|name| !old.contains(name)).map(|name| format!("{what} {name} is added"));
    gone.chain(come).collect()
}

fn owner(reference: &Value) -> String {
    format!("{} {}", text(&reference["kind"]), text(&reference["name"]))
}

/// What conditions would say anew.
fn conditions(known: &Value, patch: &Value) -> Vec<String> {
    let all = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let state =
        |condition: &Value| format!("{} ({})", text(&condition["status"]), text(&condition["reason"]));
    let (old, new) = (all(known), all(patch));
    let find =
        |list: &[Value], kind: &Value| list.iter().find(|condition| condition["type"] == *kind).cloned();
    let gone = old.iter().filter(|condition| find(&new, &condition["type"]).is_none());
    let gone = gone.map(|condition| format!("condition {} is removed", text(&condition["type"])));
    let said = new.iter().filter_map(|condition| {
        let kind = text(&condition["type"]);
        match find(&old, &condition["type"]) {
            None => Some(format!("condition {kind}: {}", state(condition))),
            Some(before) if state(&before) != state(condition) => {
                Some(format!("condition {kind}: {} → {}", state(&before), state(condition)))
            }
            Some(before) if before["message"] != condition["message"] => {
                Some(format!("condition {kind} says: {}", short(&condition["message"])))
            }
            Some(_) => None,
        }
    });
    gone.chain(said).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn short(value: &Value) -> String {
    let whole = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match whole.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(known: &Value, patch: &Value, expected: &[&str]) {
        assert_eq!(differences(known, patch), expected, "{known} {patch}");
    }

    #[test]
    fn a_patch_is_told_leaf_by_leaf() {
        check(
            &json!({"spec": {"a": 1}}),
            &json!({"spec": {"a": 2, "b": "x"}}),
            &["spec.a: 1 → 2", "spec.b: x"],
        );
        check(&json!({"spec": {"a": 1}}), &json!({"spec": {"a": 1}}), &[]);
        let annotated = json!({"metadata": {"annotations": {"a/b": "1"}}});
        let patch = json!({"metadata": {"resourceVersion": "5", "annotations": {"a/b": null}}});
        check(&annotated, &patch, &["annotation a/b is removed"]);
    }

    #[test]
    fn lists_are_told_by_what_comes_and_goes() {
        let known = json!({"metadata": {"finalizers": ["k", "other"]}});
        check(&known, &json!({"metadata": {"finalizers": ["other"]}}), &["finalizer k is removed"]);
        let owner = json!({"kind": "DaskCluster", "name": "x", "uid": "1"});
        let adopted = json!({"metadata": {"ownerReferences": [owner]}});
        check(&json!({}), &adopted, &["owner DaskCluster x is added"]);
    }

    #[test]
    fn conditions_are_told_by_what_they_say_anew() {
        let mk = |kind: &str, status: &str, message: &str| json!({"type": kind, "status": status, "reason": "R", "message": message});
        let known = json!({"conditions": [mk("A", "True", "x"), mk("B", "True", "x"), mk("C", "True", "x")]});
        let patch =
            json!({"conditions": [mk("A", "False", "x"), mk("B", "True", "y"), mk("D", "True", "x")]});
        let told = [
            "condition C is removed",
            "condition A: True (R) → False (R)",
            "condition B says: y",
            "condition D: True (R)",
        ];
        check(&known, &patch, &told);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(short(&json!("ä".repeat(200))).chars().count(), VALUE_MAX + 1);
    }
}
