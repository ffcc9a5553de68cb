//! Autoscalers as autoscaling/v1 shows them: what it has no field for stands in annotations, as
//! `pkg/apis/autoscaling/v1/conversion.go` writes them.

use serde_json::{Map, Value, json};

use super::go_text;
use super::strategy::rules::items;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// The utilization that is aimed at where nobody says anything.
const DEFAULT_UTILIZATION: i64 = 80;

/// A field of a metric in autoscaling/v1's annotations, where autoscaling/v2 has it, and whether it is always written.
type Fields = &'static [(&'static str, &'static str, bool)];

/// Type, field, and fields of the wanted and of the current metric, in the order in which Go writes them.
const SOURCES: [(&str, &str, Fields, Fields); 5] = [
    (
        "Object",
        "object",
        &[
            ("target", "/describedObject", true),
            ("metricName", "/metric/name", true),
            ("targetValue", "/target/value", true),
            ("selector", "/metric/selector", false),
            ("averageValue", "/target/averageValue", false),
        ],
        &[
            ("target", "/describedObject", true),
            ("metricName", "/metric/name", true),
            ("currentValue", "/current/value", true),
            ("selector", "/metric/selector", false),
            ("averageValue", "/current/averageValue", false),
        ],
    ),
    (
        "Pods",
        "pods",
        &[
            ("metricName", "/metric/name", true),
            ("targetAverageValue", "/target/averageValue", true),
            ("selector", "/metric/selector", false),
        ],
        &[
            ("metricName", "/metric/name", true),
            ("currentAverageValue", "/current/averageValue", true),
            ("selector", "/metric/selector", false),
        ],
    ),
    (
        "Resource",
        "resource",
        &[
            ("name", "/name", true),
            ("targetAverageUtilization", "/target/averageUtilization", false),
            ("targetAverageValue", "/target/averageValue", false),
        ],
        &[
            ("name", "/name", true),
            ("currentAverageUtilization", "/current/averageUtilization", false),
            ("currentAverageValue", "/current/averageValue", true),
        ],
    ),
    (
        "External",
        "external",
        &[
            ("metricName", "/metric/name", true),
            ("metricSelector", "/metric/selector", false),
            ("targetValue", "/target/value", false),
            ("targetAverageValue", "/target/averageValue", false),
        ],
        &[
            ("metricName", "/metric/name", true),
            ("metricSelector", "/metric/selector", false),
            ("currentValue", "/current/value", true),
            ("currentAverageValue", "/current/averageValue", false),
        ],
    ),
    (
        "ContainerResource",
        "containerResource",
        &[
            ("name", "/name", true),
            ("targetAverageUtilization", "/target/averageUtilization", false),
            ("targetAverageValue", "/target/averageValue", false),
            ("container", "/container", true),
        ],
        &[
            ("name", "/name", true),
            ("currentAverageUtilization", "/current/averageUtilization", false),
            ("currentAverageValue", "/current/averageValue", true),
            ("container", "/container", true),
        ],
    ),
];

/// The field that describes a metric of this type.
pub(crate) fn source_field(kind: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(name, ..)| *name == kind).map(|(_, field, ..)| *field)
}

