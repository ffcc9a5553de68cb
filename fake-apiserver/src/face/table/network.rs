//! Services and what stands behind them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::{array, created, labels, name, number, or, selector, text, three_of};

pub(super) fn cells(plural: &str, object: &Value, now: Timestamp) -> Option<Vec<Value>> {
    let name_cell = json!(name(object));
    let age_cell = json!(created(object, now));
    Some(match plural {
        "services" => vec![
            name_cell,
            json!(text(object, "/spec/type")),
            json!(or(text(object, "/spec/clusterIP"), "<none>")),
            json!(external_address(object)),
            json!(or(&service_ports(object), "<none>")),
            age_cell,
            json!(labels(object.pointer("/spec/selector"))),
        ],
        "endpoints" => vec![name_cell, json!(endpoints(object)), age_cell],
        "endpointslices" => {
            let ports: Vec<String> = array(object, "/ports").iter().map(slice_port).collect();
            let addresses: Vec<String> =
                array(object, "/endpoints").iter().flat_map(|e| strings(e, "/addresses")).collect();
            vec![
                name_cell,
                json!(text(object, "/addressType")),
                json!(three_of(&ports)),
                json!(three_of(&addresses)),
                age_cell,
            ]
        }
        "ingresses" => ingress(object, now),
        "networkpolicies" => vec![name_cell, json!(selector(object.pointer("/spec/podSelector"))), age_cell],
        _ => return None,
    })
}

fn strings(object: &Value, pointer: &str) -> Vec<String> {
    array(object, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn external_address(service: &Value) -> String {
    let external = strings(service, "/spec/externalIPs");
    match text(service, "/spec/type") {
        "ClusterIP" | "NodePort" => or(&external.join(","), "<none>").to_owned(),
        "LoadBalancer" => {
            let mut all = balancer(service);
            all.extend(external);
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// Addresses or host names a load balancer was given.
fn balancer(object: &Value) -> Vec<String> {
    array(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|i| or(text(i, "/ip"), text(i, "/hostname")).to_owned())
        .collect()
}

fn service_ports(service: &Value) -> String {
    let ports: Vec<String> = array(service, "/spec/ports")
        .iter()
        .map(|port| match number(port, "/nodePort") {
            0 => format!("{}/{}", number(port, "/port"), text(port, "/protocol")),
            node => format!("{}:{node}/{}", number(port, "/port"), text(port, "/protocol")),
        })
        .collect();
    ports.join(",")
}

fn slice_port(port: &Value) -> String {
    match (port["port"].as_i64(), text(port, "/name")) {
        (Some(number), _) => number.to_string(),
        (None, "") => "*".to_owned(),
        (None, name) => name.to_owned(),
    }
}

fn endpoints(object: &Value) -> String {
    let mut list = Vec::new();
    for subset in array(object, "/subsets") {
        let addresses = array(subset, "/addresses").iter().map(|a| text(a, "/ip"));
        let ports = array(subset, "/ports");
        if ports.is_empty() {
            list.extend(addresses.map(str::to_owned));
        } else {
            for port in ports {
                list.extend(addresses.clone().map(|ip| format!("{ip}:{}", number(port, "/port"))));
            }
        }
    }
    if array(object, "/subsets").is_empty() {
        "<none>".into()
    } else if list.is_empty() {
        String::new()
    } else {
        three_of(&list)
    }
}

fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<String> = array(object, "/spec/rules")
        .iter()
        .map(|r| text(r, "/host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { three_of(&hosts) };
    let ports = if array(object, "/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        json!(name(object)),
        json!(or(text(object, "/spec/ingressClassName"), "<none>")),
        json!(hosts),
        json!(balancer(object).join(",")),
        json!(ports),
        json!(created(object, now)),
    ]
}
