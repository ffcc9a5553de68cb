//! Deployments: one ReplicaSet for each template they have had, and the way from the old ones to the new one.
//!
//! The rules are those of `k8s.io/kubernetes/pkg/controller/deployment`.

mod rolling;
mod sets;
mod size;
mod status;

use jiff::Timestamp;
use serde_json::Value;

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{DEPLOYMENTS, text};
use super::queue::{Queue, Work};
use crate::status::Status;
use crate::storage::Stored;
use sets::Sets;

/// Rolls Deployments out.
pub(crate) struct Deployments;

/// A Deployment as its steps see it.
pub(crate) struct Deployment<'a> {
    pub stored: &'a Stored,
    pub value: &'a Value,
    pub replicas: i64,
    pub recreate: bool,
    pub max_surge: i64,
    pub max_unavailable: i64,
}

impl ControlLoop for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("apps", "deployments") if seen.change.after.is_some() => seen.mark(queue, "deployments"),
            ("apps", "replicasets") => {
                seen.mark_controller(queue, "Deployment", "deployments");
                sets::mark_adopters(seen, queue);
            }
            // Recreate waits for the last old pod.
            ("", "pods") if seen.change.after.is_none() => sets::mark_by_pod(seen, queue),
            _ => {}
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let key = &work.key;
        let Some(stored) = context.api.get(&DEPLOYMENTS, &key.namespace, &key.name) else { return Ok(None) };
        let value = stored.value();
        let deployment = Deployment::read(&stored, &value);
        let Some(mut sets) = Sets::claim(&deployment, context)? else { return Ok(None) };
        if stored.meta.deleting {
            return status::write(&deployment, &sets, context);
        }
        if value["spec"]["paused"] == true || sets.has_new_size(&deployment) {
            sets.scale(&deployment, context)?;
        } else if deployment.recreate {
            rolling::recreate(&deployment, &mut sets, context)?;
        } else {
            rolling::roll(&deployment, &mut sets, context)?;
        }
        sets.clean_up(&deployment, context)?;
        status::write(&deployment, &sets, context)
    }
}

impl<'a> Deployment<'a> {
    fn read(stored: &'a Stored, value: &'a Value) -> Self {
        let spec = &value["spec"];
        let replicas = spec["replicas"].as_i64().unwrap_or(1).max(0);
        let recreate = text(&spec["strategy"]["type"]) == "Recreate";
        let rolling = &spec["strategy"]["rollingUpdate"];
        let number = |field: &str, round_up: bool| match &rolling[field] {
            Value::Null => super::object::int_or_percent(&"25%".into(), replicas, round_up),
            set => super::object::int_or_percent(set, replicas, round_up),
        };
        let (max_surge, mut max_unavailable) =
            if recreate { (0, 0) } else { (number("maxSurge", true), number("maxUnavailable", false)) };
        if !recreate && max_surge == 0 && max_unavailable == 0 {
            // Both rounded to nothing would never get on.
            max_unavailable = 1;
        }
        let max_unavailable = max_unavailable.min(replicas);
        Self { stored, value, replicas, recreate, max_surge, max_unavailable }
    }
}
