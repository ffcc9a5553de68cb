//! Pod specs and pod templates, wherever they stand.

use serde_json::{Value, json};

use super::container::{self, Around};
use super::rules::{self, Rows, Rule};
use super::{defaults, placement, resources, security, volume};
use crate::quantity;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

/// Rules before those of the security context, and after those of affinity.
const FIRST: Rows = &[
    ("restartPolicy", Rule::OneOf(&["Always", "OnFailure", "Never"])),
    ("dnsPolicy", Rule::OneOf(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"])),
    ("nodeSelector", Rule::Own(labels)),
];
const LAST: Rows = &[
    ("", Rule::Own(dns)),
    ("readinessGates[].conditionType", Rule::Text(names::qualified_name)),
    ("schedulingGates", Rule::Own(scheduling_gates)),
    ("topologySpreadConstraints", Rule::Own(placement::spread_faults)),
    ("", Rule::Own(security::host_process_faults)),
    ("", Rule::Own(own_users)),
    ("serviceAccountName", Rule::Text(names::dns_subdomain)),
    ("nodeName", Rule::Text(names::dns_subdomain)),
    ("activeDeadlineSeconds", Rule::Own(deadline)),
    ("hostname", Rule::Text(names::dns_label)),
    ("subdomain", Rule::Text(names::dns_label)),
    ("hostnameOverride", Rule::Text(names::dns_subdomain)),
    ("tolerations", Rule::Own(placement::toleration_faults)),
    (
        "hostAliases[]",
        Rule::Rows(&[("ip", Rule::Own(address)), ("hostnames[]", Rule::Text(names::dns_subdomain))]),
    ),
    ("priorityClassName", Rule::Text(names::dns_subdomain)),
    ("runtimeClassName", Rule::Text(names::dns_subdomain)),
    ("preemptionPolicy", Rule::OneOf(&["Never", "PreemptLowerPriority"])),
];

/// Fills in the defaults of a template (`metadata` and `spec`).
pub(super) fn fill_template(template: &mut Value) {
    if template.is_object()
        && let Some(spec) = template.get_mut("spec").filter(|spec| spec.is_object())
    {
        fill(spec);
    }
}

/// Fills in the defaults of a pod spec.
pub(super) fn fill(spec: &mut Value) {
    defaults::pod_spec(spec);
    let on_host = spec["hostNetwork"] == true;
    drop_empty(
        spec,
        &["hostNetwork", "hostPID", "hostIPC"],
        &["volumes", "initContainers", "tolerations", "imagePullSecrets"],
    );
    for volume in defaults::items(spec, "volumes") {
        if let Some(projected) = volume.get_mut("projected").filter(|projected| projected.is_object())
            && rules::items(&projected["sources"]).is_empty()
        {
            projected["sources"] = Value::Null;
        }
    }
    for secret in defaults::items(spec, "imagePullSecrets") {
        if secret["name"] == "" {
            super::set_or_remove(secret, "name", None);
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in defaults::items(spec, list) {
            drop_empty(
                container,
                &["stdin", "stdinOnce", "tty"],
                &["args", "command", "env", "envFrom", "ports", "volumeMounts"],
            );
            for variable in defaults::items(container, "env") {
                if variable["value"] == "" {
                    super::set_or_remove(variable, "value", None);
                }
            }
            if container.get("imagePullPolicy").is_none() {
                let image = container["image"].as_str().unwrap_or_default();
                container["imagePullPolicy"] = json!(pull_policy(image));
            }
            for amounts in ["limits", "requests"] {
                if let Some(amounts) = container.pointer_mut(&format!("/resources/{amounts}")) {
                    canonical_amounts(amounts);
                }
            }
            if on_host {
                for port in defaults::items(container, "ports") {
                    if port.get("hostPort").is_none() {
                        port["hostPort"] = port["containerPort"].clone();
                    }
                }
            }
        }
    }
    let account =
        ["serviceAccountName", "serviceAccount"].iter().find_map(|f| spec[*f].as_str()).map(str::to_owned);
    if let Some(account) = account {
        spec["serviceAccountName"] = json!(account);
        spec["serviceAccount"] = json!(account);
    }
}

/// The feature of signals of one's own is not on.
pub(super) fn drop_disabled(spec: &mut Value) {
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in defaults::items(spec, list) {
            let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) else {
                continue;
            };
            if lifecycle.remove("stopSignal").is_some() && lifecycle.is_empty() {
                super::set_or_remove(container, "lifecycle", None);
            }
        }
    }
}

/// Go leaves out flags that are false and lists that are empty.
fn drop_empty(value: &mut Value, flags: &[&str], lists: &[&str]) {
    let Some(object) = value.as_object_mut() else { return };
    object.retain(|field, value| {
        let unset = flags.contains(&field.as_str()) && *value == false;
        let empty = lists.contains(&field.as_str()) && value.as_array().is_some_and(Vec::is_empty);
        !unset && !empty
    });
}

/// Writes quantities as the real server does: numbers as text, in their canonical unit.
pub(super) fn canonical_amounts(amounts: &mut Value) {
    for amount in amounts.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
        let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
        if let Some(canonical) = quantity::canonical(&text) {
            *amount = json!(canonical);
        }
    }
}

/// `Always` for images without a tag or with `latest`.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if latest { "Always" } else { "IfNotPresent" }
}

