//! What no plugin may do: change who a child is, take what is not the parent's, or add what was not declared. Pure.

use serde_json::{Map, Value, json};

use super::apply::{DEPTH_MAX, OBJECT_BYTES_MAX};
use super::contract::{Declaration, Role, Said};
use super::extras::ExtraId;
use crate::api::shared::without_nulls;
use crate::names;
use crate::observe::{Kind, Resource};

/// Prefix of the labels by which children are found.
const IDENTITY: &str = "dask.org/";
/// Metadata that only the operator or the API server writes.
const FOREIGN_METADATA: [&str; 8] = [
    "ownerReferences",
    "finalizers",
    "generateName",
    "uid",
    "resourceVersion",
    "managedFields",
    "deletionTimestamp",
    "generation",
];
/// Environment by which a worker and the scheduler find each other, and the operator finds both.
const ENVIRONMENT: [&str; 2] = ["DASK_WORKER_NAME", "DASK_SCHEDULER_ADDRESS"];

/// Whether an edited child is still the one that was built.
pub fn same_identity(role: Role, built: &Value, edited: &Value) -> Result<(), String> {
    well_formed(edited).map_err(|why| format!("{role}: {why}"))?;
    let (before, after) = (identity(role, built), identity(role, edited));
    match first_difference(&before, &after) {
        None => Ok(()),
        Some(what) => Err(format!("{what} of {role} may not be changed: by it the operator knows the child")),
    }
}

/// Labels and annotations are objects of texts, if there are any.
fn well_formed(object: &Value) -> Result<(), String> {
    for field in ["labels", "annotations"] {
        let map = &object["metadata"][field];
        let texts = map.as_object().is_some_and(|map| map.values().all(Value::is_string));
        if !map.is_null() && !texts {
            return Err(format!("metadata.{field} is not an object of texts"));
        }
    }
    Ok(())
}

/// What makes a child the one it is, by where it stands.
fn identity(role: Role, object: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    let mut keep = |path: &str, value: Value| {
        found.insert(path.to_owned(), value);
    };
    let at = |path: &str| object.pointer(path).cloned().unwrap_or_default();
    for path in ["/apiVersion", "/kind", "/status"] {
        keep(path, at(path));
    }
    let mut metadata = object["metadata"].as_object().cloned().unwrap_or_default();
    metadata.remove("labels");
    metadata.remove("annotations");
    keep("/metadata", Value::Object(metadata));
    keep("/metadata/labels", own_keys(&object["metadata"]["labels"]));
    keep("/metadata/annotations", own_keys(&object["metadata"]["annotations"]));
    let paths: &[&str] = match (role, object["kind"].as_str()) {
        (_, Some("Deployment")) => &["/spec/selector", "/spec/replicas", "/spec/strategy"],
        (Role::Service, _) => &["/spec/selector"],
        (Role::WorkerGroup, _) => &["/spec/cluster", "/spec/worker/replicas"],
        _ => &[],
    };
    for path in paths {
        keep(path, at(path));
    }
    if object["kind"] == "Deployment" {
        keep("/spec/template/metadata/labels", own_keys(&object["spec"]["template"]["metadata"]["labels"]));
    }
    if matches!(role, Role::Worker | Role::Runner) {
        let pod = if object["kind"] == "Deployment" {
            &object["spec"]["template"]["spec"]
        } else {
            &object["spec"]
        };
        keep("the environment", environment(pod));
    }
    found
}

