//! Which pods stand behind which Service, and under which ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, Seen};
use super::object::{SERVICES, items, text};
use super::pod::PodFacts;
use super::queue::{Queue, Work};
use crate::storage::{Key, Stored};

/// The selectors of all Services, found by the labels of a pod.
#[derive(Default)]
pub(crate) struct Selectors {
    by_service: BTreeMap<Key, BTreeMap<String, String>>,
    /// Each Service under that label of its selector which the fewest others stand under.
    by_label: BTreeMap<(String, String, String), BTreeSet<Key>>,
    chosen: BTreeMap<Key, (String, String, String)>,
}

impl Selectors {
    /// Marks the Services that a change concerns.
    pub(crate) fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("", "services") => {
                self.take(seen.object(), seen.change.after.is_some());
                seen.mark(queue, "services");
            }
            ("", "pods") => {
                let (before, after) = (seen.pods.before.as_deref(), seen.pods.after.as_deref());
                if before.map(appearance) == after.map(appearance) {
                    return;
                }
                for pod in [before, after].into_iter().flatten() {
                    self.mark(&pod.stored, queue, seen.now);
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, service: &Stored, exists: bool) {
        let key = &service.key;
        self.by_service.remove(key);
        if let Some(place) = self.chosen.remove(key)
            && let Some(keys) = self.by_label.get_mut(&place)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_label.remove(&place);
            }
        }
        let Some(selector) = exists.then(|| selector(&service.value())).flatten() else { return };
        let places =
            selector.iter().map(|(label, value)| (key.namespace.clone(), label.clone(), value.clone()));
        let fewest = places.min_by_key(|place| self.by_label.get(place).map_or(0, BTreeSet::len));
        if let Some(place) = fewest {
            self.by_label.entry(place.clone()).or_default().insert(key.clone());
            self.chosen.insert(key.clone(), place);
            self.by_service.insert(key.clone(), selector);
        }
    }

    fn mark(&self, pod: &Stored, queue: &mut Queue, now: Timestamp) {
        for (label, value) in &pod.meta.labels {
            let place = (pod.key.namespace.clone(), label.clone(), value.clone());
            for key in self.by_label.get(&place).into_iter().flatten() {
                if self.by_service.get(key).is_some_and(|selector| is_selected(selector, pod)) {
                    queue.add(Work::new("services", key), now);
                }
            }
        }
    }
}

/// What of a pod shows in endpoints.
fn appearance(pod: &PodFacts) -> (&str, bool, bool, bool, &BTreeMap<String, String>, &str) {
    let meta = &pod.stored.meta;
    (&pod.ip, pod.ready, meta.deleting, pod.has_ended(), &meta.labels, &meta.uid)
}

/// `spec.selector`; `None` for Services whose endpoints others write.
fn selector(service: &Value) -> Option<BTreeMap<String, String>> {
    if service["spec"]["type"] == "ExternalName" {
        return None;
    }
    let map = service["spec"]["selector"].as_object().filter(|map| !map.is_empty())?;
    Some(map.iter().map(|(label, value)| (label.clone(), text(value).to_owned())).collect())
}

fn is_selected(selector: &BTreeMap<String, String>, pod: &Stored) -> bool {
    selector.iter().all(|(label, value)| pod.meta.labels.get(label) == Some(value))
}

/// A Service with a selector, and what stands behind it.
pub(crate) struct Backed {
    /// The Service.
    pub service: Arc<Stored>,
    /// Pods that are not ready count as ready.
    pub publish_not_ready: bool,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Pods with an address that have not ended, in order of their names.
    pub backends: Vec<Backend>,
}

/// One pod behind a Service.
pub(crate) struct Backend {
    /// The pod.
    pub pod: Arc<PodFacts>,
    /// Its `hostname`, where the Service is its `subdomain`.
    pub hostname: Option<String>,
    /// The Service's ports as this pod serves them: name, number, protocol.
    pub ports: Vec<Port>,
}

/// A port of a Service as a pod serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub name: String,
    pub protocol: String,
    pub number: i64,
    pub app_protocol: Option<String>,
}

