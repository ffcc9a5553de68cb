//! What is wrong with Deployments, ReplicaSets, StatefulSets and DaemonSets (`pkg/apis/apps/validation`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::pod_spec::{self, within};
use super::policy::share;
use super::rules::{self, Rows, Rule, check, items, join, not_supported, text};
use super::{persistent_volume_claim, rules::grammar};
use crate::registry::Resource;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;
use crate::storage::{self, LabelSelector};

const DEPLOYMENT: Rows = &[
    ("replicas", Rule::Natural),
    ("", Rule::Own(selected)),
    ("strategy", Rule::Own(strategy)),
    ("minReadySeconds", Rule::Natural),
    ("revisionHistoryLimit", Rule::Natural),
    ("progressDeadlineSeconds", Rule::Natural),
    ("", Rule::Own(deadline)),
];
const REPLICA_SET: Rows =
    &[("replicas", Rule::Natural), ("minReadySeconds", Rule::Natural), ("", Rule::Own(selected))];
const STATEFUL_SET: Rows = &[
    ("podManagementPolicy", Rule::Own(management)),
    ("updateStrategy", Rule::Own(stateful_strategy)),
    ("persistentVolumeClaimRetentionPolicy?.whenDeleted", Rule::OneOf(RETENTION)),
    ("persistentVolumeClaimRetentionPolicy?.whenScaled", Rule::OneOf(RETENTION)),
    ("replicas", Rule::Natural),
    ("minReadySeconds", Rule::Natural),
    ("ordinals?.start", Rule::Natural),
    ("serviceName", Rule::Text(names::dns_label)),
    ("", Rule::Own(claims)),
    ("", Rule::Own(selected)),
];
const DAEMON_SET: Rows = &[
    ("", Rule::Own(selected)),
    ("minReadySeconds", Rule::Natural),
    ("updateStrategy", Rule::Own(daemon_strategy)),
    ("revisionHistoryLimit", Rule::Natural),
];
const RETENTION: &[&str] = &["Retain", "Delete"];

/// What statuses count: fields that are not below zero, those that are not above `replicas`, and what is said of a number
/// that is above `readyReplicas`.
type Counts = (&'static [&'static str], &'static [&'static str], &'static str);

const OF_DEPLOYMENT: Counts = (
    &[
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ],
    &["updatedReplicas", "readyReplicas", "availableReplicas"],
    "cannot be greater than readyReplicas",
);
const OF_REPLICA_SET: Counts = (
    &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
    &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"],
    "cannot be greater than readyReplicas",
);
const OF_STATEFUL_SET: Counts = (
    &[
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ],
    &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
    "cannot be greater than status.readyReplicas",
);
const OF_DAEMON_SET: Counts = (
    &[
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ],
    &[],
    "",
);

/// What is wrong with a workload.
pub(super) fn faults(resource: &Resource, value: &Value) -> Vec<Cause> {
    let rows = match resource.plural.as_str() {
        "deployments" => DEPLOYMENT,
        "statefulsets" => STATEFUL_SET,
        "daemonsets" => DAEMON_SET,
        _ => REPLICA_SET,
    };
    let mut causes = Vec::new();
    let spec = &value["spec"];
    check(rows, spec, "spec", &mut causes);
    let kind = match resource.plural.as_str() {
        "statefulsets" => "statefulset",
        "daemonsets" => "daemonset",
        // Those of ReplicaSets were copied.
        _ => return causes,
    };
    if kind == "daemonset" {
        // Of those the selector is not asked for, and what it means not said twice.
        causes.retain(|cause| {
            cause.field != "spec.selector"
                || !(cause.reason == "FieldValueRequired"
                    || cause.message.ends_with("invalid label selector"))
        });
    }
    for cause in &mut causes {
        if cause.field == "spec.selector" {
            cause.message = cause.message.replace("for deployment", &format!("for {kind}"));
        }
        if cause.field == "spec.template.spec.activeDeadlineSeconds" {
            let kind = if kind == "daemonset" { "DaemonSet" } else { "StatefulSet" };
            cause.message = cause.message.replace("in ReplicaSet", &format!("in {kind}"));
        }
    }
    causes
}

