//! Probes of containers and what is done at the beginning and end of their life (`validateProbe`, `validateLifecycle`).

use serde_json::Value;

use super::rules::{Rows, Rule, check, items, join, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

/// What can be done, in the order in which it is looked at.
const HANDLERS: [(&str, Rows); 4] = [
    ("exec", &[("command", Rule::Required(""))]),
    ("httpGet", HTTP_GET),
    ("tcpSocket", &[("port", Rule::Own(port))]),
    ("grpc", &[("port", Rule::Own(number))]),
];
const HTTP_GET: Rows = &[
    ("path", Rule::Required("")),
    ("port", Rule::Own(port)),
    ("scheme", Rule::OneOf(&["HTTP", "HTTPS"])),
    ("httpHeaders", Rule::Own(headers)),
];
const NUMBERS: Rows = &[
    ("initialDelaySeconds", Rule::Natural),
    ("timeoutSeconds", Rule::Natural),
    ("periodSeconds", Rule::Natural),
    ("successThreshold", Rule::Natural),
    ("failureThreshold", Rule::Natural),
    ("terminationGracePeriodSeconds", Rule::AtLeast(1, "must be greater than 0")),
];
/// The probes that may ask for no more than one success.
const ONCE: Rows = &[
    ("successThreshold", Rule::AtLeast(1, "must be 1")),
    ("successThreshold", Rule::AtMost(1, "must be 1")),
];

/// What is wrong with the lifecycle and the probes of a container that runs along with the others.
pub(super) fn faults(container: &Value, path: &str, grace: i64, causes: &mut Vec<Cause>) {
    for hook in ["postStart", "preStop"] {
        let action = &container["lifecycle"][hook];
        if !action.is_null() {
            handler(action, &format!("{path}.lifecycle.{hook}"), Some(grace), causes);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[name];
        if probe.is_null() {
            continue;
        }
        let path = join(path, name);
        handler(probe, &path, None, causes);
        check(NUMBERS, probe, &path, causes);
        if name != "readinessProbe" {
            check(ONCE, probe, &path, causes);
        } else if !probe["terminationGracePeriodSeconds"].is_null() {
            let at = format!("{path}.terminationGracePeriodSeconds");
            let why = "must not be set for readinessProbes";
            causes.push(cause::invalid(at, &probe["terminationGracePeriodSeconds"], why));
        }
    }
}

/// Exactly one thing is done; only hooks, which have a time to end in, may sleep.
fn handler(handler: &Value, path: &str, grace: Option<i64>, causes: &mut Vec<Cause>) {
    let mut said = 0;
    for (field, rows) in HANDLERS {
        if handler[field].is_null() {
            continue;
        }
        said += 1;
        if said > 1 {
            causes.push(cause::forbidden(join(path, field), "may not specify more than 1 handler type"));
        } else {
            check(rows, &handler[field], &join(path, field), causes);
        }
    }
    if let Some(grace) = grace.filter(|_| !handler["sleep"].is_null()) {
        said += 1;
        let seconds = &handler["sleep"]["seconds"];
        if said > 1 {
            causes.push(cause::forbidden(join(path, "sleep"), "may not specify more than 1 handler type"));
        } else if !(0..=grace).contains(&seconds.as_i64().unwrap_or_default()) {
            let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            causes.push(cause::invalid(join(path, "sleep"), seconds, &why));
        }
    }
    if said == 0 {
        causes.push(cause::required(path, "must specify a handler type"));
    }
}

/// A port by its number or name.
pub(super) fn port(port: &Value, path: &str, causes: &mut Vec<Cause>) {
    match port.as_str() {
        Some(name) => {
            causes.extend(names::port_name(name).iter().map(|why| cause::invalid(path, port, why)));
        }
        None => number(port, path, causes),
    }
}

fn number(port: &Value, path: &str, causes: &mut Vec<Cause>) {
    causes.extend(names::port_number(path, port));
}

fn headers(headers: &Value, path: &str, causes: &mut Vec<Cause>) {
    for name in items(headers).iter().map(|header| text(&header["name"])) {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                       regex used for validation is '[-A-Za-z0-9]+')";
            causes.push(cause::invalid(path, &Value::from(name), why));
        }
    }
}
