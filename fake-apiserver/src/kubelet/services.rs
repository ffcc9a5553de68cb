//! What pods must know of services: names, variables, and where connections go. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Namespace and name.
pub(super) type Key = (String, String);

const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// All services with their endpoints, reduced to what is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceTable {
    services: BTreeMap<Key, Entry>,
    /// By namespace and the slice's own name.
    slices: BTreeMap<Key, Slice>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// `None` for a headless service.
    cluster_ip: Option<Ipv4Addr>,
    ports: Vec<Port>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: String,
    number: u16,
    protocol: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    service: Key,
    /// Ready addresses, with the host name of a pod that has one.
    endpoints: BTreeSet<(Ipv4Addr, Option<String>)>,
    ports: BTreeMap<String, u16>,
}

impl ServiceTable {
    /// Takes a new or changed service.
    pub(super) fn apply_service(&mut self, service: &Service) {
        let key = key(&service.metadata);
        match entry(service) {
            Some(entry) => self.services.insert(key, entry),
            None => self.services.remove(&key),
        };
    }

    /// Forgets a service.
    pub(super) fn delete_service(&mut self, service: &Service) {
        self.services.remove(&key(&service.metadata));
    }

    /// Replaces all services.
    pub(super) fn set_services<'a>(&mut self, services: impl Iterator<Item = &'a Service>) {
        self.services.clear();
        services.for_each(|service| self.apply_service(service));
    }

    /// Takes a new or changed slice.
    pub(super) fn apply_slice(&mut self, slice: &EndpointSlice) {
        let key = key(&slice.metadata);
        match reduced(slice) {
            Some(reduced) => self.slices.insert(key, reduced),
            None => self.slices.remove(&key),
        };
    }

    /// Forgets a slice.
    pub(super) fn delete_slice(&mut self, slice: &EndpointSlice) {
        self.slices.remove(&key(&slice.metadata));
    }

    /// Replaces all slices.
    pub(super) fn set_slices<'a>(&mut self, slices: impl Iterator<Item = &'a EndpointSlice>) {
        self.slices.clear();
        slices.for_each(|slice| self.apply_slice(slice));
    }

    /// Address and names of every service, as the cluster's DNS would answer a pod of `namespace`.
    /// Without a namespace: as it would answer the node, which has no short names.
    pub(super) fn hosts(&self, namespace: Option<&str>, domain: &str) -> Vec<(Ipv4Addr, Vec<String>)> {
        let mut lines = Vec::new();
        for (key, entry) in &self.services {
            let (own, name) = (key.0.as_str(), key.1.as_str());
            let base = format!("{name}.{own}");
            let full = format!("{base}.svc.{domain}");
            let mut names = vec![full.clone(), format!("{base}.svc"), base];
            if namespace == Some(own) {
                names.push(name.to_owned());
            }
            if let Some(address) = entry.cluster_ip {
                lines.push((address, names));
                continue;
            }
            for (address, hostname) in self.endpoints(key) {
                let host = hostname.iter().map(|host| format!("{host}.{full}"));
                lines.push((*address, host.chain(names.clone()).collect()));
            }
        }
        lines
    }

    /// Environment variables of the services that a pod of `namespace` sees (`envvars.FromServices`).
    /// `links` is the pod's `enableServiceLinks`; the API server's own service is always there.
    pub(super) fn variables(&self, namespace: &str, links: bool) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for ((own, name), entry) in &self.services {
            let api = own == "default" && name == "kubernetes";
            let (Some(address), Some(first)) = (entry.cluster_ip, entry.ports.first()) else { continue };
            let linked = links && own == namespace;
            if !api && !linked {
                continue;
            }
            let prefix = name.to_uppercase().replace('-', "_");
            all.insert(format!("{prefix}_SERVICE_HOST"), address.to_string());
            all.insert(format!("{prefix}_SERVICE_PORT"), first.number.to_string());
            let url = |port: &Port| format!("{}://{address}:{}", port.protocol.to_lowercase(), port.number);
            all.insert(format!("{prefix}_PORT"), url(first));
            for port in &entry.ports {
                if !port.name.is_empty() {
                    let named = port.name.to_uppercase().replace('-', "_");
                    all.insert(format!("{prefix}_SERVICE_PORT_{named}"), port.number.to_string());
                }
                let base = format!("{prefix}_PORT_{}_{}", port.number, port.protocol.to_uppercase());
                all.insert(format!("{base}_PROTO"), port.protocol.to_lowercase());
                all.insert(format!("{base}_PORT"), port.number.to_string());
                all.insert(format!("{base}_ADDR"), address.to_string());
                all.insert(base, url(port));
            }
        }
        all
    }

    /// Where connections to each cluster IP and TCP port go; without entry if no endpoint is ready.
    pub(super) fn forwards(&self) -> BTreeMap<SocketAddrV4, Vec<SocketAddrV4>> {
        let mut all = BTreeMap::new();
        for (key, entry) in &self.services {
            let Some(address) = entry.cluster_ip else { continue };
            for port in entry.ports.iter().filter(|port| port.protocol == "TCP") {
                let slices = self.slices.values().filter(|slice| slice.service == *key);
                let targets = slices.filter_map(|slice| Some((slice, *slice.ports.get(&port.name)?)));
                let targets: BTreeSet<SocketAddrV4> = targets
                    .flat_map(|(slice, target)| {
                        slice.endpoints.iter().map(move |(ip, _)| SocketAddrV4::new(*ip, target))
                    })
                    .collect();
                if !targets.is_empty() {
                    all.insert(SocketAddrV4::new(address, port.number), targets.into_iter().collect());
                }
            }
        }
        all
    }

    fn endpoints<'a>(&'a self, service: &Key) -> BTreeSet<&'a (Ipv4Addr, Option<String>)> {
        let slices = self.slices.values().filter(|slice| slice.service == *service);
        slices.flat_map(|slice| &slice.endpoints).collect()
    }
}

