//! StatefulSets: numbered pods that come and go one after the other (or all at once, `Parallel`).
//!
//! Not modelled: `persistentVolumeClaimRetentionPolicy`, `maxUnavailable`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{PODS, STATEFUL_SETS, items, object_mut, set_count, text};
use super::pod::PodFacts;
use super::queue::{Queue, Work};
use super::revision::History;
use super::template::{Maker, is_terminating, selector_of};
use crate::status::Status;
use crate::storage::{GroupResource, Key, Stored};

const REVISION_LABEL: &str = "controller-revision-hash";
const CLAIMS: GroupResource = GroupResource::new("", "persistentvolumeclaims");

/// Runs StatefulSets.
pub(crate) struct StatefulSets;

impl ControlLoop for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("apps", "statefulsets") if seen.change.after.is_some() => seen.mark(queue, "statefulsets"),
            ("", "pods") => seen.mark_controller(queue, "StatefulSet", "statefulsets"),
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let key = &work.key;
        let Some(stored) = context.api.get(&STATEFUL_SETS, &key.namespace, &key.name) else {
            return Ok(None);
        };
        let value = stored.value();
        let Some(selector) = selector_of(&value) else { return Ok(None) };
        let maker = Maker { owner: &stored, value: &value, api_version: "apps/v1", kind: "StatefulSet" };
        let pods = maker.claim(&selector, context)?;
        if stored.meta.deleting {
            return Ok(None);
        }
        let history =
            History::keep(&stored, &value, "StatefulSet", "controller.kubernetes.io/hash", context)?;
        let set = Set::read(&maker, &pods, &history);
        let refused = match set.work(&maker, context) {
            Err(status) if is_terminating(&status) => Ok(()),
            other => other,
        };
        set.report(&maker, &pods, context)?;
        refused?;
        Ok(set.next_available(context.now))
    }
}

/// One look at a StatefulSet.
struct Set<'a> {
    pods: BTreeMap<i64, Arc<PodFacts>>,
    history: &'a History,
    start: i64,
    replicas: i64,
    partition: i64,
    parallel: bool,
    on_delete: bool,
    min_ready: i64,
    current: String,
}

