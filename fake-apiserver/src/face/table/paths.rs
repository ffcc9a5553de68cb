//! Kinds whose cells are single fields: one line for each column.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use super::autoscaler::targets;
use super::fields::{access_modes, array, condition, created, deleting, name, number, text};

/// (plural, column, JSON pointer).
const FIELDS: &[(&str, &str, &str)] = &[
    ("leases", "Holder", "/spec/holderIdentity"),
    ("limitranges", "Created At", "/metadata/creationTimestamp"),
    ("persistentvolumes", "Capacity", "/spec/capacity/storage"),
    ("persistentvolumes", "Reclaim Policy", "/spec/persistentVolumeReclaimPolicy"),
    ("persistentvolumes", "StorageClass", "/spec/storageClassName"),
    ("persistentvolumes", "Reason", "/status/reason"),
    ("persistentvolumes", "VolumeMode", "/spec/volumeMode"),
    ("poddisruptionbudgets", "Allowed Disruptions", "/status/disruptionsAllowed"),
    ("horizontalpodautoscalers", "MaxPods", "/spec/maxReplicas"),
    ("certificatesigningrequests", "SignerName", "/spec/signerName"),
    ("certificatesigningrequests", "Requestor", "/spec/username"),
    ("flowschemas", "PriorityLevel", "/spec/priorityLevelConfiguration/name"),
    ("flowschemas", "MatchingPrecedence", "/spec/matchingPrecedence"),
    ("flowschemas", "DistinguisherMethod", "/spec/distinguisherMethod/type"),
    ("prioritylevelconfigurations", "Type", "/spec/type"),
    ("prioritylevelconfigurations", "NominalConcurrencyShares", "/spec/limited/nominalConcurrencyShares"),
    ("prioritylevelconfigurations", "Queues", "/spec/limited/limitResponse/queuing/queues"),
    ("prioritylevelconfigurations", "HandSize", "/spec/limited/limitResponse/queuing/handSize"),
    (
        "prioritylevelconfigurations",
        "QueueLengthLimit",
        "/spec/limited/limitResponse/queuing/queueLengthLimit",
    ),
    ("ingressclasses", "Controller", "/spec/controller"),
    ("runtimeclasses", "Handler", "/handler"),
    ("resourceslices", "Node", "/spec/nodeName"),
    ("resourceslices", "Driver", "/spec/driver"),
    ("resourceslices", "Pool", "/spec/pool/name"),
    ("priorityclasses", "Value", "/value"),
    ("priorityclasses", "PreemptionPolicy", "/preemptionPolicy"),
    ("csidrivers", "AttachRequired", "/spec/attachRequired"),
    ("csidrivers", "PodInfoOnMount", "/spec/podInfoOnMount"),
    ("csidrivers", "StorageCapacity", "/spec/storageCapacity"),
    ("csidrivers", "RequiresRepublish", "/spec/requiresRepublish"),
    ("storageclasses", "Provisioner", "/provisioner"),
    ("storageclasses", "ReclaimPolicy", "/reclaimPolicy"),
    ("storageclasses", "VolumeBindingMode", "/volumeBindingMode"),
    ("volumeattachments", "Attacher", "/spec/attacher"),
    ("volumeattachments", "PV", "/spec/source/persistentVolumeName"),
    ("volumeattachments", "Node", "/spec/nodeName"),
    ("volumeattachments", "Attached", "/status/attached"),
    ("volumeattributesclasses", "DriverName", "/driverName"),
    ("validatingadmissionpolicybindings", "PolicyName", "/spec/policyName"),
    ("mutatingadmissionpolicybindings", "PolicyName", "/spec/policyName"),
];

/// Columns that are empty where there is nothing to say.
const EMPTY: &[(&str, &str)] =
    &[("leases", "Holder"), ("persistentvolumes", "StorageClass"), ("persistentvolumes", "Reason")];

