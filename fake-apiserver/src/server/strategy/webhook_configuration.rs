//! Configurations of admission webhooks (`pkg/apis/admissionregistration/validation`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::{Rows, Rule, check, items, join, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const WEBHOOK: Rows = &[
    ("name", Rule::Own(domain)),
    ("namespaceSelector?", Rule::Selector),
    ("objectSelector?", Rule::Selector),
    ("rules[]", Rule::Rows(RULE)),
    ("failurePolicy", Rule::OneOf(&["Fail", "Ignore"])),
    ("matchPolicy", Rule::OneOf(&["Equivalent", "Exact"])),
    ("sideEffects", Rule::Own(side_effects)),
    ("timeoutSeconds", Rule::AtLeast(1, TIMEOUT)),
    ("timeoutSeconds", Rule::AtMost(30, TIMEOUT)),
    ("reinvocationPolicy", Rule::OneOf(&["IfNeeded", "Never"])),
    ("clientConfig", Rule::Own(client)),
    ("admissionReviewVersions", Rule::Own(versions)),
];
const TIMEOUT: &str = "the timeout value must be between 1 and 30 seconds";
const RULE: Rows = &[
    ("operations", Rule::Required("")),
    ("operations", Rule::Own(all_or_some)),
    ("operations[]", Rule::Chosen(OPERATIONS)),
    ("apiGroups", Rule::Required("")),
    ("apiGroups", Rule::Own(all_or_some)),
    ("apiVersions", Rule::Required("")),
    ("apiVersions", Rule::Own(all_or_some)),
    ("resources", Rule::Required("")),
    ("scope", Rule::OneOf(&["*", "Cluster", "Namespaced"])),
];

/// What is wrong with a configuration.
pub(super) fn faults(configuration: &Value) -> Vec<Cause> {
    let (mut causes, mut seen) = (Vec::new(), BTreeSet::new());
    for (index, webhook) in items(&configuration["webhooks"]).iter().enumerate() {
        let path = format!("webhooks[{index}]");
        check(WEBHOOK, webhook, &path, &mut causes);
        if !seen.insert(text(&webhook["name"])) {
            causes.push(cause::duplicate(join(&path, "name"), &webhook["name"]));
        }
    }
    causes
}

/// A name is that of a domain of its own.
fn domain(name: &Value, path: &str, causes: &mut Vec<Cause>) {
    let said = text(name);
    if said.is_empty() {
        causes.push(cause::required(path, ""));
        return;
    }
    let faults = names::dns_subdomain(said);
    if faults.is_empty() && said.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        causes.push(cause::invalid(path, name, why));
    }
    causes.extend(faults.iter().map(|why| cause::invalid(path, name, why)));
}

fn all_or_some(list: &Value, path: &str, causes: &mut Vec<Cause>) {
    if items(list).len() > 1 && items(list).iter().any(|item| item == "*") {
        let what = match path.rsplit('.').next() {
            Some("apiGroups") => "API groups",
            Some("apiVersions") => "API versions",
            _ => "operations",
        };
        let why = format!("if '*' is present, must not specify other {what}");
        causes.push(cause::invalid(path, list, &why));
    }
}

fn side_effects(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() {
        causes.push(cause::required(path, "must specify one of None, NoneOnDryRun"));
    } else {
        check(&[("", Rule::OneOf(&["None", "NoneOnDryRun"]))], value, path, causes);
    }
}

fn versions(versions: &Value, path: &str, causes: &mut Vec<Cause>) {
    if items(versions).is_empty() {
        causes.push(cause::required(path, "must specify one of v1, v1beta1"));
    } else if !items(versions).iter().any(|version| matches!(text(version), "v1" | "v1beta1")) {
        causes.push(cause::invalid(path, versions, "must include at least one of v1, v1beta1"));
    }
}

/// What is wrong with where a webhook is.
pub(super) fn client(client: &Value, path: &str, causes: &mut Vec<Cause>) {
    match (&client["url"], &client["service"]) {
        (Value::String(said), Value::Null) => url(said, &join(path, "url"), causes),
        (Value::Null, service) if service.is_object() => {
            let at = join(path, "service");
            check(&[("name", Rule::Required("")), ("namespace", Rule::Required(""))], service, &at, causes);
            if !service["port"].is_null() {
                let faults = names::port_number(&join(&at, "port"), &service["port"]);
                causes.extend(faults.map(|mut fault| {
                    fault.message = fault.message.replace(": must", ": port is not valid: must");
                    fault
                }));
            }
            let way = text(&service["path"]);
            path_faults(way, &join(&at, "path"), causes);
        }
        _ => causes.push(cause::required(path, "exactly one of url or service is required")),
    }
}

/// Each part between the slashes is a name; one slash may end it.
fn path_faults(way: &str, at: &str, causes: &mut Vec<Cause>) {
    let mut refuse = |why: &str| causes.push(cause::invalid(at, &Value::from(way), why));
    if way.is_empty() || way == "/" {
        return;
    }
    if way == "//" {
        return refuse("segment[0] may not be empty");
    }
    if !way.starts_with('/') {
        refuse("must start with a '/'");
    }
    let inner = way.get(1..).unwrap_or_default();
    let steps = inner.strip_suffix('/').unwrap_or(inner);
    for (index, step) in steps.split('/').enumerate() {
        if step.is_empty() {
            refuse(&format!("segment[{index}] may not be empty"));
            continue;
        }
        for fault in names::dns_subdomain(step) {
            refuse(&format!("segment[{index}]: {fault}"));
        }
    }
}

fn url(said: &str, path: &str, causes: &mut Vec<Cause>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let mut fault = |part: &str, why: &str| causes.push(cause::invalid(path, &part.into(), why));
    let (scheme, rest) = said.split_once("://").unwrap_or(("", said));
    if scheme != "https" {
        fault(scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() {
        fault("", &format!("host must be specified{FORM}"));
    }
    if let Some((user, _)) = host.split_once('@') {
        fault(user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        fault(fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        fault(query, "query parameters are not permitted in the URL");
    }
}