/// The keys of labels or annotations that are the operator's own.
fn own_keys(map: &Value) -> Value {
    let own = |key: &str| key.starts_with(IDENTITY) || key.starts_with(names::OWN_PREFIX);
    let kept = map.as_object().into_iter().flatten().filter(|(key, _)| own(key));
    Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn environment(pod: &Value) -> Value {
    let containers = pod["containers"].as_array().into_iter().flatten();
    let known = containers.filter_map(|container| {
        let entries = container["env"].as_array().into_iter().flatten();
        let own: Vec<&Value> =
            entries.filter(|entry| ENVIRONMENT.iter().any(|name| entry["name"] == *name)).collect();
        (!own.is_empty()).then(|| (container["name"].as_str().unwrap_or_default().to_owned(), json!(own)))
    });
    Value::Object(known.collect())
}

fn first_difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Option<String> {
    before.iter().find(|(path, value)| after.get(*path) != Some(value)).map(|(path, _)| path.clone())
}

/// Who an added child is, and what it is made of; or what is wrong with it.
pub fn addition(parent: &Resource, plugin: &Declaration, object: &Value) -> Result<(ExtraId, Value), String> {
    let object = without_nulls(object.clone());
    let (api_version, kind) = (text(&object, "apiVersion")?, text(&object, "kind")?);
    let metadata = object["metadata"].as_object().ok_or("the object to be added has no metadata")?;
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    if !is_name(name) {
        return Err(format!("the {kind} to be added has no name that Kubernetes takes: {name:?}"));
    }
    let what = format!("{kind} {name}");
    let type_ =
        plugin.kinds.iter().find(|known| known.api_version == api_version && known.kind == kind).ok_or_else(
            || format!("{what}: the plugin has not declared that it adds {kind} ({api_version})"),
        )?;
    if let Some(namespace) = metadata.get("namespace").filter(|given| **given != *parent.namespace()) {
        return Err(format!("{what}: it is to be made in namespace {namespace} and not in its parent's"));
    }
    if let Some(field) = FOREIGN_METADATA.iter().find(|field| metadata.contains_key(**field)) {
        return Err(format!("{what}: metadata.{field} is not for plugins to write"));
    }
    well_formed(&object).map_err(|why| format!("{what}: {why}"))?;
    if !object["status"].is_null() {
        return Err(format!("{what}: its status is not for plugins to write"));
    }
    let labels = own_keys(&object["metadata"]["labels"]);
    let cluster = cluster_of(parent);
    let foreign = labels.as_object().into_iter().flatten().find(|(key, value)| {
        !(key.as_str() == names::CLUSTER_NAME && cluster.is_some_and(|cluster| *value == cluster))
    });
    if let Some((key, _)) = foreign {
        return Err(format!("{what}: the label {key} is the operator's"));
    }
    if let Some(key) =
        own_keys(&object["metadata"]["annotations"]).as_object().and_then(|map| map.keys().next())
    {
        return Err(format!("{what}: the annotation {key} is the operator's"));
    }
    if type_.group() == names::GROUP {
        own_kind(parent, kind, &object).map_err(|why| format!("{what}: {why}"))?;
    }
    if names::is_given(kind, name) {
        return Err(format!(
            "{what}: that is a name that the operator gives, here or to another cluster's children"
        ));
    }
    if let Some(key) = passing_for(&object, cluster) {
        return Err(format!("{what}: the label {key} of its pods is the operator's"));
    }
    let bytes = object.to_string().len();
    if bytes > OBJECT_BYTES_MAX {
        return Err(format!("{what}: it has {bytes} bytes, at most {OBJECT_BYTES_MAX} are allowed"));
    }
    Ok((ExtraId::new(type_, parent.namespace(), name), object))
}

/// The label by which what an object makes, such as the pods of a Job, would be taken for a part of Dask's or of another cluster.
fn passing_for<'a>(object: &'a Value, cluster: Option<&str>) -> Option<&'a str> {
    let inner: Vec<&Value> = match object {
        Value::Object(map) => map.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => return None,
    };
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let foreign = |(key, value): &(&String, &Value)| {
        let own = key.as_str() == names::CLUSTER_NAME && cluster.is_some_and(|cluster| **value == cluster);
        (key.starts_with(IDENTITY) || key.starts_with(names::OWN_PREFIX)) && !own
    };
    let found = labels.into_iter().find(foreign).map(|(key, _)| key.as_str());
    found.or_else(|| inner.into_iter().find_map(|inner| passing_for(inner, cluster)))
}

/// Resources of ours have children of their own: only a cluster may get more of them, so that nothing begets itself.
fn own_kind(parent: &Resource, kind: &str, object: &Value) -> Result<(), String> {
    if parent.key.kind != Kind::Cluster || !matches!(kind, "DaskWorkerGroup" | "DaskAutoscaler") {
        return Err("only to a DaskCluster may more groups and autoscalers be added".into());
    }
    if object["spec"]["cluster"] != *parent.name() {
        return Err(format!("its spec.cluster must be {}", parent.name()));
    }
    // Clients find a cluster's autoscaler by the cluster's name.
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let ours = name.strip_prefix(parent.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if kind == "DaskAutoscaler" && !ours {
        return Err(format!(
            "it is named as another cluster's would be: call it {parent} or {parent}-…",
            parent = parent.name()
        ));
    }
    Ok(())
}

/// The cluster that a parent belongs to.
pub fn cluster_of(parent: &Resource) -> Option<&str> {
    match parent.key.kind {
        Kind::Cluster | Kind::Job => Some(parent.name()),
        Kind::WorkerGroup | Kind::Autoscaler => parent.follows(),
    }
}

/// How many levels of objects and lists a value has; of what is nested without end, only that there are too many. Whoever walks
/// through a value needs room on the stack for each of them.
pub fn depth(value: &Value) -> usize {
    fn within(value: &Value, most: usize) -> usize {
        let inner: &mut dyn Iterator<Item = &Value> = match value {
            Value::Object(map) => &mut map.values(),
            Value::Array(items) => &mut items.iter(),
            _ => return 0,
        };
        if most == 0 { 1 } else { 1 + inner.map(|inner| within(inner, most - 1)).max().unwrap_or(0) }
    }
    within(value, DEPTH_MAX)
}

/// Whether a condition can be told beside the operator's own.
pub fn condition(said: &Said) -> Result<(), String> {
    let kind = &said.kind;
    let (prefix, name) = kind.split_once('/').unwrap_or(("", kind));
    let word = |text: &str| {
        !text.is_empty() && text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if !is_name(prefix) || !word(name) {
        return Err(format!("the condition {kind:?} needs a prefix, such as mesh.example.org/Routed"));
    }
    if !word(&said.reason) || !said.reason.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("the condition {kind} has no reason in CamelCase: {:?}", said.reason));
    }
    if said.message.len() > 1_024 {
        return Err(format!("the message of the condition {kind} has more than 1024 bytes"));
    }
    Ok(())
}

fn text<'a>(object: &'a Value, field: &str) -> Result<&'a str, String> {
    let found = object[field].as_str().filter(|text| !text.is_empty());
    found.ok_or_else(|| format!("the object to be added has no {field}"))
}

/// Whether this can be the name of an object: a DNS subdomain.
pub fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}
