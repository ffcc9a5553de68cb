//! The ReplicaSets of a Deployment: which are its own, which is the new one, and their revisions.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::control_loop::{Context, Seen};
use super::super::names::template_hash;
use super::super::object::{
    DEPLOYMENTS, REPLICA_SETS, Says, annotation, controller_ref, set_annotation, set_condition, text,
};
use super::super::queue::{Queue, Work};
use super::super::template::{adopt, selector_of, with_label, without_label};
use super::Deployment;
use super::size::{DESIRED, MAX, annotate_sizes};
use crate::status::Status;
use crate::storage::{Key, Stored};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// One ReplicaSet, with what has been written to it.
pub(super) struct Set {
    pub stored: Arc<Stored>,
    pub value: Value,
}

/// The ReplicaSets of a Deployment.
pub(super) struct Sets {
    /// The one of the present template.
    pub new: Option<Set>,
    /// The others, oldest first.
    pub old: Vec<Set>,
    /// The new one was made just now.
    pub created: bool,
}

impl Set {
    pub(super) fn read(stored: Arc<Stored>) -> Self {
        let value = stored.value();
        Self { stored, value }
    }

    pub(super) fn name(&self) -> &str {
        &self.stored.key.name
    }

    /// `spec.replicas`.
    pub(super) fn size(&self) -> i64 {
        self.value["spec"]["replicas"].as_i64().unwrap_or(1)
    }

    /// A count of its status.
    pub(super) fn count(&self, field: &str) -> i64 {
        self.value["status"][field].as_i64().unwrap_or_default()
    }

    fn revision(&self) -> i64 {
        annotation(&self.value, REVISION).parse().unwrap_or_default()
    }
}

/// A ReplicaSet that nobody manages may be wanted by a Deployment of its namespace.
pub(super) fn mark_adopters(seen: &Seen<'_>, queue: &mut Queue) {
    let Some(set) = seen.change.after.as_deref().filter(|set| set.controller().is_none()) else { return };
    let Some(deployments) = seen.server.storage().collection(&DEPLOYMENTS) else { return };
    for deployment in deployments.in_namespace(&set.key.namespace) {
        if selector_of(&deployment.value()).is_some_and(|selector| selector.matches(&set.meta.labels)) {
            queue.add(Work::new("deployments", &deployment.key), seen.now);
        }
    }
}

/// The Deployment behind a pod that is gone.
pub(super) fn mark_by_pod(seen: &Seen<'_>, queue: &mut Queue) {
    let Some(owner) = seen.object().controller().filter(|owner| owner.kind == "ReplicaSet") else { return };
    let Some((_, set)) = seen.server.storage().by_uid(&owner.uid) else { return };
    if let Some(owner) = set.controller().filter(|owner| owner.kind == "Deployment") {
        queue.add(Work { about: "deployments", key: Key::new(&set.key.namespace, &owner.name) }, seen.now);
    }
}

impl Sets {
    /// The Deployment's own ReplicaSets, those it adopts included; `None` when its selector selects nothing.
    pub(super) fn claim(
        deployment: &Deployment<'_>,
        context: &mut Context<'_, '_>,
    ) -> Result<Option<Self>, Status> {
        let Some(selector) = selector_of(deployment.value) else { return Ok(None) };
        let own = &deployment.stored.meta.uid;
        let mut sets = Vec::new();
        for set in context.api.select(&REPLICA_SETS, Some(&deployment.stored.key.namespace), &selector) {
            match set.controller() {
                Some(owner) if owner.uid == *own => sets.push(Set::read(set)),
                None if !set.meta.deleting && !deployment.stored.meta.deleting => {
                    let reference = controller_ref(deployment.stored, "apps/v1", "Deployment");
                    sets.push(Set::read(adopt(&REPLICA_SETS, &set, reference, context)?));
                }
                _ => {}
            }
        }
        sets.sort_by_cached_key(|set| {
            (
                text(&set.value["metadata"]["creationTimestamp"]).to_owned(),
                set.revision(),
                set.name().to_owned(),
            )
        });
        let template = without_label(&deployment.value["spec"]["template"], HASH);
        let same = |set: &Set| without_label(&set.value["spec"]["template"], HASH) == template;
        let new = sets.iter().position(same).map(|index| sets.remove(index));
        Ok(Some(Self { new, old: sets, created: false }))
    }

    /// All of them, the new one last.
    pub(super) fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    /// Sum of a count of their status.
    pub(super) fn total(&self, field: &str) -> i64 {
        self.all().map(|set| set.count(field)).sum()
    }

