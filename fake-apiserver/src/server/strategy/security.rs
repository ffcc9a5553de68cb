//! Security contexts of pods and containers (`ValidateSecurityContext`, `ValidatePodSecurityContext`).

use serde_json::Value;

use super::rules::{Rows, Rule, check, items, join, not_supported, text};
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];
const CONTAINER: Rows = &[
    ("runAsUser", Rule::Own(identity)),
    ("runAsGroup", Rule::Own(identity)),
    ("procMount", Rule::OneOf(&["Default", "Unmasked"])),
    ("seccompProfile?", Rule::Own(seccomp)),
    ("", Rule::Own(escalation)),
    ("windowsOptions?", Rule::Rows(WINDOWS)),
    ("appArmorProfile?", Rule::Own(app_armor)),
];
const POD: Rows = &[
    ("fsGroup", Rule::Own(identity)),
    ("runAsUser", Rule::Own(identity)),
    ("runAsGroup", Rule::Own(identity)),
    ("supplementalGroups[]", Rule::Own(identity)),
];
const POD_AFTER: Rows = &[
    ("", Rule::Own(sysctls)),
    ("fsGroupChangePolicy", Rule::OneOf(&["Always", "OnRootMismatch"])),
    ("seccompProfile?", Rule::Own(seccomp)),
    ("windowsOptions?", Rule::Rows(WINDOWS)),
    ("appArmorProfile?", Rule::Own(app_armor)),
    ("supplementalGroupsPolicy", Rule::OneOf(&["Merge", "Strict"])),
    ("seLinuxChangePolicy", Rule::OneOf(&["Recursive"])),
];
const WINDOWS: Rows = &[("gmsaCredentialSpecName", Rule::Text(names::dns_subdomain))];
/// The members of Go's internal types, which have no tags.
const CONTEXT: [&str; 12] = [
    "Capabilities",
    "Privileged",
    "SELinuxOptions",
    "WindowsOptions",
    "RunAsUser",
    "RunAsGroup",
    "RunAsNonRoot",
    "ReadOnlyRootFilesystem",
    "AllowPrivilegeEscalation",
    "ProcMount",
    "SeccompProfile",
    "AppArmorProfile",
];

/// What is wrong with the security context of a container.
pub(super) fn container_faults(context: &Value, path: &str, causes: &mut Vec<Cause>) {
    check(CONTAINER, context, path, causes);
}

/// What is wrong with the security context of a pod, and with what else of its spec concerns its host.
pub(super) fn pod_faults(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    if spec["hostNetwork"] == true {
        for list in ["containers", "initContainers"] {
            for (index, container) in items(&spec[list]).iter().enumerate() {
                for (number, port) in items(&container["ports"]).iter().enumerate() {
                    let host = &port["hostPort"];
                    if host.as_i64().is_some_and(|host| host != 0) && *host != port["containerPort"] {
                        let at = format!("{path}.{list}[{index}].ports[{number}].hostPort");
                        let why = "must match `containerPort` when `hostNetwork` is true";
                        causes.push(cause::invalid(at, host, why));
                    }
                }
            }
        }
    }
    let (context, at) = (&spec["securityContext"], join(path, "securityContext"));
    check(POD, context, &at, causes);
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        causes.push(cause::invalid(join(&at, "shareProcessNamespace"), &Value::Bool(true), why));
    }
    check(POD_AFTER, context, &at, causes);
}

/// What pods of one operating system have no use for (`validateWindowsHostProcessPod`, `validateOS`).
pub(super) fn system_faults(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let at = join(path, "os");
    let name = text(&spec["os"]["name"]);
    if name.is_empty() {
        causes.push(cause::required(join(&at, "name"), "cannot be empty"));
        return;
    }
    if !matches!(name, "linux" | "windows") {
        causes.push(not_supported(&at, &name.into(), &["linux", "windows"]));
    }
}

/// Fields that belong to another operating system than the pod's.
pub(super) fn foreign_faults(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    const NOT_ON_WINDOWS: [&str; 9] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
    ];
    let windows = match text(&spec["os"]["name"]) {
        "windows" => true,
        "linux" => false,
        _ => return,
    };
    let contexts = ["containers", "initContainers"].into_iter().flat_map(|list| {
        let all = items(&spec[list]).iter().enumerate();
        all.map(move |(index, container)| {
            (format!("{path}.{list}[{index}].securityContext"), &container["securityContext"])
        })
    });
    let pod = (join(path, "securityContext"), &spec["securityContext"]);
    for (at, context) in std::iter::once(pod).chain(contexts) {
        if windows {
            for field in NOT_ON_WINDOWS.iter().filter(|field| !context[**field].is_null()) {
                causes.push(cause::forbidden(join(&at, field), "cannot be set for a windows pod"));
            }
        } else if !context["windowsOptions"].is_null() {
            let why = "windows options cannot be set for a linux pod";
            causes.push(cause::forbidden(join(&at, "windowsOptions"), why));
        }
    }
}

