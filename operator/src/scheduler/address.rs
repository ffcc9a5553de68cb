//! Where a cluster's scheduler listens: a pure function of its Service.

use std::fmt;

use serde_json::Value;

/// The port name that Dask's documentation, dashboards and the Python client use for the HTTP server.
const HTTP_PORT_NAME: &str = "http-dashboard";
/// Dask's default for the HTTP server.
const HTTP_PORT: u16 = 8787;
/// The port name for Dask's own protocol.
const COMM_PORT_NAME: &str = "tcp-comm";
/// Dask's default for its own protocol.
const COMM_PORT: u16 = 8786;

/// The host and ports of one scheduler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchedulerAddress {
    /// A name or an address without brackets.
    pub host: String,
    /// Dask's own protocol.
    pub comm_port: u16,
    /// The HTTP server; `None` where the Service names no port for it.
    pub http_port: Option<u16>,
    /// The Service it was read from, for messages: `namespace/name`.
    pub service: String,
    /// Speak TLS with the credentials in this Secret.
    pub tls: Option<TlsSecret>,
}

/// A Secret with credentials for `tls://`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsSecret {
    /// Its namespace: the cluster's.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for TlsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl SchedulerAddress {
    /// Reads the address from a Service (the whole object, as the API serves it).
    ///
    /// The host is the cluster IP, which works wherever Service addresses do, with no name service between; a Service
    /// without one is reached by its name, `{name}.{namespace}.svc.{domain}`.
    ///
    /// A port is found by its name or by the Service's own name (what the Python operator looks for), then by its number,
    /// then by the port of the pod behind it: Flyte calls the HTTP port `dashboard`.
    pub fn of_service(service: &Value, domain: &str) -> Self {
        let text = |path: &str| service.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (name, namespace, ip) =
            (text("/metadata/name"), text("/metadata/namespace"), text("/spec/clusterIP"));
        let headless = ip.is_empty() || ip == "None";
        let host = if headless { format!("{name}.{namespace}.svc.{domain}") } else { ip.to_owned() };
        let ports = service.pointer("/spec/ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let find = |wanted: &str, number: u16| {
            // Without a cluster IP the name leads to the pod itself, so the pod's port counts.
            find(ports, wanted, name, number)
                .map(|port| if headless { number_behind(port, number) } else { number_of(port) })
        };
        Self {
            host,
            comm_port: find(COMM_PORT_NAME, COMM_PORT).unwrap_or(COMM_PORT),
            http_port: find(HTTP_PORT_NAME, HTTP_PORT),
            service: format!("{namespace}/{name}"),
            tls: None,
        }
    }

    /// `host:port` of the HTTP server, with brackets where an address needs them.
    pub fn http_authority(&self) -> Option<String> {
        Some(self.authority(self.http_port?))
    }

    fn authority(&self, port: u16) -> String {
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }
}

impl fmt::Display for SchedulerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "tls" } else { "tcp" };
        write!(f, "{scheme}://{}", self.authority(self.comm_port))
    }
}

/// The one port that is meant: by name, by number, by the number behind it.
fn find<'a>(ports: &'a [Value], name: &str, service: &str, number: u16) -> Option<&'a Value> {
    let named = |port: &&Value| port["name"] == *name || port["name"] == *service;
    let numbered = |port: &&Value| number_of(port) == number;
    let behind = |port: &&Value| port["targetPort"] == number || port["targetPort"] == *name;
    ports.iter().find(named).or_else(|| ports.iter().find(numbered)).or_else(|| ports.iter().find(behind))
}

fn number_of(port: &Value) -> u16 {
    port["port"].as_u64().and_then(|number| u16::try_from(number).ok()).unwrap_or_default()
}

/// The pod's own port where the Service gives it as a number; `default` for a named one, which only the pod could resolve.
fn number_behind(port: &Value, default: u16) -> u16 {
    match &port["targetPort"] {
        Value::Number(number) => {
            number.as_u64().and_then(|number| u16::try_from(number).ok()).unwrap_or(default)
        }
        Value::Null => number_of(port),
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The address of a Service `ex-scheduler` in `ns` with this spec.
    fn check(spec: &Value, host: &str, comm: u16, http: Option<u16>) {
        let service = json!({"metadata": {"name": "ex-scheduler", "namespace": "ns"}, "spec": spec});
        let address = SchedulerAddress::of_service(&service, "cluster.local");
        assert_eq!(
            (address.host.as_str(), address.comm_port, address.http_port),
            (host, comm, http),
            "{spec}"
        );
    }

    #[test]
    fn ports_are_found_by_name() {
        let ports = json!([{"name": "http-dashboard", "port": 80}, {"name": "tcp-comm", "port": 9000}]);
        check(&json!({"clusterIP": "10.0.0.7", "ports": ports}), "10.0.0.7", 9000, Some(80));
    }

    #[test]
    fn a_port_may_carry_the_name_of_the_service() {
        let ports = json!([{"name": "ex-scheduler", "port": 1234}]);
        check(&json!({"clusterIP": "10.0.0.7", "ports": ports}), "10.0.0.7", 1234, Some(1234));
    }

    #[test]
    fn pain_20_the_port_flyte_calls_dashboard_is_found_by_number() {
        let ports = json!([{"name": "tcp-comm", "port": 8786}, {"name": "dashboard", "port": 8787, "targetPort": "dashboard"}]);
        check(&json!({"clusterIP": "10.0.0.7", "ports": ports}), "10.0.0.7", 8786, Some(8787));
    }

    #[test]
    fn a_renumbered_port_is_found_by_the_port_behind_it() {
        let ports = json!([{"name": "comm", "port": 1, "targetPort": 8786}, {"name": "web", "port": 80, "targetPort": 8787}]);
        check(&json!({"clusterIP": "10.0.0.7", "ports": ports}), "10.0.0.7", 1, Some(80));
    }

    #[test]
    fn a_headless_service_leads_to_the_pods_own_ports() {
        let ports = json!([{"name": "http-dashboard", "port": 80, "targetPort": 8787}, {"name": "tcp-comm", "port": 8786}]);
        let spec = json!({"clusterIP": "None", "ports": ports});
        check(&spec, "ex-scheduler.ns.svc.cluster.local", 8786, Some(8787));
    }

    #[test]
    fn a_service_without_ports_has_no_http_port() {
        check(&json!({}), "ex-scheduler.ns.svc.cluster.local", 8786, None);
    }

    #[test]
    fn an_ipv6_address_gets_brackets() {
        let service = json!({"metadata": {"name": "s", "namespace": "n"},
            "spec": {"clusterIP": "fd00::7", "ports": [{"port": 8787}]}});
        let address = SchedulerAddress::of_service(&service, "cluster.local");
        assert_eq!(address.http_authority().as_deref(), Some("[fd00::7]:8787"));
    }
}
