//! Endpoints: the ready and not ready addresses of the pods behind each Service with a selector.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::backends::{Backed, Port, Selectors, target_ref};
use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{ENDPOINTS, SERVICES, object_mut, set_annotation, time};
use super::queue::{Queue, Work};
use crate::status::Status;

/// The real controller cuts off above this number.
const MOST: usize = 1_000;
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const TRUNCATED: &str = "endpoints.kubernetes.io/over-capacity";

/// Writes Endpoints.
#[derive(Default)]
pub(crate) struct EndpointsLoop {
    selectors: Selectors,
}

impl ControlLoop for EndpointsLoop {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        self.selectors.observe(seen, queue);
        if seen.resource() == ("", "endpoints") && seen.change.after.is_none() {
            seen.mark(queue, "services");
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let key = &work.key;
        let known = context.api.get(&ENDPOINTS, &key.namespace, &key.name);
        let Some(backed) = Backed::read(key, context) else {
            // Of a Service without selector others write them; without the Service they go.
            if context.api.get(&SERVICES, &key.namespace, &key.name).is_none() && known.is_some() {
                context.api.delete(&ENDPOINTS, key, json!({}))?;
            }
            return Ok(None);
        };
        if backed.service.meta.deleting {
            return Ok(None);
        }
        let subsets = subsets(&backed);
        let labels = backed.labels(&[("endpoints.kubernetes.io/managed-by", "endpoint-controller")]);
        let mut value = match &known {
            Some(known) => known.value(),
            None => json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": {"name": key.name, "namespace": key.namespace, "annotations": {}},
            }),
        };
        let before = value.clone();
        value["metadata"]["labels"] = labels;
        if subsets.is_empty() {
            object_mut(&mut value).remove("subsets");
        } else {
            value["subsets"] = subsets.into();
        }
        if backed.backends.len() > MOST {
            set_annotation(&mut value, TRUNCATED, "truncated");
        }
        if value == before {
            return Ok(None);
        }
        set_annotation(&mut value, TRIGGERED, &time(context.now));
        if known.is_some() {
            context.api.update(&ENDPOINTS, value)?;
        } else {
            context.api.create(&ENDPOINTS, value)?;
        }
        Ok(None)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Addresses with the same ports stand together.
fn subsets(backed: &Backed) -> Vec<Value> {
    let mut by_ports: BTreeMap<Vec<Port>, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for backend in backed.backends.iter().take(MOST) {
        let pod = &backend.pod;
        if pod.stored.meta.deleting && !backed.publish_not_ready {
            continue;
        }
        if backend.ports.is_empty() && !backed.headless {
            continue;
        }
        let mut address = json!({"ip": pod.ip, "nodeName": pod.node, "targetRef": target_ref(pod)});
        if let Some(hostname) = &backend.hostname {
            address["hostname"] = hostname.as_str().into();
        }
        let mut ports = backend.ports.clone();
        ports.sort();
        let (ready, not_ready) = by_ports.entry(ports).or_default();
        if pod.ready || backed.publish_not_ready { ready.push(address) } else { not_ready.push(address) }
    }
    let subset = |(ports, (ready, not_ready)): (Vec<Port>, (Vec<Value>, Vec<Value>))| {
        let mut subset = json!({});
        let ports: Vec<Value> = ports
            .iter()
            .map(|port| {
                let mut value = port.to_value();
                if port.name.is_empty() {
                    object_mut(&mut value).remove("name");
                }
                value
            })
            .collect();
        for (field, list) in [("addresses", ready), ("notReadyAddresses", not_ready), ("ports", ports)] {
            if !list.is_empty() {
                subset[field] = list.into();
            }
        }
        subset
    };
    by_ports.into_iter().map(subset).collect()
}
