//! Kinds of `storage.k8s.io` that drivers and their controllers write (`pkg/apis/storage/validation`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::persistent_volume::driver;
use super::rules::{Rows, Rule, faults as check, grammar, items, join, not_supported, text};
use crate::quantity;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

const DRIVER: Rows = &[
    ("spec.fsGroupPolicy", Rule::OneOf(&["File", "None", "ReadWriteOnceWithFSType"])),
    ("spec.tokenRequests", Rule::Own(tokens)),
    ("spec.volumeLifecycleModes", Rule::Own(modes)),
];
const NODE: Rows = &[("spec.drivers", Rule::Own(drivers))];
const CAPACITY: Rows = &[
    ("storageClassName", Rule::Own(class_name)),
    ("capacity", Rule::Own(amount)),
    ("maximumVolumeSize", Rule::Own(amount)),
    ("nodeTopology?", Rule::Selector),
];
const ATTACHMENT: Rows = &[
    ("spec.attacher", Rule::Required("")),
    ("spec.attacher", Rule::Own(driver)),
    ("spec.source", Rule::Own(source)),
    ("spec.nodeName", Rule::Own(class_name)),
];
const ATTRIBUTES: Rows = &[
    ("driverName", Rule::Required("")),
    ("parameters", Rule::Required("must contain at least one key/value pair")),
];
const FIRST_DRIVER: Rows = &[("name", Rule::Own(driver))];

/// What is wrong with an object of the group; nothing where its kind has a file of its own.
pub(super) fn faults(plural: &str, value: &Value) -> Vec<Cause> {
    match plural {
        "csidrivers" => check(DRIVER, value),
        "csinodes" => check(NODE, value),
        "csistoragecapacities" => check(CAPACITY, value),
        "volumeattachments" => check(ATTACHMENT, value),
        "volumeattributesclasses" => check(ATTRIBUTES, value),
        _ => Vec::new(),
    }
}

