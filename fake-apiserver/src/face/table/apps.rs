//! Workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::{array, containers, created, labels, name, number, selector, text};

const TEMPLATE: &str = "/spec/template/spec";

/// A Scale of anything.
pub(super) fn scale(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        json!(name(object)),
        json!(number(object, "/spec/replicas")),
        json!(number(object, "/status/replicas")),
        json!(created(object, now)),
    ]
}

pub(super) fn cells(plural: &str, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
    let mut cells = match plural {
        "deployments" => vec![
            json!(name(object)),
            json!(ready(object)),
            json!(number(object, "/status/updatedReplicas")),
            json!(number(object, "/status/availableReplicas")),
            json!(created(object, now)),
        ],
        "replicasets" => replicas(object, now),
        "statefulsets" => vec![json!(name(object)), json!(ready(object)), json!(created(object, now))],
        "daemonsets" => daemon_set(object, now),
        "controllerrevisions" => return Some(revision(object, now)),
        _ => return None,
    };
    let (names, images) = containers(object, TEMPLATE);
    cells.extend([json!(names), json!(images)]);
    if plural != "statefulsets" {
        cells.push(json!(selector(object.pointer("/spec/selector"))));
    }
    Some(cells)
}

fn ready(object: &Value) -> String {
    format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"))
}

/// NAME to AGE of a ReplicaSet and of a ReplicationController.
pub(super) fn replicas(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        json!(name(object)),
        json!(number(object, "/spec/replicas")),
        json!(number(object, "/status/replicas")),
        json!(number(object, "/status/readyReplicas")),
        json!(created(object, now)),
    ]
}

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = |field: &str| json!(number(object, &format!("/status/{field}")));
    vec![
        json!(name(object)),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        json!(labels(object.pointer("/spec/template/spec/nodeSelector"))),
        json!(created(object, now)),
    ]
}

fn revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let controller =
        array(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true);
    let controller = controller.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let group = text(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{}{dot}{group}/{}", text(owner, "/kind").to_lowercase(), text(owner, "/name"))
        },
    );
    vec![
        json!(name(object)),
        json!(controller),
        json!(number(object, "/revision")),
        json!(created(object, now)),
    ]
}