/// From autoscaling/v2 to autoscaling/v1.
pub(super) fn to_v1(autoscaler: &mut Value) {
    drop_annotations(autoscaler);
    let take = |value: &mut Value, field: &str| {
        value.as_object_mut().and_then(|fields| fields.remove(field)).unwrap_or_default()
    };
    let metrics = take(&mut autoscaler["spec"], "metrics");
    let is_cpu = |metric: &&Value| {
        metric["resource"]["name"] == "cpu" && !metric["resource"]["target"]["averageUtilization"].is_null()
    };
    let metrics = items(&metrics);
    if let Some(cpu) = metrics.iter().rfind(is_cpu) {
        autoscaler["spec"]["targetCPUUtilizationPercentage"] =
            cpu["resource"]["target"]["averageUtilization"].clone();
    }
    let others: Vec<String> =
        metrics.iter().filter(|metric| !is_cpu(metric)).map(|metric| written(metric, false)).collect();
    annotate(autoscaler, METRICS, &others);
    let behavior = take(&mut autoscaler["spec"], "behavior");
    if !behavior.is_null() {
        let text = format!(
            "{{\"ScaleUp\":{},\"ScaleDown\":{}}}",
            rules(&behavior["scaleUp"]),
            rules(&behavior["scaleDown"])
        );
        autoscaler["metadata"]["annotations"][BEHAVIOR] = json!(text);
    }
    let Some(status) = autoscaler.get_mut("status").filter(|status| status.is_object()) else { return };
    let current = take(status, "currentMetrics");
    let conditions = take(status, "conditions");
    let named = |metric: &&Value| metric["resource"]["name"] == "cpu";
    if let Some(share) =
        items(&current).iter().find(named).map(|m| &m["resource"]["current"]["averageUtilization"])
        && !share.is_null()
    {
        status["currentCPUUtilizationPercentage"] = share.clone();
    }
    for field in ["currentReplicas", "desiredReplicas"] {
        if status[field].is_null() {
            status[field] = json!(0);
        }
    }
    let current: Vec<String> = items(&current).iter().map(|metric| written(metric, true)).collect();
    annotate(autoscaler, CURRENT, &current);
    let order = ["type", "status", "lastTransitionTime", "reason", "message"];
    let condition = |condition: &Value| go_text::ordered(condition, &order);
    let conditions: Vec<String> = items(&conditions).iter().map(condition).collect();
    annotate(autoscaler, CONDITIONS, &conditions);
}

/// From autoscaling/v1 to autoscaling/v2.
pub(crate) fn to_v2(autoscaler: &mut Value) {
    let read = |autoscaler: &Value, name: &str| -> Option<Value> {
        serde_json::from_str(autoscaler["metadata"]["annotations"][name].as_str()?).ok()
    };
    let mut metrics: Vec<Value> = read(autoscaler, METRICS)
        .map(|all| items(&all).iter().map(|metric| restored(metric, false)).collect())
        .unwrap_or_default();
    let spec = autoscaler["spec"].as_object_mut();
    let share = spec.and_then(|spec| spec.remove("targetCPUUtilizationPercentage"));
    let share = share.or_else(|| metrics.is_empty().then(|| json!(DEFAULT_UTILIZATION)));
    if let Some(share) = share {
        let target = json!({"type": "Utilization", "averageUtilization": share});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if autoscaler["spec"].is_object() {
        autoscaler["spec"]["metrics"] = json!(metrics);
        if let Some(behavior) = read(autoscaler, BEHAVIOR) {
            autoscaler["spec"]["behavior"] = tagged(&behavior);
        }
    }
    let current = read(autoscaler, CURRENT);
    let conditions = read(autoscaler, CONDITIONS);
    drop_annotations(autoscaler);
    let Some(status) = autoscaler.get_mut("status").and_then(Value::as_object_mut) else { return };
    let share = status.remove("currentCPUUtilizationPercentage");
    if let Some(current) = current {
        let restored = items(&current).iter().map(|metric| restored(metric, true)).collect();
        status.insert("currentMetrics".into(), restored);
    } else if let Some(share) = share {
        let current = json!({"averageUtilization": share});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "current": current}});
        status.insert("currentMetrics".into(), json!([metric]));
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".into(), conditions);
    }
}

fn annotate(autoscaler: &mut Value, name: &str, list: &[String]) {
    if !list.is_empty() {
        autoscaler["metadata"]["annotations"][name] = json!(format!("[{}]", list.join(",")));
    }
}