/// One cell. A column that is not modelled is `<unset>`, not invented.
pub(super) fn cell(plural: &str, column: &str, object: &Value, now: Timestamp) -> Value {
    if let Some((_, _, pointer)) = FIELDS.iter().find(|(p, c, _)| *p == plural && *c == column) {
        let missing = if EMPTY.contains(&(plural, column)) { "" } else { "<none>" };
        return object.pointer(pointer).cloned().unwrap_or_else(|| json!(missing));
    }
    match column {
        "Name" => json!(name(object)),
        "Age" => json!(created(object, now)),
        "Created At" => json!(text(object, "/metadata/creationTimestamp")),
        "Role" => json!(format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"))),
        "Users" => subjects(object, "User"),
        "Groups" => subjects(object, "Group"),
        "ServiceAccounts" => subjects(object, "ServiceAccount"),
        "Webhooks" => json!(array(object, "/webhooks").len()),
        "Validations" => json!(array(object, "/spec/validations").len()),
        "Mutations" => json!(array(object, "/spec/mutations").len()),
        "Drivers" => json!(array(object, "/spec/drivers").len()),
        "Global-Default" => json!(object["globalDefault"] == true),
        "AllowVolumeExpansion" => json!(object["allowVolumeExpansion"] == true),
        "Min Available" => int_or_string(object.pointer("/spec/minAvailable"), "N/A"),
        "Max Unavailable" => int_or_string(object.pointer("/spec/maxUnavailable"), "N/A"),
        "MinPods" => int_or_string(object.pointer("/spec/minReplicas"), "<unset>"),
        "MissingPL" => json!(if condition(object, "Dangling") { "True" } else { "False" }),
        "CIDRs" => {
            let cidrs: Vec<&str> = array(object, "/spec/cidrs").iter().filter_map(Value::as_str).collect();
            json!(cidrs.join(","))
        }
        "ParamKind" => match object.pointer("/spec/paramKind") {
            Some(kind) => json!(format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind"))),
            None => json!("<unset>"),
        },
        "ParamRef" => match object.pointer("/spec/paramRef") {
            Some(param) if text(param, "/namespace").is_empty() => {
                json!(format!("*/{}", text(param, "/name")))
            }
            Some(param) => json!(format!("{}/{}", text(param, "/namespace"), text(param, "/name"))),
            None => json!("<unset>"),
        },
        "RequestedDuration" => match object.pointer("/spec/expirationSeconds").and_then(Value::as_i64) {
            Some(seconds) => json!(age::human(seconds)),
            None => json!("<none>"),
        },
        "Condition" if plural == "certificatesigningrequests" => json!(request_state(object)),
        "Targets" => json!(targets(object)),
        "Replicas" => json!(number(object, "/status/currentReplicas")),
        "Access Modes" => json!(access_modes(object, "/spec/accessModes")),
        "Claim" => match object.pointer("/spec/claimRef") {
            Some(claim) => json!(format!("{}/{}", text(claim, "/namespace"), text(claim, "/name"))),
            None => json!(""),
        },
        "Parameters" if plural == "ingressclasses" => match object.pointer("/spec/parameters") {
            Some(parameters) => {
                let group = text(parameters, "/apiGroup");
                let group = if group.is_empty() { String::new() } else { format!(".{group}") };
                json!(format!("{}{group}/{}", text(parameters, "/kind"), text(parameters, "/name")))
            }
            None => json!("<none>"),
        },
        "Status" if plural == "persistentvolumes" => {
            json!(if deleting(object) { "Terminating" } else { text(object, "/status/phase") })
        }
        "Service" => json!("Local"),
        "Available" => json!("True"),
        "Reference" => {
            let target = |field: &str| text(object, &format!("/spec/scaleTargetRef/{field}")).to_owned();
            json!(format!("{}/{}", target("kind"), target("name")))
        }
        _ => json!("<unset>"),
    }
}

/// A number as text, text as it is.
fn int_or_string(value: Option<&Value>, placeholder: &str) -> Value {
    match value {
        Some(Value::Number(number)) => json!(number.to_string()),
        Some(Value::String(text)) => json!(text),
        _ => json!(placeholder),
    }
}

/// What became of a certificate signing request (`extractCSRStatus` of Kubernetes' printers).
fn request_state(request: &Value) -> String {
    let has = |kind: &str| array(request, "/status/conditions").iter().any(|c| text(c, "/type") == kind);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied".to_owned(),
        (false, true) => "Approved".to_owned(),
        (false, false) => "Pending".to_owned(),
    };
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(request, "/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}

fn subjects(object: &Value, kind: &str) -> Value {
    let names: Vec<String> = array(object, "/subjects")
        .iter()
        .filter(|subject| text(subject, "/kind") == kind)
        .map(|subject| match (kind, text(subject, "/namespace")) {
            ("ServiceAccount", namespace) => format!("{namespace}/{}", text(subject, "/name")),
            _ => text(subject, "/name").to_owned(),
        })
        .collect();
    json!(names.join(", "))
}