/// What an update has changed of what may not change.
pub(super) fn update_faults(plural: &str, new: &Value, old: &Value) -> Vec<Cause> {
    const FIXED: &str = "field is immutable";
    let (mut causes, spec, was) = (Vec::new(), &new["spec"], &old["spec"]);
    match plural {
        "csidrivers" => {
            // It is said so.
            for (field, said) in
                [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
            {
                if spec[field] != was[field] {
                    causes.push(cause::invalid(format!("spec.{said}"), &spec[field], FIXED));
                }
            }
        }
        "csinodes" => {
            for driver in items(&spec["drivers"]) {
                let known = items(&was["drivers"]).iter().find(|known| known["name"] == driver["name"]);
                let changed = known.is_some_and(|known| {
                    ["nodeID", "topologyKeys"].iter().any(|field| known[*field] != driver[*field])
                });
                if changed {
                    let shown = format!(
                        "{{\"Name\":{},\"NodeID\":{},\"TopologyKeys\":{},\"Allocatable\":{}}}",
                        driver["name"], driver["nodeID"], driver["topologyKeys"], driver["allocatable"]
                    );
                    let fault = format!("Invalid value: {shown}: {FIXED}");
                    causes.push(Cause::new("FieldValueInvalid", "spec.drivers", fault));
                }
            }
        }
        "csistoragecapacities" => {
            for field in ["nodeTopology", "storageClassName"] {
                if new[field] != old[field] {
                    causes.push(cause::invalid(field, &new[field], FIXED));
                }
            }
        }
        "volumeattachments" if spec != was => {
            let from = &spec["source"];
            let shown = format!(
                "{{\"Attacher\":{},\"Source\":{{\"PersistentVolumeName\":{},\"InlineVolumeSpec\":{}}},\"NodeName\":{}}}",
                spec["attacher"], from["persistentVolumeName"], from["inlineVolumeSpec"], spec["nodeName"]
            );
            causes.push(Cause::new("FieldValueInvalid", "spec", format!("Invalid value: {shown}: {FIXED}")));
        }
        "volumeattributesclasses" => {
            for field in ["driverName", "parameters"].into_iter().filter(|field| new[field] != old[field]) {
                causes.push(cause::forbidden(field, &format!("updates to {field} are forbidden.")));
            }
        }
        _ => {}
    }
    causes
}

/// What is wrong with the status of an attachment.
pub(super) fn status_faults(attachment: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for error in ["attachError", "detachError"] {
        let code = &attachment["status"][error]["errorCode"];
        if code.as_i64().is_some_and(|code| !(0..=i64::from(i32::MAX)).contains(&code)) {
            let at = format!("status.{error}.errorCode");
            causes.push(cause::invalid(at, code, "must be between 0 and 2147483647, inclusive"));
        }
    }
    causes
}

/// What kinds of the group have where nobody says anything.
pub(super) fn fill(plural: &str, value: &mut Value) {
    if plural == "csidrivers" {
        let defaults = [
            ("attachRequired", json!(true)),
            ("podInfoOnMount", json!(false)),
            ("storageCapacity", json!(false)),
            ("fsGroupPolicy", json!("ReadWriteOnceWithFSType")),
            ("requiresRepublish", json!(false)),
            ("seLinuxMount", json!(false)),
            ("volumeLifecycleModes", json!(["Persistent"])),
        ];
        for (field, default) in defaults {
            if value["spec"][field].is_null() || value["spec"][field] == json!([]) {
                value["spec"][field] = default;
            }
        }
    }
}

fn tokens(requests: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, request) in items(requests).iter().enumerate() {
        let at = format!("{path}[{index}]");
        if !seen.insert(text(&request["audience"])) {
            causes.push(cause::duplicate(join(&at, "audience"), &request["audience"]));
        }
        let seconds = &request["expirationSeconds"];
        let why = match seconds.as_i64() {
            Some(..600) => "may not specify a duration less than 10 minutes",
            Some(seconds) if seconds > 1 << 32 => "may not specify a duration larger than 2^32 seconds",
            _ => continue,
        };
        causes.push(cause::invalid(join(&at, "expirationSeconds"), seconds, why));
    }
}

fn modes(modes: &Value, path: &str, causes: &mut Vec<Cause>) {
    let known = ["Persistent", "Ephemeral"];
    for mode in items(modes).iter().filter(|mode| !known.contains(&text(mode))) {
        causes.push(not_supported(path, mode, &known));
    }
}

fn drivers(list: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, one) in items(list).iter().enumerate() {
        let at = format!("{path}[{index}]");
        super::rules::check(FIRST_DRIVER, one, &at, causes);
        super::rules::check(&[("nodeID", Rule::Required(""))], one, &at, causes);
        if !seen.insert(text(&one["name"])) {
            causes.push(cause::duplicate(join(&at, "name"), &one["name"]));
        }
        let keys = items(&one["topologyKeys"]);
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].contains(key) {
                causes.push(cause::duplicate(&at, key));
            }
            causes.extend(grammar(&at, text(key), names::qualified_name));
        }
        super::rules::check(&[("allocatable?.count", Rule::Natural)], one, &at, causes);
    }
}

/// A name, which must be there.
fn class_name(name: &Value, path: &str, causes: &mut Vec<Cause>) {
    causes.extend(grammar(path, text(name), names::dns_subdomain));
}

fn amount(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.as_str().and_then(quantity::milli).is_some_and(|amount| amount < 0) {
        causes.push(cause::invalid(path, value, "must be greater than or equal to 0"));
    }
}

fn source(source: &Value, path: &str, causes: &mut Vec<Cause>) {
    let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (source["inlineVolumeSpec"].is_null(), text(&source["persistentVolumeName"]).is_empty()) {
        (true, true) => causes.push(cause::required(path, why)),
        (false, false) => causes.push(cause::forbidden(path, why)),
        _ => {}
    }
}