/// What is wrong with a status, and with what it has become.
pub(super) fn status_faults(resource: &Resource, new: &Value, old: &Value) -> Vec<Cause> {
    let (naturals, bounded, above_ready) = match resource.plural.as_str() {
        "deployments" => OF_DEPLOYMENT,
        "replicasets" => OF_REPLICA_SET,
        "statefulsets" => OF_STATEFUL_SET,
        "daemonsets" => OF_DAEMON_SET,
        _ => return Vec::new(),
    };
    let mut causes = Vec::new();
    let (status, count) = (&new["status"], |field: &str| new["status"][field].as_i64().unwrap_or_default());
    for field in naturals {
        rules::check(&[("", Rule::Natural)], &status[*field], &format!("status.{field}"), &mut causes);
    }
    let mut above = |field: &str, why: &str| {
        causes.push(cause::invalid(format!("status.{field}"), &json!(count(field)), why));
    };
    for field in bounded.iter().filter(|field| count(field) > count("replicas")) {
        above(field, "cannot be greater than status.replicas");
    }
    if !bounded.is_empty() && count("availableReplicas") > count("readyReplicas") {
        above("availableReplicas", above_ready);
    }
    let before = old["status"]["collisionCount"].as_i64();
    if before.is_some_and(|before| count("collisionCount") < before) && resource.plural != "replicasets" {
        above("collisionCount", "cannot be decremented");
    }
    causes
}

/// What is wrong with a pod template by itself (`ValidatePodTemplateSpec`).
pub(super) fn template_faults(template: &Value, path: &str, causes: &mut Vec<Cause>) {
    let metadata = &template["metadata"];
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let at = join(path, "labels");
        causes.extend(grammar(&at, key, names::qualified_name));
        causes.extend(grammar(&at, text(value), names::label_value));
    }
    for (key, _) in metadata["annotations"].as_object().into_iter().flatten() {
        causes.extend(grammar(&join(path, "annotations"), &key.to_lowercase(), names::qualified_name));
    }
    causes.extend(pod_spec::faults(&template["spec"], &join(path, "spec")));
    if !items(&template["spec"]["ephemeralContainers"]).is_empty() {
        let at = join(path, "spec.ephemeralContainers");
        causes.push(cause::forbidden(at, "ephemeral containers not allowed in pod template"));
    }
}

