//! What a client should know about a pod although nothing is wrong with it (`pkg/api/pod/warnings.go`).

use serde_json::Value;

use super::rules::{items, join, text};
use crate::quantity;
use crate::server::names;

/// Labels of nodes that have newer names: since when, and which.
const LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
];
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// About a pod.
pub(super) fn of_pod(pod: &Value) -> Vec<String> {
    let mut said = Vec::new();
    of(&pod["spec"], &pod["metadata"], "", &mut said);
    said
}

/// About a name that is no name of a host.
pub(super) fn named(object: &Value, pod: bool) -> Option<String> {
    let faults = names::dns_label(text(&object["metadata"]["name"]));
    let place = if pod { "the Pod's hostname" } else { "Pod names and hostnames" };
    (!faults.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in {place}, which can result in surprising behavior; a DNS label is \
             recommended: [{}]",
            faults.join(" ")
        )
    })
}

/// About the pod templates of a workload.
pub(super) fn of_templates(object: &Value) -> Vec<String> {
    let mut said = Vec::new();
    for path in ["template", "spec.template", "spec.jobTemplate.spec.template"] {
        let template = path.split('.').fold(object, |at, field| &at[field]);
        of(&template["spec"], &template["metadata"], path, &mut said);
    }
    said
}

fn of(spec: &Value, metadata: &Value, path: &str, said: &mut Vec<String>) {
    let (spec_at, meta_at) = (join(path, "spec"), join(path, "metadata"));
    places(spec, &spec_at, said);
    let annotations = &metadata["annotations"];
    for (name, why) in ANNOTATIONS.iter().filter(|(name, _)| !annotations[*name].is_null()) {
        said.push(format!("{meta_at}.annotations[{name}]: {why}"));
    }
    volumes(&spec["volumes"], &spec_at, said);
    for (index, ip) in repeated(&spec["hostAliases"], "ip") {
        said.push(format!("{spec_at}.hostAliases[{index}].ip: duplicate ip {ip:?}"));
    }
    for (index, name) in repeated(&spec["imagePullSecrets"], "name") {
        said.push(format!("{spec_at}.imagePullSecrets[{index}].name: duplicate name {name:?}"));
    }
    for (index, secret) in items(&spec["imagePullSecrets"]).iter().enumerate() {
        if text(&secret["name"]).is_empty() {
            said.push(format!("{spec_at}.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in items(&spec[list]).iter().enumerate() {
            let key = format!("{APP_ARMOR}{}", text(&container["name"]));
            if !annotations[&key].is_null() {
                said.push(format!(
                    "{meta_at}.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
                ));
            }
            container_warnings(container, &format!("{spec_at}.{list}[{index}]"), said);
        }
    }
}

fn newer(label: &str) -> Option<String> {
    let (_, since, name) = LABELS.iter().find(|(old, ..)| *old == label)?;
    Some(format!("deprecated since {since}; use \"{name}\" instead"))
}

fn places(spec: &Value, path: &str, said: &mut Vec<String>) {
    for key in spec["nodeSelector"].as_object().into_iter().flatten().map(|(key, _)| key) {
        said.extend(newer(key).map(|why| format!("{path}.nodeSelector[{key}]: {why}")));
    }
    let nodes = &spec["affinity"]["nodeAffinity"];
    let at = join(path, "affinity.nodeAffinity");
    let term = |term: &Value, at: &str, said: &mut Vec<String>| {
        for (index, requirement) in items(&term["matchExpressions"]).iter().enumerate() {
            let key = text(&requirement["key"]);
            said.extend(newer(key).map(|why| format!("{at}.matchExpressions[{index}].key: {key} is {why}")));
        }
    };
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, one) in items(&nodes[required]["nodeSelectorTerms"]).iter().enumerate() {
        term(one, &format!("{at}.{required}.nodeSelectorTerms[{index}]"), said);
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, one) in items(&nodes[preferred]).iter().enumerate() {
        term(&one["preference"], &format!("{at}.{preferred}[{index}].preference"), said);
    }
    for (index, constraint) in items(&spec["topologySpreadConstraints"]).iter().enumerate() {
        let at = format!("{path}.topologySpreadConstraints[{index}]");
        let key = text(&constraint["topologyKey"]);
        said.extend(newer(key).map(|why| format!("{at}.topologyKey: {key} is {why}")));
        if constraint["labelSelector"].is_null() {
            said.push(format!("{at}.labelSelector: a null labelSelector results in matching no pod"));
        }
    }
}

fn volumes(volumes: &Value, path: &str, said: &mut Vec<String>) {
    for (index, volume) in items(volumes).iter().enumerate() {
        for (kind, why) in VOLUMES.iter().filter(|(kind, _)| !volume[*kind].is_null()) {
            // It is said so.
            let kind = if *kind == "storageos" { "storageOS" } else { kind };
            said.push(format!("{path}.volumes[{index}].{kind}: {why}"));
        }
        let empty = |source: &Value| source.as_object().is_some_and(serde_json::Map::is_empty);
        if items(&volume["projected"]["sources"]).iter().any(empty) {
            said.push(format!("volume {:?} (Projected) has no sources provided", text(&volume["name"])));
        }
    }
}

/// The items of a list whose field an earlier one has.
fn repeated<'a>(list: &'a Value, field: &'static str) -> impl Iterator<Item = (usize, &'a str)> {
    let all = items(list);
    let again = move |(index, item): &(usize, &'a Value)| {
        all[..*index].iter().any(|earlier| text(&earlier[field]) == text(&item[field]))
    };
    all.iter().enumerate().filter(again).map(move |(index, item)| (index, text(&item[field])))
}

fn container_warnings(container: &Value, path: &str, said: &mut Vec<String>) {
    for what in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let amount = text(&container["resources"][list][what]);
            if quantity::milli(amount).is_some_and(|amount| amount % 1000 != 0) {
                said.push(format!(
                    "{path}.resources.{list}[{what}]: fractional byte value {amount:?} is invalid, must be an integer"
                ));
            }
        }
    }
    let variables = items(&container["env"]);
    for (index, variable) in variables.iter().enumerate() {
        let name = text(&variable["name"]);
        let earlier = variables[..index].iter().any(|earlier| earlier["name"] == variable["name"]);
        // A variable that is made of its earlier value does not hide it.
        if earlier && !text(&variable["value"]).contains(&format!("$({name})")) {
            said.push(format!(
                "{path}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
    let ports = items(&container["ports"]);
    for (index, port) in ports.iter().enumerate() {
        let same = |other: &Value| {
            ["containerPort", "protocol", "hostPort", "hostIP"]
                .iter()
                .all(|field| other[*field] == port[*field])
        };
        if let Some(earlier) = ports[..index].iter().position(same) {
            said.push(format!(
                "{path}.ports[{index}]: duplicate port definition with {path}.ports[{earlier}]"
            ));
        }
    }
}
