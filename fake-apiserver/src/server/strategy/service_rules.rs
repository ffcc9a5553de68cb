//! What is wrong with services (`ValidateService`, `ValidateServiceUpdate`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::pod_spec::labels;
use super::probe;
use super::rules::{Rows, Rule, check, items, join, not_supported, text};
use super::service::{is_headless, needs_health_port, needs_policy};
use crate::schema::cause;
use crate::server::{address, names};
use crate::status::Cause;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: &[&str] = &["Cluster", "Local"];
const TABLE: Rows = &[
    ("", Rule::Own(by_type)),
    ("", Rule::Own(ports)),
    ("selector", Rule::Own(labels)),
    ("sessionAffinity", Rule::OneOf(&["ClientIP", "None"])),
    ("", Rule::Own(affinity)),
    ("", Rule::Own(addresses)),
    ("externalIPs", Rule::Own(external_addresses)),
    ("type", Rule::OneOf(TYPES)),
    ("", Rule::Own(no_node_ports)),
    ("", Rule::Own(ports_once)),
    ("", Rule::Own(of_balancers)),
    ("", Rule::Own(external_policy)),
    ("internalTrafficPolicy", Rule::OneOf(POLICIES)),
    ("trafficDistribution", Rule::OneOf(&["PreferClose", "PreferSameZone", "PreferSameNode"])),
];
const INGRESS: Rows = &[
    ("ip", Rule::Own(address_if_any)),
    ("ipMode", Rule::OneOf(&["Proxy", "VIP"])),
    ("hostname", Rule::Text(names::dns_subdomain)),
];
const ONLY_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";

/// What is wrong with a service.
pub(super) fn faults(service: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(TABLE, &service["spec"], "spec", &mut causes);
    causes
}

/// What is wrong with its addresses and families alone.
pub(super) fn address_faults(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    addresses(spec, "spec", &mut causes);
    causes
}

/// What is wrong with one that is made through its status, where its addresses are not prepared.
pub(super) fn unprepared_faults(spec: &Value) -> Vec<Cause> {
    let missing = |field: &str| items(&spec[field]).is_empty();
    let ports = missing("ports").then(|| cause::required("spec.ports", ""));
    let addresses = !text(&spec["clusterIP"]).is_empty() && missing("clusterIPs");
    ports.into_iter().chain(addresses.then(|| cause::required("spec.clusterIPs", ""))).collect()
}

/// What of a service may not change: its address, for as long as it has one, and who balances its load.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let external = |service: &Value| service["spec"]["type"] == "ExternalName";
    let (has, had) = (&new["spec"]["clusterIP"], &old["spec"]["clusterIP"]);
    if !external(new) && !external(old) && !text(had).is_empty() && has != had {
        let fault = format!("Invalid value: [{has}]: may not change once set");
        causes.push(Cause::new("FieldValueInvalid", "spec.clusterIPs[0]", fault));
    }
    let balanced = |service: &Value| service["spec"]["type"] == "LoadBalancer";
    let class = |service: &'_ Value| service["spec"]["loadBalancerClass"].clone();
    if balanced(new) && balanced(old) && class(new) != class(old) {
        let why = "may not change once set";
        causes.push(cause::invalid("spec.loadBalancerClass", &class(new), why));
    }
    causes
}

/// What is wrong with the status of a service.
pub(super) fn status_faults(service: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, ingress) in items(&service["status"]["loadBalancer"]["ingress"]).iter().enumerate() {
        check(INGRESS, ingress, &format!("status.loadBalancer.ingress[{index}]"), &mut causes);
    }
    causes
}