impl<'a> Set<'a> {
    fn read(maker: &Maker<'_>, pods: &[Arc<PodFacts>], history: &'a History) -> Self {
        let spec = &maker.value["spec"];
        let prefix = format!("{}-", maker.owner.key.name);
        let ordinal = |pod: &PodFacts| pod.stored.key.name.strip_prefix(&prefix)?.parse::<i64>().ok();
        let current = text(&maker.value["status"]["currentRevision"]);
        Self {
            pods: pods.iter().filter_map(|pod| Some((ordinal(pod)?, Arc::clone(pod)))).collect(),
            history,
            start: spec["ordinals"]["start"].as_i64().unwrap_or_default(),
            replicas: spec["replicas"].as_i64().unwrap_or(1).max(0),
            partition: spec["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or_default(),
            parallel: spec["podManagementPolicy"] == "Parallel",
            on_delete: spec["updateStrategy"]["type"] == "OnDelete",
            min_ready: spec["minReadySeconds"].as_i64().unwrap_or_default(),
            current: if current.is_empty() { history.newest().into() } else { current.into() },
        }
    }

    fn is_available(&self, pod: &PodFacts, now: Timestamp) -> bool {
        !pod.stored.meta.deleting && pod.available_at(self.min_ready).is_some_and(|at| at <= now)
    }

    fn next_available(&self, now: Timestamp) -> Option<Timestamp> {
        self.pods.values().filter_map(|pod| pod.available_at(self.min_ready)).filter(|at| *at > now).min()
    }

    /// One step: what is missing in order, then what is too much from the end, then what is of an old revision.
    fn work(&self, maker: &Maker<'_>, context: &mut Context<'_, '_>) -> Result<(), Status> {
        for ordinal in self.start..self.start + self.replicas {
            match self.pods.get(&ordinal) {
                None => self.create(ordinal, maker, context)?,
                Some(pod) if pod.has_ended() && !pod.stored.meta.deleting => maker.delete(pod, context)?,
                Some(pod) if self.is_available(pod, context.now) => continue,
                Some(_) => {}
            }
            if !self.parallel {
                return Ok(());
            }
        }
        let beyond = |ordinal: i64| ordinal < self.start || ordinal >= self.start + self.replicas;
        for (_, pod) in self.pods.iter().rev().filter(|(ordinal, _)| beyond(**ordinal)) {
            if !pod.stored.meta.deleting {
                maker.delete(pod, context)?;
            }
            if !self.parallel {
                return Ok(());
            }
        }
        if self.on_delete {
            return Ok(());
        }
        for (_, pod) in self.pods.range(self.start + self.partition..).rev().filter(|(o, _)| !beyond(**o)) {
            let old = pod.stored.meta.labels.get(REVISION_LABEL).is_none_or(|r| r != self.history.newest());
            if old && !pod.stored.meta.deleting {
                return maker.delete(pod, context);
            }
            if !self.is_available(pod, context.now) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn create(&self, ordinal: i64, maker: &Maker<'_>, context: &mut Context<'_, '_>) -> Result<(), Status> {
        let name = format!("{}-{ordinal}", maker.owner.key.name);
        let of_current = !self.on_delete && ordinal < self.start + self.partition;
        let revision = if of_current { self.current.as_str() } else { self.history.newest() };
        let template = self.history.template(revision);
        let mut pod = maker.named_pod(&template, &name, Some(&format!("{}-", maker.owner.key.name)));
        let labels = object_mut(object_mut(&mut pod["metadata"]).entry("labels").or_insert(Value::Null));
        labels.insert("statefulset.kubernetes.io/pod-name".into(), name.as_str().into());
        labels.insert("apps.kubernetes.io/pod-index".into(), ordinal.to_string().into());
        labels.insert(REVISION_LABEL.into(), revision.into());
        pod["spec"]["hostname"] = name.as_str().into();
        if let Some(service) = maker.value["spec"]["serviceName"].as_str().filter(|s| !s.is_empty()) {
            pod["spec"]["subdomain"] = service.into();
        }
        claims(&mut pod, &name, maker, context)?;
        match context.api.create(&PODS, pod) {
            Ok(_) => {
                let message = format!("Create Pod {name} in StatefulSet {} successful", maker.owner.key.name);
                context.normal(maker.value, "SuccessfulCreate", &message);
                Ok(())
            }
            // The last one of the name has not gone yet, or it is somebody else's: look again with back-off.
            Err(status) => {
                if !is_terminating(&status) && status.reason != "AlreadyExists" {
                    let message = format!(
                        "create Pod {name} in StatefulSet {} failed error: {}",
                        maker.owner.key.name, status.message
                    );
                    context.warning(maker.value, "FailedCreate", &message);
                }
                Err(status)
            }
        }
    }

    fn report(
        &self,
        maker: &Maker<'_>,
        pods: &[Arc<PodFacts>],
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        let owner: &Stored = maker.owner;
        let Some(newest) = context.api.get(&STATEFUL_SETS, &owner.key.namespace, &owner.key.name) else {
            return Ok(());
        };
        let mut value = newest.value();
        let mut status = value["status"].clone();
        let update = self.history.newest();
        let of = |pod: &&Arc<PodFacts>, revision: &str| {
            !pod.stored.meta.deleting
                && pod.stored.meta.labels.get(REVISION_LABEL).is_some_and(|r| r == revision)
        };
        let count = pods.len() as i64;
        let updated = pods.iter().filter(|pod| of(pod, update)).count() as i64;
        let ready = pods.iter().filter(|pod| pod.ready && !pod.stored.meta.deleting).count() as i64;
        let available = pods.iter().filter(|pod| self.is_available(pod, context.now)).count();
        let mut current = self.current.as_str();
        if updated == self.replicas && ready == self.replicas && count == self.replicas {
            current = update;
        }
        let of_current = pods.iter().filter(|pod| of(pod, current)).count() as i64;
        let map = object_mut(&mut status);
        map.insert("replicas".into(), count.into());
        map.insert("availableReplicas".into(), available.into());
        map.insert("observedGeneration".into(), owner.meta.generation.into());
        map.insert("currentRevision".into(), current.into());
        map.insert("updateRevision".into(), update.into());
        map.entry("collisionCount").or_insert(0.into());
        set_count(&mut status, "readyReplicas", ready);
        set_count(&mut status, "currentReplicas", of_current);
        set_count(&mut status, "updatedReplicas", updated);
        if value["status"] != status {
            value["status"] = status;
            context.api.update_status(&STATEFUL_SETS, value)?;
        }
        Ok(())
    }
}

/// The pod's own claims of `volumeClaimTemplates`; they stay when the pod goes.
fn claims(
    pod: &mut Value,
    name: &str,
    maker: &Maker<'_>,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    for (index, template) in items(&maker.value["spec"]["volumeClaimTemplates"]).iter().enumerate() {
        let volume = text(&template["metadata"]["name"]);
        let claim = format!("{volume}-{name}");
        let namespace = &maker.owner.key.namespace;
        let volumes = super::object::array_mut(&mut pod["spec"], "volumes");
        volumes.retain(|known| known["name"] != volume);
        // They stand before the volumes of the template.
        let at = index.min(volumes.len());
        volumes.insert(at, json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}));
        let key = Key::new(namespace, &claim);
        if context.api.get(&CLAIMS, &key.namespace, &key.name).is_none() {
            let mut object = template.clone();
            object_mut(&mut object).remove("status");
            object["apiVersion"] = "v1".into();
            object["kind"] = "PersistentVolumeClaim".into();
            object["metadata"]["name"] = claim.as_str().into();
            object["metadata"]["namespace"] = namespace.as_str().into();
            object["metadata"]["labels"] = maker.value["spec"]["selector"]["matchLabels"].clone();
            context.api.create(&CLAIMS, object)?;
            let set = &maker.owner.key.name;
            let message = format!("Create Claim {claim} Pod {name} in StatefulSet {set} success");
            context.normal(maker.value, "SuccessfulCreate", &message);
        }
    }
    Ok(())
}