    /// Makes the new ReplicaSet if there is none, or brings its annotations up to date.
    pub(super) fn ensure_new(
        &mut self,
        deployment: &Deployment<'_>,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        let revision = self.old.iter().map(Set::revision).max().unwrap_or_default() + 1;
        if let Some(new) = &mut self.new {
            let known = new.revision();
            let mut changed = annotate_sizes(&mut new.value, deployment);
            for (name, value) in copied_annotations(deployment.value) {
                changed |= set_annotation(&mut new.value, &name, text(&value));
            }
            if known < revision {
                if known > 0 {
                    let history = annotation(&new.value, HISTORY);
                    let history =
                        if history.is_empty() { known.to_string() } else { format!("{history},{known}") };
                    set_annotation(&mut new.value, HISTORY, &history);
                }
                changed |= set_annotation(&mut new.value, REVISION, &revision.to_string());
            }
            if changed {
                *new = Set::read(context.api.update(&REPLICA_SETS, new.value.clone())?);
            }
            return number(deployment, known.max(revision), context);
        }
        let size = if deployment.recreate {
            deployment.replicas
        } else {
            let room = deployment.replicas + deployment.max_surge - self.total_size();
            room.clamp(0, deployment.replicas)
        };
        if let Some(set) = create(deployment, size, revision, context)? {
            if size > 0 {
                let message = format!("Scaled up replica set {} from 0 to {size}", set.name());
                context.normal(deployment.value, "ScalingReplicaSet", &message);
            }
            self.new = Some(set);
            self.created = true;
            number(deployment, revision, context)?;
        }
        Ok(())
    }

    /// Removes the oldest empty ReplicaSets above `revisionHistoryLimit`, once the roll-out is done.
    pub(super) fn clean_up(
        &mut self,
        deployment: &Deployment<'_>,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        let enough = |new: &Set| new.count("availableReplicas") >= deployment.replicas;
        if !self.new.as_ref().is_some_and(enough) || self.old.iter().any(|set| set.size() > 0) {
            return Ok(());
        }
        let limit = deployment.value["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10).max(0) as usize;
        let mut cleanable: Vec<&Set> = self.old.iter().filter(|set| !set.stored.meta.deleting).collect();
        let excess = cleanable.len().saturating_sub(limit);
        cleanable.sort_by_key(|set| set.revision());
        for set in cleanable.into_iter().take(excess).filter(|set| set.count("replicas") == 0) {
            let options = json!({"preconditions": {"uid": set.stored.meta.uid}});
            context.api.delete(&REPLICA_SETS, &set.stored.key, options)?;
        }
        Ok(())
    }
}

/// Makes the ReplicaSet of the present template; `None` when its name is taken by another template.
fn create(
    deployment: &Deployment<'_>,
    size: i64,
    revision: i64,
    context: &mut Context<'_, '_>,
) -> Result<Option<Set>, Status> {
    let collisions = deployment.value["status"]["collisionCount"].as_i64().unwrap_or_default();
    let template = &deployment.value["spec"]["template"];
    let hash = template_hash(template, collisions);
    let mut selector = deployment.value["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = hash.as_str().into();
    let key = &deployment.stored.key;
    let labelled = with_label(template, HASH, &hash);
    let mut value = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", key.name), "namespace": key.namespace,
            "labels": labelled["metadata"]["labels"],
            "annotations": copied_annotations(deployment.value),
            "ownerReferences": [controller_ref(deployment.stored, "apps/v1", "Deployment")],
        },
        "spec": {"replicas": size, "selector": selector, "template": labelled},
    });
    if let Some(seconds) = deployment.value["spec"]["minReadySeconds"].as_i64().filter(|s| *s > 0) {
        value["spec"]["minReadySeconds"] = seconds.into();
    }
    set_annotation(&mut value, REVISION, &revision.to_string());
    annotate_sizes(&mut value, deployment);
    match context.api.create(&REPLICA_SETS, value) {
        Ok(stored) => Ok(Some(Set::read(stored))),
        Err(status) if status.reason == "AlreadyExists" => {
            // Another template has this hash: the next look counts the collision in.
            let Some(newest) = context.api.get(&DEPLOYMENTS, &key.namespace, &key.name) else {
                return Ok(None);
            };
            let mut value = newest.value();
            value["status"]["collisionCount"] = (collisions + 1).into();
            context.api.update_status(&DEPLOYMENTS, value)?;
            Ok(None)
        }
        Err(refusal) => {
            let mut value = deployment.value.clone();
            let (kind, reason) = ("Progressing", "ReplicaSetCreateError");
            let says = Says { kind, status: "False", reason, message: &refusal.message };
            if set_condition(&mut value["status"], says, context.now) {
                context.api.update_status(&DEPLOYMENTS, value)?;
            }
            Err(refusal)
        }
    }
}

/// Annotations that pass to ReplicaSets: all but those that are about the Deployment itself.
fn copied_annotations(deployment: &Value) -> Map<String, Value> {
    const OWN: [&str; 6] = [
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAX,
    ];
    let all = deployment["metadata"]["annotations"].as_object();
    let kept = all.into_iter().flatten().filter(|(name, _)| !OWN.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Writes the revision to the Deployment itself.
fn number(deployment: &Deployment<'_>, revision: i64, context: &mut Context<'_, '_>) -> Result<(), Status> {
    let revision = revision.to_string();
    if annotation(deployment.value, REVISION) == revision {
        return Ok(());
    }
    let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
    // Through the status, where annotations do not count as a change of what is wanted.
    context.api.patch_status(&DEPLOYMENTS, &deployment.stored.key, patch).map(drop)
}
