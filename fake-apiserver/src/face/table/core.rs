//! Core kinds that are no workload: nodes, namespaces, events, configuration, volumes claims, quotas.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use super::apps::replicas;
use super::fields::{
    access_modes, array, containers, count_keys, created, deleting, labels, name, number, or, text,
};

pub(super) fn cells(plural: &str, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
    let name_cell = json!(name(object));
    let age_cell = json!(created(object, now));
    Some(match plural {
        "namespaces" => vec![name_cell, json!(text(object, "/status/phase")), age_cell],
        "nodes" => node(object, now),
        "configmaps" => vec![name_cell, json!(count_keys(object, &["/data", "/binaryData"])), age_cell],
        "secrets" => {
            vec![name_cell, json!(text(object, "/type")), json!(count_keys(object, &["/data"])), age_cell]
        }
        "persistentvolumeclaims" => volume_claim(object, now),
        "resourcequotas" => {
            let (requests, limits) = quota(object);
            vec![name_cell, json!(requests), json!(limits), age_cell]
        }
        "replicationcontrollers" => {
            let mut cells = replicas(object, now);
            let (names, images) = containers(object, "/spec/template/spec");
            cells.extend([json!(names), json!(images), json!(labels(object.pointer("/spec/selector")))]);
            cells
        }
        "podtemplates" => {
            let (names, images) = containers(object, "/template/spec");
            vec![
                name_cell,
                json!(names),
                json!(images),
                json!(labels(object.pointer("/template/metadata/labels"))),
            ]
        }
        _ => return None,
    })
}

fn node(node: &Value, now: Timestamp) -> Vec<Value> {
    let ready = array(node, "/status/conditions").iter().find(|c| text(c, "/type") == "Ready");
    let mut status = match ready.map(|c| text(c, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node.pointer("/spec/unschedulable") == Some(&json!(true)) {
        status.push_str(",SchedulingDisabled");
    }
    let info = |field: &str| or(text(node, &format!("/status/nodeInfo/{field}")), "<unknown>").to_owned();
    let address = |kind: &str| {
        let found = array(node, "/status/addresses").iter().find(|a| text(a, "/type") == kind);
        found.map_or_else(|| "<none>".to_owned(), |a| text(a, "/address").to_owned())
    };
    let mut kernel = info("kernelVersion");
    let architecture = text(node, "/status/nodeInfo/architecture");
    if !architecture.is_empty() {
        kernel = format!("{kernel} ({architecture})");
    }
    vec![
        json!(name(node)),
        json!(status),
        json!(roles(node)),
        json!(created(node, now)),
        json!(text(node, "/status/nodeInfo/kubeletVersion")),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        json!(info("osImage")),
        json!(kernel),
        json!(info("containerRuntimeVersion")),
    ]
}

/// Roles are labels: `node-role.kubernetes.io/{role}` or `kubernetes.io/role={role}`.
fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or(&roles.join(","), "<none>").to_owned()
}

fn volume_claim(claim: &Value, now: Timestamp) -> Vec<Value> {
    let phase = if deleting(claim) { "Terminating" } else { text(claim, "/status/phase") };
    let volume = text(claim, "/spec/volumeName");
    let bound = |value: String| if volume.is_empty() { String::new() } else { value };
    vec![
        json!(name(claim)),
        json!(phase),
        json!(volume),
        json!(bound(text(claim, "/status/capacity/storage").to_owned())),
        json!(bound(access_modes(claim, "/status/accessModes"))),
        json!(text(claim, "/spec/storageClassName")),
        json!(or(text(claim, "/spec/volumeAttributesClassName"), "<unset>")),
        json!(created(claim, now)),
        json!(or(text(claim, "/spec/volumeMode"), "<unset>")),
    ]
}

/// Used and hard amounts: of requests (and counts), and of limits.
fn quota(quota: &Value) -> (String, String) {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    for (resource, hard) in hard.into_iter().flatten() {
        let used = quota["status"]["used"][resource].as_str().unwrap_or("0");
        let entry = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
        if resource.starts_with("limits.") { limits.push(entry) } else { requests.push(entry) }
    }
    (requests.join(", "), limits.join(", "))
}

/// An event in either of its two forms: core/v1 or events.k8s.io/v1.
pub(super) fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let either = |core: &str, events: &str| or(text(event, core), text(event, events)).to_owned();
    let first = age::since(&either("/firstTimestamp", "/deprecatedFirstTimestamp"), now);
    let first = if first == "<unknown>" { age::since(text(event, "/eventTime"), now) } else { first };
    let last = age::since(&either("/lastTimestamp", "/deprecatedLastTimestamp"), now);
    let last = match text(event, "/series/lastObservedTime") {
        "" if last == "<unknown>" => first.clone(),
        "" => last,
        observed => age::since(observed, now),
    };
    let count = [number(event, "/series/count"), number(event, "/count"), number(event, "/deprecatedCount")];
    let count = count.into_iter().find(|count| *count != 0).unwrap_or(1);
    let target = either("/involvedObject/kind", "/regarding/kind").to_lowercase();
    let target = match either("/involvedObject/name", "/regarding/name") {
        name if name.is_empty() => target,
        name => format!("{target}/{name}"),
    };
    let component = or(
        &either("/source/component", "/deprecatedSource/component"),
        &either("/reportingComponent", "/reportingController"),
    )
    .to_owned();
    let host =
        or(&either("/source/host", "/deprecatedSource/host"), text(event, "/reportingInstance")).to_owned();
    let source = if host.is_empty() { component } else { format!("{component}, {host}") };
    vec![
        json!(last),
        json!(text(event, "/type")),
        json!(text(event, "/reason")),
        json!(target),
        json!(either("/involvedObject/fieldPath", "/regarding/fieldPath")),
        json!(source),
        json!(either("/message", "/note").trim()),
        json!(first),
        json!(count),
        json!(name(event)),
    ]
}
