//! Cluster IPs and node ports: which are taken, and the next that is free.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::Value;

/// 10.96.0.0/16.
const BASE: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const SIZE: u32 = 1 << 16;
/// Addresses below are for services that ask for one, as `kubernetes` (.1) and DNS (.10) do.
const STATIC: u32 = 256;
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// The addresses and ports that services hold.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    ips: BTreeSet<u32>,
    last_ip: u32,
    ports: BTreeSet<u16>,
    last_port: u16,
}

impl Addresses {
    /// A free cluster IP; `None` when all are taken.
    pub(super) fn next_ip(&mut self) -> Option<Ipv4Addr> {
        for step in 1..SIZE {
            let offset = STATIC + (self.last_ip + step - 1) % (SIZE - STATIC - 1);
            if !self.ips.contains(&(BASE + offset)) {
                self.last_ip = offset - STATIC + 1;
                return Some(Ipv4Addr::from(BASE + offset));
            }
        }
        None
    }

    /// A free node port; `None` when all are taken.
    pub(super) fn next_port(&mut self) -> Option<u16> {
        let (first, last) = (*NODE_PORTS.start(), *NODE_PORTS.end());
        let after = if NODE_PORTS.contains(&self.last_port) { self.last_port + 1 } else { first };
        let port = (after..=last).chain(first..after).find(|port| !self.ports.contains(port))?;
        self.last_port = port;
        Some(port)
    }

    /// Whether a service may ask for this address.
    pub(super) fn ip_fault(&self, ip: &str) -> Option<String> {
        let Ok(parsed) = ip.parse::<Ipv4Addr>() else {
            return Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into());
        };
        let bits = u32::from(parsed);
        if !(BASE + 1..BASE + SIZE - 1).contains(&bits) {
            return Some(format!(
                "failed to allocate IP {ip}: the provided network does not match the current range"
            ));
        }
        let taken = self.ips.contains(&bits);
        taken.then(|| format!("failed to allocate IP {ip}: provided IP is already allocated"))
    }

    /// Whether a service may ask for this node port.
    pub(super) fn port_fault(&self, port: u16) -> Option<String> {
        if !NODE_PORTS.contains(&port) {
            return Some(
                "provided port is not in the valid range. The range of valid ports is 30000-32767".into(),
            );
        }
        self.ports.contains(&port).then(|| "provided port is already allocated".into())
    }

    /// A service was written: what it holds is taken.
    pub(super) fn note(&mut self, service: &Value) {
        self.ips.extend(ip(service));
        self.ports.extend(ports(service));
    }

    /// A service has gone or let go: what it held is free.
    pub(super) fn forget(&mut self, service: &Value) {
        if let Some(ip) = ip(service) {
            self.ips.remove(&ip);
        }
        for port in ports(service) {
            self.ports.remove(&port);
        }
    }
}

fn ip(service: &Value) -> Option<u32> {
    service["spec"]["clusterIP"].as_str()?.parse::<Ipv4Addr>().ok().map(u32::from)
}

fn ports(service: &Value) -> impl Iterator<Item = u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports = ports.map(|port| &port["nodePort"]).chain([&service["spec"]["healthCheckNodePort"]]);
    ports.filter_map(|port| u16::try_from(port.as_u64()?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_given_once_and_given_back() {
        let mut addresses = Addresses::default();
        let first = addresses.next_ip().unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 96, 1, 0));
        let service = json!({"spec": {"clusterIP": first.to_string(), "ports": [{"nodePort": 30000}]}});
        addresses.note(&service);
        assert_eq!(addresses.next_ip().unwrap(), Ipv4Addr::new(10, 96, 1, 1));
        assert!(addresses.ip_fault("10.96.1.0").is_some() && addresses.ip_fault("10.97.0.1").is_some());
        assert_eq!(addresses.next_port(), Some(30_001));
        addresses.forget(&service);
        assert!(addresses.ip_fault("10.96.1.0").is_none() && addresses.port_fault(30_000).is_none());
    }
}