/// What a client should know about a service.
pub(super) fn warnings(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let mut said = Vec::new();
    if !service["metadata"]["annotations"]["service.kubernetes.io/topology-aware-hints"].is_null() {
        said.push(
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
             service.kubernetes.io/topology-mode instead"
                .to_owned(),
        );
    }
    for list in ["clusterIPs", "externalIPs"] {
        for (index, ip) in items(&spec[list]).iter().map(text).enumerate() {
            if let Some(address) =
                address::sloppy(ip).filter(|address| address.is_ipv6() && address.to_string() != ip)
            {
                said.push(format!(
                    "spec.{list}[{index}]: IPv6 address {ip:?} should be in RFC 5952 canonical format (\"{address}\")"
                ));
            }
        }
    }
    if !items(&spec["externalIPs"]).is_empty() && !is_headless(service) {
        said.push(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned(),
        );
    }
    if !text(&spec["externalName"]).is_empty() && spec["type"] != "ExternalName" {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if is_headless(service) {
        if !text(&spec["loadBalancerIP"]).is_empty() {
            said.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if !items(&spec["externalIPs"]).is_empty() {
            said.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if spec["sessionAffinity"] == "ClientIP" {
            said.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    if spec["trafficDistribution"] == "PreferClose" {
        let why = "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"";
        said.push(why.to_owned());
    }
    said
}

fn by_type(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let headless = spec["clusterIP"] == "None";
    let kind = text(&spec["type"]);
    if items(&spec["ports"]).is_empty() && !headless && kind != "ExternalName" {
        causes.push(cause::required(join(path, "ports"), ""));
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            causes.push(cause::invalid(join(path, "clusterIPs[0]"), &spec["clusterIP"], &why));
        }
        "ExternalName" => {
            if !items(&spec["clusterIPs"]).is_empty() || !text(&spec["clusterIP"]).is_empty() {
                let why = "may not be set for ExternalName services";
                causes.push(cause::forbidden(join(path, "clusterIPs"), why));
            }
            for field in ["ipFamilies", "ipFamilyPolicy"].into_iter().filter(|field| !spec[field].is_null()) {
                let why = "may not be set for ExternalName services";
                causes.push(cause::forbidden(join(path, field), why));
            }
            let name = text(&spec["externalName"]);
            let name = name.strip_suffix('.').unwrap_or(name);
            let at = join(path, "externalName");
            if name.is_empty() {
                causes.push(cause::required(at, ""));
            } else {
                let faults = names::dns_subdomain(name);
                causes.extend(faults.iter().map(|why| cause::invalid(&at, &name.into(), why)));
            }
        }
        _ => {}
    }
}

fn ports(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let ports = items(&spec["ports"]);
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let (at, name) = (join(&path, "name"), text(&port["name"]));
        if name.is_empty() && ports.len() > 1 {
            causes.push(cause::required(at, ""));
        } else if !name.is_empty() {
            causes.extend(names::dns_label(name).iter().map(|why| cause::invalid(&at, &port["name"], why)));
            if !seen.insert(name) {
                causes.push(cause::duplicate(at, &port["name"]));
            }
        }
        causes.extend(names::port_number(&join(&path, "port"), &port["port"]));
        check(&[("protocol", Rule::OneOf(&["SCTP", "TCP", "UDP"]))], port, &path, causes);
        if !port["targetPort"].is_null() {
            probe::port(&port["targetPort"], &join(&path, "targetPort"), causes);
        }
        check(&[("appProtocol", Rule::Text(names::qualified_name))], port, &path, causes);
    }
}

fn affinity(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let seconds = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    let bounds = 1..=86_400;
    if spec["sessionAffinity"] == "ClientIP" && seconds.as_i64().is_some_and(|s| !bounds.contains(&s)) {
        let at = join(path, "sessionAffinityConfig.clientIP.timeoutSeconds");
        causes.push(cause::invalid(at, seconds, "must be greater than 0 and less than 86400"));
    }
}

/// `ValidateServiceClusterIPsRelatedFields`.
fn addresses(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if spec["type"] == "ExternalName" {
        return;
    }
    let before = causes.len();
    let families = items(&spec["ipFamilies"]);
    for (index, family) in families.iter().enumerate() {
        let at = format!("{path}.ipFamilies[{index}]");
        if !matches!(text(family), "IPv4" | "IPv6") {
            causes.push(not_supported(&at, family, &["IPv4", "IPv6"]));
        }
        if families[..index].contains(family) {
            causes.push(cause::duplicate(at, family));
        }
    }
    let sound = causes.len() == before;
    let known = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    if !spec["ipFamilyPolicy"].is_null() && !known.contains(&text(&spec["ipFamilyPolicy"])) {
        causes.push(not_supported(&join(path, "ipFamilyPolicy"), &spec["ipFamilyPolicy"], known));
    }
    let (list, one) = (&spec["clusterIPs"], text(&spec["clusterIP"]));
    let (at, all) = (join(path, "clusterIPs"), items(list));
    if let Some(first) = all.first() {
        let why = if one.is_empty() {
            "must be empty when `clusterIP` is not specified"
        } else {
            "first value must match `clusterIP`"
        };
        if one != text(first) {
            causes.push(cause::invalid(at, list, why));
            return;
        }
    }
    let single = [Value::from(one)];
    let all = if all.is_empty() && !one.is_empty() { &single[..] } else { all };
    if all.first().is_some_and(|first| first == "None") {
        if all.len() > 1 {
            causes.push(cause::invalid(at, list, "'None' must be the first and only value"));
        }
        return;
    }
    for (index, ip) in all.iter().enumerate() {
        let faults = address::strict(text(ip));
        causes.extend(faults.iter().map(|fault| cause::invalid(format!("{at}[{index}]"), ip, fault)));
    }
    if all.len() > 2 {
        causes.push(cause::invalid(&at, list, "may only hold up to 2 values"));
    }
    for (index, (ip, family)) in all.iter().zip(families).enumerate().filter(|_| sound) {
        let is = if text(ip).contains(':') { "IPv6" } else { "IPv4" };
        if family != is {
            let why = format!("expected an {} value as indicated by `ipFamilies[{index}]`", text(family));
            causes.push(cause::invalid(format!("{at}[{index}]"), ip, &why));
        }
    }
}

fn external_addresses(list: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, ip) in items(list).iter().enumerate() {
        let at = format!("{path}[{index}]");
        let strict = address::strict(text(ip));
        if let Some(fault) = strict.first() {
            causes.push(cause::invalid(at, ip, fault));
            continue;
        }
        let Some(address) = address::sloppy(text(ip)) else { continue };
        let why = match address {
            _ if address.is_unspecified() => "may not be unspecified (0.0.0.0 or ::)",
            _ if address.is_loopback() => "may not be in the loopback range (127.0.0.0/8, ::1/128)",
            IpAddr::V4(v4) if v4.is_link_local() => {
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
            }
            IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => {
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
            }
            _ => continue,
        };
        causes.push(cause::invalid(at, ip, why));
    }
}

fn address_if_any(ip: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !text(ip).is_empty() && address::sloppy(text(ip)).is_none() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(cause::invalid(path, ip, why));
    }
}

fn no_node_ports(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, port) in items(&spec["ports"]).iter().enumerate() {
        if spec["type"] == "ClusterIP" && port["nodePort"].as_i64().unwrap_or_default() != 0 {
            let at = format!("{path}.ports[{index}].nodePort");
            causes.push(cause::forbidden(at, "may not be used when `type` is 'ClusterIP'"));
        }
    }
}