fn drop_annotations(autoscaler: &mut Value) {
    let Some(metadata) = autoscaler.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    annotations.retain(|name, _| ![METRICS, CURRENT, BEHAVIOR, CONDITIONS].contains(&name.as_str()));
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

/// A metric as autoscaling/v1 writes it into its annotation.
fn written(metric: &Value, current: bool) -> String {
    let kind = metric["type"].as_str().unwrap_or_default();
    let Some((_, field, wanted, is)) = SOURCES.iter().find(|(name, ..)| *name == kind) else {
        return json!({"type": kind}).to_string();
    };
    let fields = if current { is } else { wanted };
    let members = fields.iter().filter_map(|(name, place, always)| {
        let value = metric[*field].pointer(place).filter(|value| !value.is_null());
        let text = match value {
            Some(value) if *name == "target" => go_text::ordered(value, &["kind", "name", "apiVersion"]),
            Some(value) => value.to_string(),
            // A quantity that nobody has set is zero.
            None if *always => json!("0").to_string(),
            None => return None,
        };
        Some(format!("{name:?}:{text}"))
    });
    format!("{{\"type\":{kind:?},{field:?}:{{{}}}}}", members.collect::<Vec<_>>().join(","))
}

/// A metric from what [`written`] has made of it.
fn restored(metric: &Value, current: bool) -> Value {
    let kind = metric["type"].as_str().unwrap_or_default();
    let mut restored = json!({"type": kind});
    let Some((_, field, wanted, is)) = SOURCES.iter().find(|(name, ..)| *name == kind) else {
        return restored;
    };
    let mut source = Value::Object(Map::new());
    for (name, place, _) in if current { *is } else { *wanted } {
        let Some(value) = metric[*field].get(*name) else { continue };
        // Beside an average, zero is what nobody has set.
        if *value == "0" && !metric[*field]["averageValue"].is_null() && *name != "averageValue" {
            continue;
        }
        let parts: Vec<&str> = place.split('/').skip(1).collect();
        let mut at = &mut source;
        for part in parts {
            at = &mut at[part];
        }
        *at = value.clone();
    }
    if !current {
        let target = &mut source["target"];
        let type_of =
            [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
        if let Some((_, kind)) = type_of.iter().find(|(field, _)| !target[*field].is_null()) {
            target["type"] = json!(kind);
        }
    }
    restored[*field] = source;
    restored
}

/// Scaling rules with the names of their Go type.
fn rules(rules: &Value) -> String {
    if rules.is_null() {
        return "null".to_owned();
    }
    let policy = |policy: &Value| {
        format!(
            "{{\"Type\":{},\"Value\":{},\"PeriodSeconds\":{}}}",
            policy["type"], policy["value"], policy["periodSeconds"]
        )
    };
    let policies: Vec<String> = items(&rules["policies"]).iter().map(policy).collect();
    format!(
        "{{\"StabilizationWindowSeconds\":{},\"SelectPolicy\":{},\"Policies\":[{}],\"Tolerance\":{}}}",
        rules["stabilizationWindowSeconds"],
        rules["selectPolicy"],
        policies.join(","),
        rules["tolerance"]
    )
}

/// A value with the names of its JSON instead of those of its Go type, without what is null.
fn tagged(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let name = |field: &str| {
                let mut letters = field.chars();
                letters.next().map(|first| first.to_ascii_lowercase().to_string() + letters.as_str())
            };
            let set = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.filter_map(|(field, value)| Some((name(field)?, tagged(value)))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(tagged).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_version_cannot_say_survives_the_way_there_and_back() {
        let autoscaler = json!({
            "metadata": {"name": "a"},
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
                ],
                "behavior": {"scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 5}]}},
            },
            "status": {"currentReplicas": 1, "desiredReplicas": 2, "conditions": [{"type": "AbleToScale", "status": "True"}]},
        });
        let mut changed = autoscaler.clone();
        to_v1(&mut changed);
        assert_eq!(changed["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 60}));
        assert_eq!(changed["status"], json!({"currentReplicas": 1, "desiredReplicas": 2}));
        to_v2(&mut changed);
        assert_eq!(changed, autoscaler);
    }
}