/// What is wrong with a pod spec; `path` is where it stands (`ValidatePodSpec`).
pub(super) fn faults(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let volumes = volume::faults(rules::items(&spec["volumes"]), path, &mut causes);
    let claims = resource_claims(&spec["resourceClaims"], &format!("{path}.resourceClaims"), &mut causes);
    if rules::items(&spec["containers"]).is_empty() {
        causes.push(required(&format!("{path}.containers")));
    }
    let around = Around {
        volumes: &volumes,
        claimed: &claims,
        grace: spec["terminationGracePeriodSeconds"].as_i64().unwrap_or_default(),
        restarts: spec["restartPolicy"] != "Never",
    };
    container::faults(spec, path, &around, &mut causes);
    resources::faults(&spec["resources"], &format!("{path}.resources"), &claims, &mut causes);
    rules::check(FIRST, spec, path, &mut causes);
    security::pod_faults(spec, path, &mut causes);
    placement::affinity_faults(&spec["affinity"], &format!("{path}.affinity"), &mut causes);
    rules::check(LAST, spec, path, &mut causes);
    if let Some(overhead) = spec.get("overhead") {
        let limits = json!({"limits": overhead});
        resources::faults(&limits, &format!("{path}.overhead"), &[], &mut causes);
    }
    if spec["os"].is_object() {
        security::system_faults(spec, path, &mut causes);
    }
    security::foreign_faults(spec, path, &mut causes);
    causes
}

/// A cause of a part that stands elsewhere than its rules suppose.
pub(super) fn within(path: &str, mut cause: Cause) -> Cause {
    cause.field = format!("{path}.{}", cause.field);
    cause
}

fn resource_claims<'a>(claims: &'a Value, path: &str, causes: &mut Vec<Cause>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (index, claim) in rules::items(claims).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = rules::text(&claim["name"]);
        if name.is_empty() {
            causes.push(required(&format!("{path}.name")));
        } else if names.contains(&name) {
            causes.push(duplicate(&format!("{path}.name"), name));
        } else {
            causes.extend(rules::grammar(&format!("{path}.name"), name, names::dns_label));
            names.push(name);
        }
        let (one, other) = (&claim["resourceClaimName"], &claim["resourceClaimTemplateName"]);
        let why = match (one.is_null(), other.is_null()) {
            (true, true) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            (false, false) => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            _ => continue,
        };
        let shown = format!(
            "{{\"Name\":{},\"ResourceClaimName\":{one},\"ResourceClaimTemplateName\":{other}}}",
            claim["name"]
        );
        causes.push(Cause::new("FieldValueInvalid", path, format!("Invalid value: {shown}: {why}")));
    }
    names
}

pub(super) fn labels(labels: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        causes.extend(rules::grammar(path, key, names::qualified_name));
        causes.extend(rules::grammar(path, rules::text(value), names::label_value));
    }
}

fn dns(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (at, config) = (format!("{path}.dnsConfig"), &spec["dnsConfig"]);
    let servers = rules::items(&config["nameservers"]);
    if spec["dnsPolicy"] == "None" {
        if config.is_null() {
            causes.push(cause::required(&at, "must provide `dnsConfig` when `dnsPolicy` is None"));
        } else if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            causes.push(cause::required(format!("{at}.nameservers"), why));
        }
    }
    if servers.len() > 3 {
        let why = "must not have more than 3 nameservers";
        causes.push(cause::invalid(format!("{at}.nameservers"), &config["nameservers"], why));
    }
    for (index, server) in servers.iter().enumerate() {
        address(server, &format!("{at}.nameservers[{index}]"), causes);
    }
    for (index, search) in rules::items(&config["searches"]).iter().enumerate() {
        let search = rules::text(search);
        let bare = search.strip_suffix('.').unwrap_or(search);
        causes.extend(rules::grammar(&format!("{at}.searches[{index}]"), bare, names::search_domain));
    }
    for (index, option) in rules::items(&config["options"]).iter().enumerate() {
        if rules::text(&option["name"]).is_empty() {
            causes.push(cause::required(format!("{at}.options[{index}]"), "must not be empty"));
        }
    }
}

fn address(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if crate::server::address::sloppy(rules::text(value)).is_none() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(cause::invalid(path, &rules::text(value).into(), why));
    }
}

fn scheduling_gates(gates: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, gate) in rules::items(gates).iter().enumerate() {
        let (at, name) = (format!("{path}[{index}]"), rules::text(&gate["name"]));
        causes.extend(rules::grammar(&at, name, names::qualified_name));
        if rules::items(gates)[..index].iter().any(|earlier| earlier["name"] == gate["name"]) {
            causes.push(duplicate(&at, name));
        }
    }
}

fn own_users(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if spec["hostUsers"] != false {
        return;
    }
    for field in ["hostNetwork", "hostPID", "hostIPC"].iter().filter(|field| spec[**field] == true) {
        causes.push(cause::forbidden(format!("{path}.{field}"), "when `hostUsers` is false"));
    }
}

fn deadline(seconds: &Value, path: &str, causes: &mut Vec<Cause>) {
    if seconds.as_i64().is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds)) {
        causes.push(cause::invalid(path, seconds, "must be between 1 and 2147483647, inclusive"));
    }
}

pub(super) fn required(field: &str) -> Cause {
    Cause::new("FieldValueRequired", field, "Required value")
}

pub(super) fn duplicate(field: &str, value: &str) -> Cause {
    Cause::new("FieldValueDuplicate", field, format!("Duplicate value: {value:?}"))
}

pub(super) fn invalid(field: &str, value: &str, fault: &str) -> Cause {
    crate::server::meta::invalid(field, value, fault)
}