fn key(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Key {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn entry(service: &Service) -> Option<Entry> {
    let spec = service.spec.as_ref()?;
    let cluster_ip = match spec.cluster_ip.as_deref()? {
        "None" => None,
        address => Some(address.parse().ok()?),
    };
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            number: u16::try_from(port.port).ok()?,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        })
    };
    Some(Entry { cluster_ip, ports: spec.ports.iter().flatten().filter_map(port).collect() })
}

fn reduced(slice: &EndpointSlice) -> Option<Slice> {
    let namespace = slice.metadata.namespace.clone()?;
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?.clone();
    let ready = slice.endpoints.iter().filter(|endpoint| {
        // An unknown state counts as ready (EndpointConditions of the API).
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let endpoints = ready.flat_map(|endpoint| {
        let hostname = endpoint.hostname.clone();
        endpoint.addresses.iter().filter_map(move |ip| Some((ip.parse().ok()?, hostname.clone())))
    });
    let ports =
        slice.ports.iter().flatten().filter_map(|port| {
            Some((port.name.clone().unwrap_or_default(), u16::try_from(port.port?).ok()?))
        });
    Some(Slice { service: (namespace, service), endpoints: endpoints.collect(), ports: ports.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> ServiceTable {
        let mut table = ServiceTable::default();
        let services = [
            json!({"metadata": {"namespace": "ns", "name": "web-a"}, "spec": {"clusterIP": "10.96.0.7",
                "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}}),
            json!({"metadata": {"namespace": "other", "name": "db"}, "spec": {"clusterIP": "None",
                "ports": [{"port": 5432}]}}),
            json!({"metadata": {"namespace": "default", "name": "kubernetes"}, "spec": {"clusterIP": "10.96.0.1",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}}),
        ];
        for service in services {
            table.apply_service(&serde_json::from_value(service).unwrap());
        }
        let slices = [
            json!({"metadata": {"namespace": "ns", "name": "web-a-x", "labels": {SERVICE_LABEL: "web-a"}},
                "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": [
                    {"addresses": ["10.244.0.3"], "conditions": {"ready": true}},
                    {"addresses": ["10.244.0.4"], "conditions": {"ready": false}}]}),
            json!({"metadata": {"namespace": "other", "name": "db-x", "labels": {SERVICE_LABEL: "db"}},
                "addressType": "IPv4", "ports": [{"port": 5432}], "endpoints": [
                    {"addresses": ["10.244.0.5"], "hostname": "db-0"}]}),
        ];
        for slice in slices {
            table.apply_slice(&serde_json::from_value(slice).unwrap());
        }
        table
    }

    #[test]
    fn a_pod_sees_every_name_form_and_the_short_one_only_in_its_own_namespace() {
        let hosts = table().hosts(Some("ns"), "cluster.local");
        let lines: Vec<String> =
            hosts.iter().map(|(ip, names)| format!("{ip} {}", names.join(" "))).collect();
        assert_eq!(
            lines,
            [
                "10.96.0.1 kubernetes.default.svc.cluster.local kubernetes.default.svc kubernetes.default",
                "10.96.0.7 web-a.ns.svc.cluster.local web-a.ns.svc web-a.ns web-a",
                "10.244.0.5 db-0.db.other.svc.cluster.local db.other.svc.cluster.local db.other.svc db.other",
            ]
        );
    }

    #[test]
    fn only_ready_endpoints_are_forwarded_to() {
        let forwards = table().forwards();
        let expected: BTreeMap<SocketAddrV4, Vec<SocketAddrV4>> =
            BTreeMap::from([("10.96.0.7:80".parse().unwrap(), vec!["10.244.0.3:8080".parse().unwrap()])]);
        assert_eq!(forwards, expected);
    }

    #[test]
    fn variables_have_the_form_of_docker_links() {
        let env = table().variables("ns", true);
        assert_eq!(env["WEB_A_SERVICE_HOST"], "10.96.0.7");
        assert_eq!(env["WEB_A_SERVICE_PORT_HTTP"], "80");
        assert_eq!(env["WEB_A_PORT_80_TCP"], "tcp://10.96.0.7:80");
        assert_eq!(env["KUBERNETES_SERVICE_PORT"], "443");
        let env = table().variables("ns", false);
        assert!(env.contains_key("KUBERNETES_SERVICE_HOST") && !env.contains_key("WEB_A_SERVICE_HOST"));
    }
}