impl Port {
    /// As it is written in Endpoints and EndpointSlices.
    pub(crate) fn to_value(&self) -> Value {
        let mut value = json!({"port": self.number, "protocol": self.protocol});
        value["name"] = self.name.as_str().into();
        if let Some(protocol) = &self.app_protocol {
            value["appProtocol"] = protocol.as_str().into();
        }
        value
    }
}

impl Backed {
    /// Reads a Service and its pods; `None` when there is none or others write its endpoints.
    pub(crate) fn read(key: &Key, context: &Context<'_, '_>) -> Option<Self> {
        let service = context.api.get(&SERVICES, &key.namespace, &key.name)?;
        let value = service.value();
        let selector = selector(&value)?;
        let labels = crate::storage::LabelSelector::from_object(&json!({"matchLabels": selector}))?;
        let headless = value["spec"]["clusterIP"] == "None";
        let named = items(&value["spec"]["ports"]).iter().any(|port| port["targetPort"].is_string());
        let mut backends = Vec::new();
        for stored in context.api.select(&super::object::PODS, Some(&key.namespace), &labels) {
            let Some(pod) = context.observed.pod(&stored.key) else { continue };
            if pod.ip.is_empty() || pod.has_ended() {
                continue;
            }
            // The pod itself is only looked into where the Service asks for what the facts do not hold.
            let spec = if headless || named { pod.stored.value()["spec"].take() } else { Value::Null };
            let hostname =
                (spec["subdomain"] == key.name.as_str()).then(|| text(&spec["hostname"]).to_owned());
            let ports =
                items(&value["spec"]["ports"]).iter().filter_map(|port| resolve(port, &spec)).collect();
            let hostname = hostname.filter(|name| !name.is_empty());
            backends.push(Backend { pod: Arc::clone(pod), hostname, ports });
        }
        let publish_not_ready = value["spec"]["publishNotReadyAddresses"] == true;
        Some(Self { service, publish_not_ready, headless, backends })
    }

    /// Labels that pass from the Service to its Endpoints and EndpointSlices, with those that say who wrote them.
    pub(crate) fn labels(&self, own: &[(&str, &str)]) -> Value {
        let mut labels: Value = json!(self.service.meta.labels);
        for (label, value) in own {
            labels[*label] = (*value).into();
        }
        if self.headless {
            labels["service.kubernetes.io/headless"] = "".into();
        }
        labels
    }
}

/// The port of a pod that a port of the Service leads to; `None` when the pod has no port of the name.
fn resolve(port: &Value, pod_spec: &Value) -> Option<Port> {
    let protocol = match text(&port["protocol"]) {
        "" => "TCP",
        protocol => protocol,
    };
    let target = &port["targetPort"];
    let number = match target {
        Value::String(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => named_port(pod_spec, name, protocol)?,
        },
        Value::Number(number) if number.as_i64() != Some(0) => number.as_i64()?,
        _ => port["port"].as_i64()?,
    };
    Some(Port {
        name: text(&port["name"]).to_owned(),
        protocol: protocol.to_owned(),
        number,
        app_protocol: port["appProtocol"].as_str().map(str::to_owned),
    })
}

fn named_port(pod_spec: &Value, name: &str, protocol: &str) -> Option<i64> {
    let sidecars = items(&pod_spec["initContainers"]).iter().filter(|c| c["restartPolicy"] == "Always");
    let mut ports = items(&pod_spec["containers"]).iter().chain(sidecars).flat_map(|c| items(&c["ports"]));
    let fits = |port: &&Value| {
        port["name"] == name
            && matches!(text(&port["protocol"]), p if p == protocol || (p.is_empty() && protocol == "TCP"))
    };
    ports.find(fits)?["containerPort"].as_i64()
}

/// The reference to a pod in an address.
pub(crate) fn target_ref(pod: &PodFacts) -> Value {
    let stored = &pod.stored;
    json!({"kind": "Pod", "name": stored.key.name, "namespace": stored.key.namespace, "uid": stored.meta.uid})
}
