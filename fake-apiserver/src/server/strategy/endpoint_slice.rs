//! `EndpointSlices` and Endpoints, by `pkg/apis/discovery/validation` and `pkg/apis/core/validation`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::{Rows, Rule, check, grammar, items, join, text};
use crate::schema::cause;
use crate::server::{address, names};
use crate::status::Cause;

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

const SLICE: Rows = &[
    ("addressType", Rule::Required("")),
    ("addressType?", Rule::Chosen(&["FQDN", "IPv4", "IPv6"])),
    ("", Rule::Own(ports)),
];
const PORT: Rows = &[("protocol", Rule::Chosen(PROTOCOLS)), ("appProtocol?", Rule::Own(qualified))];
const ENDPOINT: Rows = &[
    ("nodeName?", Rule::Text(names::dns_subdomain)),
    ("hostname?", Rule::Text(names::dns_label)),
    ("hints?", Rule::Own(hints)),
];
const ADDRESS: Rows = &[
    ("ip", Rule::Own(sloppy_address)),
    ("hostname", Rule::Text(names::dns_label)),
    ("nodeName?", Rule::Text(names::dns_subdomain)),
    ("ip", Rule::Own(reachable)),
];

/// What is wrong with a slice; endpoints that stay as they were are not looked at again.
pub(super) fn faults(slice: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = super::rules::faults(SLICE, slice);
    if old.is_none_or(|old| old["endpoints"] != slice["endpoints"]) {
        for (index, endpoint) in items(&slice["endpoints"]).iter().enumerate() {
            let path = format!("endpoints[{index}]");
            addresses(text(&slice["addressType"]), &endpoint["addresses"], &path, &mut causes);
            check(ENDPOINT, endpoint, &path, &mut causes);
        }
    }
    causes
}

/// What a client should know about a slice.
pub(super) fn warnings(slice: &Value) -> Vec<String> {
    let deprecated = slice["addressType"] == "FQDN";
    deprecated.then(|| "spec.addressType: FQDN endpoints are deprecated".to_owned()).into_iter().collect()
}

/// What is wrong with Endpoints; subsets that stay as they were are not looked at again.
pub(super) fn endpoints_faults(endpoints: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if old.is_some_and(|old| old["subsets"] == endpoints["subsets"]) {
        return causes;
    }
    for (index, subset) in items(&endpoints["subsets"]).iter().enumerate() {
        let path = format!("subsets[{index}]");
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| items(&subset[*list]).is_empty()) {
            causes.push(cause::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for list in lists {
            for (index, address) in items(&subset[list]).iter().enumerate() {
                check(ADDRESS, address, &format!("{path}.{list}[{index}]"), &mut causes);
            }
        }
        let ports = items(&subset["ports"]);
        for (index, port) in ports.iter().enumerate() {
            let path = format!("{path}.ports[{index}]");
            let name = text(&port["name"]);
            if !name.is_empty() {
                causes.extend(grammar(&join(&path, "name"), name, names::dns_label));
            } else if ports.len() > 1 {
                causes.push(cause::required(join(&path, "name"), ""));
            }
            causes.extend(names::port_number(&join(&path, "port"), &port["port"]));
            check(PORT, port, &path, &mut causes);
        }
    }
    causes
}

fn ports(slice: &Value, _: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, port) in items(&slice["ports"]).iter().enumerate() {
        let path = format!("ports[{index}]");
        let name = text(&port["name"]);
        if !name.is_empty() {
            causes.extend(grammar(&join(&path, "name"), name, names::dns_label));
        }
        if !seen.insert(name) {
            causes.push(cause::duplicate(join(&path, "name"), &Value::from(name)));
        }
        check(PORT, port, &path, causes);
    }
}

fn qualified(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    causes.extend(grammar(path, text(value), names::qualified_name));
}

fn addresses(kind: &str, list: &Value, path: &str, causes: &mut Vec<Cause>) {
    const MOST: usize = 100;
    let path = join(path, "addresses");
    let list = items(list);
    if list.is_empty() {
        causes.push(cause::required(&path, "must contain at least 1 address"));
    } else if list.len() > MOST {
        causes.push(cause::too_many(&path, list.len(), MOST as u64));
    }
    for (index, value) in list.iter().enumerate() {
        let at = format!("{path}[{index}]");
        let faults = match kind {
            "IPv4" => address::strict(text(value)),
            "IPv6" => address::canonical(text(value)),
            "FQDN" => {
                causes.extend(names::fully_qualified_domain(&at, text(value)));
                continue;
            }
            _ => continue,
        };
        if !faults.is_empty() {
            causes.extend(faults.iter().map(|fault| cause::invalid(&at, value, fault)));
            continue;
        }
        if address::is_v4(text(value)) != (kind == "IPv4") {
            causes.push(cause::invalid(&path, value, &format!("must be an {kind} address")));
        }
        reachable(value, &at, causes);
    }
}

fn sloppy_address(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let shown = Value::from(text(value));
    causes.extend(address::strict(text(value)).iter().map(|fault| cause::invalid(path, &shown, fault)));
}

fn reachable(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let shown = Value::from(text(value));
    causes.extend(address::endpoint(text(value)).iter().map(|fault| cause::invalid(path, &shown, fault)));
}

fn hints(hints: &Value, path: &str, causes: &mut Vec<Cause>) {
    const MOST: usize = 8;
    let grammars =
        [("forZones", names::label_value as fn(&str) -> Vec<String>), ("forNodes", names::dns_subdomain)];
    for (list, rule) in grammars {
        let (at, all) = (join(path, list), items(&hints[list]));
        if all.len() > MOST {
            causes.push(cause::too_many(at, all.len(), MOST as u64));
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, hint) in all.iter().enumerate() {
            let (path, name) = (format!("{at}[{index}].name"), text(&hint["name"]));
            if !seen.insert(name) {
                causes.push(cause::duplicate(&path, &Value::from(name)));
            }
            causes.extend(grammar(&path, name, rule));
        }
    }
}
