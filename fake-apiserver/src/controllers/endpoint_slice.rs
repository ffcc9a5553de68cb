//! EndpointSlices: at most a hundred endpoints each, of pods that serve the same ports.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::backends::{Backed, Backend, Port, Selectors, target_ref};
use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{SLICES, controller_ref, items, set_annotation, text, time};
use super::queue::{Queue, Work};
use crate::status::Status;
use crate::storage::{Key, LabelSelector, Stored};

const MOST: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Writes EndpointSlices.
#[derive(Default)]
pub(crate) struct EndpointSlices {
    selectors: Selectors,
}

impl ControlLoop for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        self.selectors.observe(seen, queue);
        if seen.resource() == ("discovery.k8s.io", "endpointslices") && seen.change.after.is_none() {
            let object = seen.object();
            if let Some(service) = object.meta.labels.get(SERVICE_NAME) {
                queue
                    .add(Work { about: "services", key: Key::new(&object.key.namespace, service) }, seen.now);
            }
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        // Without the Service, or without its selector, garbage collection or somebody else sees to the slices.
        let Some(backed) = Backed::read(&work.key, context).filter(|b| !b.service.meta.deleting) else {
            return Ok(None);
        };
        let own = json!({"matchLabels": {SERVICE_NAME: work.key.name, MANAGED_BY: MANAGER}});
        let selector = LabelSelector::from_object(&own).unwrap_or_default();
        let known = context.api.select(&SLICES, Some(&work.key.namespace), &selector);
        let known = known.into_iter().filter(|slice| !slice.meta.deleting).collect();
        write(&backed, known, context).map(|()| None)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// One slice as it is to be.
struct Slice {
    known: Option<(Arc<Stored>, Value)>,
    ports: Option<Vec<Port>>,
    endpoints: Vec<Value>,
}

/// Brings the slices of a Service to what stands behind it, moving as few endpoints as possible.
fn write(backed: &Backed, known: Vec<Arc<Stored>>, context: &mut Context<'_, '_>) -> Result<(), Status> {
    let mut groups: BTreeMap<Vec<Port>, BTreeMap<String, Value>> = BTreeMap::new();
    for backend in &backed.backends {
        groups
            .entry(backend.ports.clone())
            .or_default()
            .insert(backend.pod.stored.meta.uid.clone(), endpoint(backed, backend));
    }
    let mut spare: Vec<(Arc<Stored>, Value)> = Vec::new();
    let mut slices: Vec<Slice> = Vec::new();
    for stored in known {
        let value = stored.value();
        let ports = groups.keys().find(|ports| value["ports"] == ports_value(ports)).cloned();
        match ports {
            Some(ports) => slices.push(kept(stored, value, ports, &mut groups)),
            None => spare.push((stored, value)),
        }
    }
    for (ports, endpoints) in groups {
        let mut left: Vec<Value> = endpoints.into_values().collect();
        for slice in slices.iter_mut().filter(|slice| slice.ports.as_ref() == Some(&ports)) {
            let room = MOST.saturating_sub(slice.endpoints.len()).min(left.len());
            slice.endpoints.extend(left.drain(..room));
        }
        for chunk in left.chunks(MOST) {
            let known = (!spare.is_empty()).then(|| spare.remove(0));
            slices.push(Slice { known, ports: Some(ports.clone()), endpoints: chunk.to_vec() });
        }
    }
    // A Service always has a slice, if an empty one; other empty ones go.
    let (mut full, empty): (Vec<Slice>, Vec<Slice>) =
        slices.into_iter().partition(|s| !s.endpoints.is_empty());
    spare.extend(empty.into_iter().filter_map(|slice| slice.known));
    if full.is_empty() {
        let known = (!spare.is_empty()).then(|| spare.remove(0));
        full.push(Slice { known, ports: None, endpoints: Vec::new() });
    }
    for (stored, _) in spare {
        context.api.delete(&SLICES, &stored.key, json!({"preconditions": {"uid": stored.meta.uid}}))?;
    }
    full.into_iter().try_for_each(|slice| put(backed, slice, context))
}

/// A slice with those of its endpoints that are still wanted, as they are now, in their places.
fn kept(
    stored: Arc<Stored>,
    value: Value,
    ports: Vec<Port>,
    groups: &mut BTreeMap<Vec<Port>, BTreeMap<String, Value>>,
) -> Slice {
    let wanted = groups.get_mut(&ports);
    let endpoints = match wanted {
        Some(wanted) => items(&value["endpoints"])
            .iter()
            .filter_map(|endpoint| wanted.remove(text(&endpoint["targetRef"]["uid"])))
            .collect(),
        None => Vec::new(),
    };
    Slice { known: Some((stored, value)), ports: Some(ports), endpoints }
}

fn put(backed: &Backed, slice: Slice, context: &mut Context<'_, '_>) -> Result<(), Status> {
    let service = &backed.service;
    let labels = backed.labels(&[(SERVICE_NAME, service.key.name.as_str()), (MANAGED_BY, MANAGER)]);
    let ports = slice.ports.as_deref().map_or(Value::Null, ports_value);
    let endpoints = if slice.endpoints.is_empty() { Value::Null } else { slice.endpoints.into() };
    if let Some((_, before)) = slice.known {
        let mut value = before.clone();
        value["metadata"]["labels"] = labels;
        value["endpoints"] = endpoints;
        value["ports"] = ports;
        if value == before || without_nulls(&value) == without_nulls(&before) {
            return Ok(());
        }
        set_annotation(&mut value, TRIGGERED, &time(context.now));
        return context.api.update(&SLICES, value).map(drop);
    }
    let base = format!("{}-", service.key.name);
    let mut name = base.clone();
    name.truncate(58);
    name.push_str(&context.suffixes.next());
    let mut value = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "generateName": base, "namespace": service.key.namespace, "labels": labels,
            "ownerReferences": [controller_ref(service, "v1", "Service")],
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    });
    set_annotation(&mut value, TRIGGERED, &time(context.now));
    context.api.create(&SLICES, value).map(drop)
}

/// The server may keep an absent list as null or leave it out.
fn without_nulls(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(map) = &mut value {
        map.retain(|_, field| !field.is_null());
    }
    value
}

fn ports_value(ports: &[Port]) -> Value {
    if ports.is_empty() { Value::Null } else { ports.iter().map(Port::to_value).collect::<Vec<_>>().into() }
}

fn endpoint(backed: &Backed, backend: &Backend) -> Value {
    let pod = &backend.pod;
    let terminating = pod.stored.meta.deleting;
    let mut endpoint = json!({
        "addresses": [pod.ip],
        "conditions": {
            "ready": backed.publish_not_ready || (pod.ready && !terminating),
            "serving": pod.ready || backed.publish_not_ready,
            "terminating": terminating,
        },
        "nodeName": pod.node, "targetRef": target_ref(pod),
    });
    if let Some(hostname) = &backend.hostname {
        endpoint["hostname"] = hostname.as_str().into();
    }
    endpoint
}