fn ports_once(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let ports = items(&spec["ports"]);
    for (index, port) in ports.iter().enumerate() {
        let same = |other: &Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if ports[..index].iter().any(same) {
            // As Go's internal type.
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                port["protocol"], port["port"]
            );
            let fault = format!("Duplicate value: {shown}");
            causes.push(Cause::new("FieldValueDuplicate", format!("{path}.ports[{index}]"), fault));
        }
    }
}

/// Fields that only load balancers have.
fn of_balancers(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let balanced = spec["type"] == "LoadBalancer";
    let ranges = items(&spec["loadBalancerSourceRanges"]);
    // It is said so.
    let at = join(path, "LoadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        causes.push(cause::forbidden(&at, ONLY_BALANCERS));
    }
    for (index, range) in ranges.iter().enumerate() {
        let faults = address::strict_network(text(range).trim());
        causes.extend(faults.iter().map(|fault| cause::invalid(format!("{at}[{index}]"), range, fault)));
    }
    if !balanced && !spec["allocateLoadBalancerNodePorts"].is_null() {
        causes.push(cause::forbidden(join(path, "allocateLoadBalancerNodePorts"), ONLY_BALANCERS));
    }
    if !spec["loadBalancerClass"].is_null() {
        if balanced {
            check(&[("loadBalancerClass", Rule::Text(names::qualified_name))], spec, path, causes);
        } else {
            causes.push(cause::forbidden(join(path, "loadBalancerClass"), ONLY_BALANCERS));
        }
    }
}

fn external_policy(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (at, policy) = (join(path, "externalTrafficPolicy"), &spec["externalTrafficPolicy"]);
    if !policy.is_null() && !needs_policy(spec) {
        causes.push(cause::invalid(at, policy, "may only be set for externally-accessible services"));
    } else if !policy.is_null() && !POLICIES.contains(&text(policy)) {
        causes.push(not_supported(&at, policy, POLICIES));
    }
    let (at, port) = (join(path, "healthCheckNodePort"), &spec["healthCheckNodePort"]);
    if port.as_i64().is_some_and(|port| port != 0) && !needs_health_port(spec) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        causes.push(cause::invalid(at, port, why));
    }
}
