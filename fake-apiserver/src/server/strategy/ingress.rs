//! Ingresses and `IngressClasses`, by `pkg/apis/networking/validation`.

use serde_json::Value;

use super::rules::{Rows, Rule, check, grammar, items, join, text};
use crate::schema::cause;
use crate::server::{address, names};
use crate::status::Cause;

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];

const TABLE: Rows = &[
    ("spec", Rule::Own(something)),
    ("spec.defaultBackend?", Rule::Own(backend)),
    ("spec.rules[]", Rule::Rows(&[("host", Rule::Own(host)), ("http?", Rule::Rows(HTTP))])),
    ("spec.tls[]", Rule::Rows(TLS)),
    ("spec.ingressClassName?", Rule::Own(class_name)),
];
const HTTP: Rows = &[("paths", Rule::Required("")), ("paths[]", Rule::Own(path))];
const TLS: Rows = &[("hosts[]", Rule::Own(tls_host)), ("secretName", Rule::Text(names::dns_subdomain))];
const STATUS: Rows = &[(
    "status.loadBalancer.ingress[]",
    Rule::Rows(&[("ip", Rule::Text(address::strict)), ("hostname", Rule::Own(published))]),
)];
const CLASS: Rows = &[
    ("spec.controller", Rule::Own(controller)),
    ("spec.parameters?", Rule::Rows(REFERENCE)),
    ("spec.parameters?", Rule::Own(scope)),
];
const REFERENCE: Rows = &[
    ("apiGroup?", Rule::Own(group)),
    ("kind", Rule::Required("")),
    ("kind", Rule::Text(names::path_segment)),
    ("name", Rule::Required("")),
    ("name", Rule::Text(names::path_segment)),
];

/// What is wrong with an ingress.
pub(super) fn faults(ingress: &Value) -> Vec<Cause> {
    super::rules::faults(TABLE, ingress)
}

/// What is wrong with a new ingress: an annotation and a field must not name two classes.
pub(super) fn create_faults(ingress: &Value) -> Vec<Cause> {
    const CLASS: &str = "kubernetes.io/ingress.class";
    let mut causes = faults(ingress);
    let (said, class) = (&ingress["metadata"]["annotations"][CLASS], &ingress["spec"]["ingressClassName"]);
    if said.is_string() && class.is_string() && said != class {
        let why = "must match `ingressClassName` when both are specified";
        causes.push(cause::invalid(format!("annotations.{CLASS}"), said, why));
    }
    causes
}

/// What is wrong with a status.
pub(super) fn status_faults(ingress: &Value) -> Vec<Cause> {
    super::rules::faults(STATUS, ingress)
}

/// What is wrong with a class.
pub(super) fn class_faults(class: &Value) -> Vec<Cause> {
    super::rules::faults(CLASS, class)
}

fn something(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if items(&spec["rules"]).is_empty() && spec["defaultBackend"].is_null() {
        let why = "either `defaultBackend` or `rules` must be specified";
        causes.push(cause::invalid(path, &Value::Null, why));
    }
}

fn host(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = text(value);
    if address::sloppy(name).is_some() {
        causes.push(cause::invalid(path, value, "must be a DNS name, not an IP address"));
    }
    if !name.is_empty() {
        tls_host(value, path, causes);
    }
}

fn tls_host(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = text(value);
    let rule = if name.contains('*') { names::wildcard_subdomain } else { names::dns_subdomain };
    causes.extend(grammar(path, name, rule));
}

fn class_name(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    causes.extend(grammar(path, text(value), names::dns_subdomain));
}

fn path(value: &Value, at: &str, causes: &mut Vec<Cause>) {
    let kind = &value["pathType"];
    if kind.is_null() {
        causes.push(cause::required(join(at, "pathType"), "pathType must be specified"));
        return;
    }
    let said = Value::from(text(&value["path"]));
    let field = join(at, "path");
    let path = text(&said);
    let mut fault = |why: &str| causes.push(cause::invalid(&field, &said, why));
    let relative = !path.starts_with('/');
    match text(kind) {
        "Exact" | "Prefix" => {
            if relative {
                fault("must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| path.contains(**part)) {
                fault(&format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|end| path.ends_with(**end)) {
                fault(&format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if relative && !path.is_empty() {
                fault("must be an absolute path");
            }
        }
        _ => causes.push(super::rules::not_supported(&join(at, "pathType"), kind, PATH_TYPES)),
    }
    backend(&value["backend"], &join(at, "backend"), causes);
}

fn backend(backend: &Value, path: &str, causes: &mut Vec<Cause>) {
    let empty = Value::from("");
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (false, false) => {
            causes.push(cause::invalid(path, &empty, "cannot set both resource and service backends"));
        }
        (true, true) => causes.push(cause::invalid(path, &empty, "resource or service backend is required")),
        (true, false) => check(REFERENCE, resource, &join(path, "resource"), causes),
        (false, true) => {
            let name = text(&service["name"]);
            let at = join(path, "service.name");
            if name.is_empty() {
                causes.push(cause::required(at, ""));
            } else {
                causes.extend(grammar(&at, name, names::dns_label));
            }
            port(&service["port"], path, causes);
        }
    }
}

fn port(port: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (name, number) = (text(&port["name"]), port["number"].as_i64().unwrap_or_default());
    match (name.is_empty(), number) {
        (true, 0) => causes.push(cause::required(path, "port name or number is required")),
        (true, _) => {
            causes.extend(names::port_number(&join(path, "service.port.number"), &port["number"]));
        }
        (false, 0) => causes.extend(grammar(&join(path, "service.port.name"), name, names::port_name)),
        (false, _) => {
            let why = "cannot set both port name & port number";
            causes.push(cause::invalid(path, &Value::from(""), why));
        }
    }
}

fn published(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = text(value);
    if name.is_empty() {
        return;
    }
    causes.extend(grammar(path, name, names::dns_subdomain));
    if address::sloppy(name).is_some() {
        causes.push(cause::invalid(path, value, "must be a DNS name, not an IP address"));
    }
}

fn group(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    causes.extend(grammar(path, text(value), names::dns_subdomain));
}

fn controller(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    const LONGEST: u64 = 250;
    if text(value).len() as u64 > LONGEST {
        causes.push(cause::too_long(path, LONGEST));
    }
    causes.extend(names::domain_prefixed_path(path, text(value)));
}

fn scope(parameters: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (scope, namespace) = (&parameters["scope"], &parameters["namespace"]);
    let at = join(path, "namespace");
    match (text(scope), namespace) {
        ("Namespace", Value::Null) => {
            causes.push(cause::required(at, "`parameters.scope` is set to 'Namespace'"));
        }
        ("Namespace", name) => causes.extend(grammar(&at, text(name), names::dns_label)),
        ("Cluster", Value::Null) => {}
        ("Cluster", _) => causes.push(cause::forbidden(at, "`parameters.scope` is set to 'Cluster'")),
        _ => causes.push(super::rules::not_supported(&join(path, "scope"), scope, &["Cluster", "Namespace"])),
    }
}