/// Host process containers run in the network of their host.
pub(super) fn host_process_faults(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let is_host = |holder: &Value| holder["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let mut containers = ["containers", "initContainers"].iter().flat_map(|list| items(&spec[*list]));
    if (is_host(spec) || containers.any(is_host)) && spec["hostNetwork"] != true {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        causes.push(cause::invalid(join(path, "hostNetwork"), &Value::Bool(false), why));
    }
}

fn identity(id: &Value, path: &str, causes: &mut Vec<Cause>) {
    if id.as_i64().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        causes.push(cause::invalid(path, id, "must be between 0 and 2147483647, inclusive"));
    }
}

fn seccomp(profile: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (kind, file) = (text(&profile["type"]), &profile["localhostProfile"]);
    let at = join(path, "localhostProfile");
    if !PROFILES.contains(&kind) {
        causes.push(not_supported(&join(path, "type"), &kind.into(), PROFILES));
        return;
    }
    if kind == "Localhost" {
        if text(file).is_empty() {
            causes.push(cause::required(at, "must be set when seccomp type is Localhost"));
        } else {
            super::volume::descending(file, &at, causes);
        }
    } else if !file.is_null() {
        let shown = format!("{{\"Type\":{kind:?},\"LocalhostProfile\":{file}}}");
        let fault = format!("Invalid value: {shown}: can only be set when seccomp type is Localhost");
        causes.push(Cause::new("FieldValueInvalid", at, fault));
    }
}

fn app_armor(profile: &Value, path: &str, causes: &mut Vec<Cause>) {
    let (kind, file) = (text(&profile["type"]), &profile["localhostProfile"]);
    let at = join(path, "localhostProfile");
    if !PROFILES.contains(&kind) {
        causes.push(not_supported(&join(path, "type"), &kind.into(), PROFILES));
    } else if kind == "Localhost" && text(file).is_empty() {
        causes.push(cause::required(at, "must be set when AppArmor type is Localhost"));
    } else if kind != "Localhost" && !file.is_null() {
        causes.push(cause::invalid(at, file, "can only be set when AppArmor type is Localhost"));
    }
}

fn escalation(context: &Value, path: &str, causes: &mut Vec<Cause>) {
    if context["allowPrivilegeEscalation"] != false {
        return;
    }
    let mut fault = |what: &str| {
        let why = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
        let fault = format!("Invalid value: {}: {why}", shown(context));
        causes.push(Cause::new("FieldValueInvalid", path, fault));
    };
    if context["privileged"] == true {
        fault("`privileged` to true");
    }
    if items(&context["capabilities"]["add"]).iter().any(|name| name == "CAP_SYS_ADMIN") {
        fault("`capabilities.Add` CAP_SYS_ADMIN");
    }
}

/// A container's context as Go's internal type.
fn shown(context: &Value) -> String {
    let member = |name: &&str| {
        let mut field = (*name).to_owned();
        field[..1].make_ascii_lowercase();
        let field = if *name == "SELinuxOptions" { "seLinuxOptions" } else { &field };
        let value = &context[field];
        let text = match *name {
            "Capabilities" if !value.is_null() => {
                format!("{{\"Add\":{},\"Drop\":{}}}", value["add"], value["drop"])
            }
            "SeccompProfile" | "AppArmorProfile" if !value.is_null() => {
                format!("{{\"Type\":{},\"LocalhostProfile\":{}}}", value["type"], value["localhostProfile"])
            }
            _ => value.to_string(),
        };
        format!("{name:?}:{text}")
    };
    format!("{{{}}}", CONTEXT.iter().map(member).collect::<Vec<_>>().join(","))
}

fn sysctls(context: &Value, path: &str, causes: &mut Vec<Cause>) {
    let all = items(&context["sysctls"]);
    for (index, sysctl) in all.iter().enumerate() {
        let (at, name) = (format!("{path}.sysctls[{index}].name"), text(&sysctl["name"]));
        if name.is_empty() {
            causes.push(cause::required(at, ""));
        } else if !is_sysctl(name) {
            let why = "must have at most 253 characters and match regex \
                       ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            causes.push(cause::invalid(at, &name.into(), why));
        } else if all[..index].iter().any(|earlier| earlier["name"] == name) {
            causes.push(cause::duplicate(at, &name.into()));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let part = |part: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let bytes = part.as_bytes();
        ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| inner(*b))
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}