/// The pods of the template are those that the selector means, and go on for ever.
fn selected(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (at, selector) = (join(path, "selector"), &spec["selector"]);
    let (template, below) = (&spec["template"], join(path, "template"));
    let labels = storage::labels(template);
    let before = causes.len();
    if selector.is_null() {
        causes.push(cause::required(&at, ""));
        causes.push(mismatch(template, &below));
    } else {
        check(&[("", Rule::Selector)], selector, &at, causes);
        if LabelSelector::from_object(selector).is_none() || causes.len() > before {
            causes.push(cause::invalid(&at, selector, "invalid label selector"));
            return;
        }
        match LabelSelector::from_object(selector) {
            Some(parsed) if parsed.is_empty() => {
                causes.push(cause::invalid(&at, selector, "empty selector is invalid for deployment"));
            }
            Some(parsed) if !parsed.matches(&labels) => causes.push(mismatch(template, &below)),
            _ => {}
        }
    }
    let claims = items(&spec["volumeClaimTemplates"]);
    if claims.is_empty() {
        template_faults(template, &below, causes);
    } else {
        template_faults(&with_claims(template, claims), &below, causes);
    }
    let policy = &template["spec"]["restartPolicy"];
    if !policy.is_null() && policy != "Always" {
        causes.push(not_supported(&join(&below, "spec.restartPolicy"), policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let why = "activeDeadlineSeconds in ReplicaSet is not Supported";
        causes.push(cause::forbidden(join(&below, "spec.activeDeadlineSeconds"), why));
    }
}

/// The template as its pods will have it: with a volume for every claim, and without those of the same names.
fn with_claims(template: &Value, claims: &[Value]) -> Value {
    let name = |claim: &Value| claim["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = claims.iter().map(name).collect();
    let mut volumes: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    let own = items(&template["spec"]["volumes"]);
    volumes.extend(
        own.iter()
            .filter(|volume| !volume["name"].as_str().is_some_and(|name| names.contains(name)))
            .cloned(),
    );
    let mut template = template.clone();
    template["spec"]["volumes"] = Value::Array(volumes);
    template
}

fn mismatch(template: &Value, path: &str) -> Cause {
    let why = "`selector` does not match template `labels`";
    cause::invalid(join(path, "metadata.labels"), &template["metadata"]["labels"], why)
}

fn deadline(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let seconds = &spec["progressDeadlineSeconds"];
    let least = spec["minReadySeconds"].as_i64().unwrap_or_default();
    if seconds.as_i64().is_some_and(|seconds| seconds <= least) {
        let at = join(path, "progressDeadlineSeconds");
        causes.push(cause::invalid(at, seconds, "must be greater than minReadySeconds"));
    }
}

/// A strategy as Go's internal type.
fn shown(strategy: &Value, fields: [(&str, &str); 2]) -> String {
    let rolling = &strategy["rollingUpdate"];
    let rolling = if rolling.is_null() {
        "null".to_owned()
    } else {
        let fields = fields.map(|(name, field)| format!("{name:?}:{}", rolling[field]));
        format!("{{{}}}", fields.join(","))
    };
    format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", strategy["type"])
}

const DEPLOYMENT_ROLLING: [(&str, &str); 2] =
    [("MaxUnavailable", "maxUnavailable"), ("MaxSurge", "maxSurge")];

fn strategy(strategy: &Value, path: &str, causes: &mut Vec<Cause>) {
    let rolling = &strategy["rollingUpdate"];
    let at = join(path, "rollingUpdate");
    match text(&strategy["type"]) {
        "Recreate" => {
            if !rolling.is_null() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                causes.push(cause::forbidden(at, why));
            }
        }
        "RollingUpdate" => {
            for field in ["maxUnavailable", "maxSurge"] {
                amount(&rolling[field], &join(&at, field), causes);
            }
            if number(&rolling["maxUnavailable"]) == 0 && number(&rolling["maxSurge"]) == 0 {
                let why = "may not be 0 when `maxSurge` is 0";
                causes.push(cause::invalid(join(&at, "maxUnavailable"), &rolling["maxUnavailable"], why));
            }
            whole(&rolling["maxUnavailable"], &join(&at, "maxUnavailable"), causes);
        }
        _ => unsupported(strategy, path, DEPLOYMENT_ROLLING, &["Recreate", "RollingUpdate"], causes),
    }
}

fn unsupported(
    strategy: &Value,
    path: &str,
    fields: [(&str, &str); 2],
    known: &[&str],
    causes: &mut Vec<Cause>,
) {
    let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
    let fault =
        format!("Unsupported value: {}: supported values: {}", shown(strategy, fields), known.join(", "));
    causes.push(Cause::new("FieldValueNotSupported", path, fault));
}

fn daemon_strategy(strategy: &Value, path: &str, causes: &mut Vec<Cause>) {
    let rolling = &strategy["rollingUpdate"];
    let at = join(path, "rollingUpdate");
    match text(&strategy["type"]) {
        "OnDelete" => {}
        "RollingUpdate" => {
            let fields = ["maxUnavailable", "maxSurge"];
            for field in fields {
                amount(&rolling[field], &join(&at, field), causes);
            }
            for field in fields {
                whole(&rolling[field], &join(&at, field), causes);
            }
            match fields.map(|field| number(&rolling[field]) != 0) {
                [true, true] => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    causes.push(cause::invalid(join(&at, "maxSurge"), &rolling["maxSurge"], why));
                }
                [false, false] => {
                    let why = "cannot be 0 when maxSurge is 0";
                    causes.push(cause::required(join(&at, "maxUnavailable"), why));
                }
                _ => {}
            }
        }
        _ => unsupported(strategy, path, DEPLOYMENT_ROLLING, &["RollingUpdate", "OnDelete"], causes),
    }
}

fn stateful_strategy(strategy: &Value, path: &str, causes: &mut Vec<Cause>) {
    const FIELDS: [(&str, &str); 2] = [("Partition", "partition"), ("MaxUnavailable", "maxUnavailable")];
    let rolling = &strategy["rollingUpdate"];
    let at = join(path, "rollingUpdate");
    match text(&strategy["type"]) {
        "OnDelete" => {
            if !rolling.is_null() {
                let fields = FIELDS.map(|(name, field)| format!("{name:?}:{}", rolling[field]));
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                let fault = format!("Invalid value: {{{}}}: {why}", fields.join(","));
                causes.push(Cause::new("FieldValueInvalid", at, fault));
            }
        }
        "RollingUpdate" => {
            check(&[("", Rule::Natural)], &rolling["partition"], &join(&at, "partition"), causes);
        }
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            let fault = format!("Invalid value: {}: {why}", shown(strategy, FIELDS));
            causes.push(Cause::new("FieldValueInvalid", path, fault));
        }
    }
}

fn management(policy: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !matches!(text(policy), "OrderedReady" | "Parallel") {
        causes.push(cause::invalid(path, policy, "must be 'OrderedReady' or 'Parallel'"));
    }
}

fn claims(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, claim) in items(&spec["volumeClaimTemplates"]).iter().enumerate() {
        let at = format!("{path}.volumeClaimTemplates[{index}]");
        causes.extend(persistent_volume_claim::faults(claim).into_iter().map(|cause| within(&at, cause)));
    }
}

/// A number that is not below zero, or a share.
fn amount(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let before = causes.len();
    share(value, path, causes);
    // That it is not more than all is another rule.
    let kept = |cause: &Cause| !cause.message.ends_with("must not be greater than 100%");
    let own: Vec<Cause> = causes.drain(before..).filter(kept).collect();
    causes.extend(own);
}

fn whole(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let share = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    if share.is_some_and(|share| share > 100) {
        causes.push(cause::invalid(path, value, "must not be greater than 100%"));
    }
}

/// A number or the number of a share; what is neither counts as nothing.
fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| {
        value.as_str().and_then(|text| text.strip_suffix('%')?.parse().ok()).unwrap_or_default()
    })
}
