//! The volumes of pods (`ValidateVolumes`): what each is made of, a row for each source.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::environment::{FILE_FIELDS, field_faults, resource_faults};
use super::persistent_volume::{HOST_PATH, NFS, driver, no_backsteps};
use super::rules::{Rows, Rule, check, items, join, text};
use super::{persistent_volume_claim, pod_spec};
use crate::quantity;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

/// Sources in the order in which they are looked at. Of drivers that have left Kubernetes only what must be there is
/// known here.
const SOURCES: [(&str, Rows); 29] = [
    ("emptyDir", &[("sizeLimit", Rule::Own(size))]),
    ("hostPath", HOST_PATH),
    ("gitRepo", &[("repository", Rule::Required("")), ("directory", Rule::Own(reserved))]),
    ("gcePersistentDisk", &[("pdName", Rule::Required(""))]),
    ("awsElasticBlockStore", &[("volumeID", Rule::Required(""))]),
    ("secret", SECRET),
    ("nfs", NFS),
    ("iscsi", ISCSI),
    ("glusterfs", &[("endpoints", Rule::Required("")), ("path", Rule::Required(""))]),
    ("flocker", &[]),
    ("persistentVolumeClaim", &[("claimName", Rule::Required(""))]),
    ("rbd", &[("monitors", Rule::Required("")), ("image", Rule::Required(""))]),
    ("cinder", &[("volumeID", Rule::Required(""))]),
    ("cephfs", &[("monitors", Rule::Required(""))]),
    ("quobyte", &[]),
    ("downwardAPI", FILES),
    ("fc", &[("", Rule::Own(fibre_channel))]),
    ("flexVolume", &[("driver", Rule::Required(""))]),
    ("configMap", MAP),
    ("azureFile", &[("secretName", Rule::Required("")), ("shareName", Rule::Required(""))]),
    ("vsphereVolume", &[("volumePath", Rule::Required(""))]),
    ("photonPersistentDisk", &[("pdID", Rule::Required(""))]),
    ("portworxVolume", &[("volumeID", Rule::Required(""))]),
    ("azureDisk", &[("diskName", Rule::Required("")), ("diskURI", Rule::Required(""))]),
    ("storageos", &[]),
    ("projected", PROJECTED),
    ("scaleIO", &[("gateway", Rule::Required("")), ("system", Rule::Required(""))]),
    ("csi", CSI),
    ("ephemeral", &[("", Rule::Own(ephemeral))]),
];
const IMAGE: Rows =
    &[("reference", Rule::Required("")), ("pullPolicy", Rule::OneOf(&["Always", "IfNotPresent", "Never"]))];
const SECRET: Rows = &[
    ("secretName", Rule::Required("")),
    ("defaultMode", Rule::Own(mode)),
    ("items[]", Rule::Rows(KEY_TO_PATH)),
];
const MAP: Rows =
    &[("name", Rule::Required("")), ("defaultMode", Rule::Own(mode)), ("items[]", Rule::Rows(KEY_TO_PATH))];
const KEY_TO_PATH: Rows = &[
    ("key", Rule::Required("")),
    ("path", Rule::Required("")),
    ("path", Rule::Own(reserved)),
    ("mode", Rule::Own(mode)),
];
const FILES: Rows = &[("defaultMode", Rule::Own(mode)), ("", Rule::Own(files))];
const ISCSI: Rows = &[
    ("targetPortal", Rule::Required("")),
    ("iqn", Rule::Required("")),
    ("iqn", Rule::Own(iqn)),
    ("lun", Rule::Own(lun)),
];
const PROJECTED: Rows = &[("defaultMode", Rule::Own(mode)), ("", Rule::Own(projected))];
const CSI: Rows = &[
    ("driver", Rule::Required("")),
    ("driver", Rule::Own(driver)),
    ("nodePublishSecretRef?.name", Rule::Required("")),
];

/// What is wrong with the volumes of a pod; returns those with which nothing is, and whether each is a block device.
pub(super) fn faults(volumes: &[Value], path: &str, causes: &mut Vec<Cause>) -> Vec<(String, bool)> {
    let (mut seen, mut sound) = (BTreeSet::new(), Vec::new());
    for (index, volume) in volumes.iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let before = causes.len();
        source_faults(volume, &path, causes);
        let (at, name) = (join(&path, "name"), text(&volume["name"]));
        if name.is_empty() {
            causes.push(cause::required(&at, ""));
        } else {
            causes.extend(names::dns_label(name).iter().map(|why| cause::invalid(&at, &volume["name"], why)));
        }
        if seen.contains(name) {
            causes.push(cause::duplicate(at, &volume["name"]));
        }
        if causes.len() == before {
            seen.insert(name.to_owned());
            let block = ["persistentVolumeClaim", "ephemeral"].iter().any(|kind| !volume[*kind].is_null());
            sound.push((name.to_owned(), block));
        }
    }
    sound
}

fn source_faults(volume: &Value, path: &str, causes: &mut Vec<Cause>) {
    let said =
        SOURCES.iter().copied().chain([("image", IMAGE)]).filter(|(field, _)| !volume[*field].is_null());
    for (number, (field, rows)) in said.enumerate() {
        if number > 0 {
            causes.push(cause::forbidden(join(path, field), "may not specify more than 1 volume type"));
        } else {
            check(rows, &volume[field], &join(path, field), causes);
        }
    }
}

fn size(limit: &Value, path: &str, causes: &mut Vec<Cause>) {
    if limit.as_str().and_then(quantity::milli).is_some_and(|amount| amount < 0) {
        causes.push(cause::forbidden(path, "SizeLimit field must be a valid resource quantity"));
    }
}

fn mode(mode: &Value, path: &str, causes: &mut Vec<Cause>) {
    if mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        causes.push(cause::invalid(path, mode, why));
    }
}

/// A path below the volume that is not one of the kubelet's own.
fn reserved(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let said = text(value);
    descending(value, path, causes);
    if said.starts_with("..") && !said.starts_with("../") {
        causes.push(cause::invalid(path, value, "must not start with '..'"));
    }
}

/// A path below another.
pub(super) fn descending(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if text(value).starts_with('/') {
        causes.push(cause::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(value, path, causes);
}

fn iqn(iqn: &Value, path: &str, causes: &mut Vec<Cause>) {
    let known = ["iqn", "eui", "naa"].iter().any(|start| text(iqn).starts_with(start));
    if !text(iqn).is_empty() && !known {
        causes.push(cause::invalid(path, iqn, "must be valid format starting with iqn, eui, or naa"));
    }
}

fn lun(lun: &Value, path: &str, causes: &mut Vec<Cause>) {
    if lun.as_i64().is_some_and(|lun| !(0..=255).contains(&lun)) {
        causes.push(cause::invalid(path, lun, "must be between 0 and 255, inclusive"));
    }
}

fn fibre_channel(source: &Value, path: &str, causes: &mut Vec<Cause>) {
    let has = |field: &str| !items(&source[field]).is_empty();
    let at = join(path, "targetWWNs");
    let why = "must specify either targetWWNs or wwids, but not both";
    match (has("targetWWNs"), has("wwids")) {
        (false, false) => causes.push(cause::required(at, why)),
        (true, true) => causes.push(cause::invalid(at, &source["targetWWNs"], why)),
        (true, false) if source["lun"].is_null() => {
            causes.push(cause::required(join(path, "lun"), "lun is required if targetWWNs is specified"));
        }
        _ => {}
    }
}

/// Files with what is known of the pod; the place says which list, not which file.
fn files(source: &Value, path: &str, causes: &mut Vec<Cause>) {
    for file in items(&source["items"]) {
        if text(&file["path"]).is_empty() {
            causes.push(cause::required(join(path, "path"), ""));
        }
        reserved(&file["path"], &join(path, "path"), causes);
        let (field, resource) = (&file["fieldRef"], &file["resourceFieldRef"]);
        if !field.is_null() {
            field_faults(field, &join(path, "fieldRef"), &FILE_FIELDS, causes);
            if !resource.is_null() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                causes.push(cause::invalid(path, &json!("resource"), why));
            }
        } else if !resource.is_null() {
            resource_faults(resource, &join(path, "resourceFieldRef"), true, causes);
        } else {
            causes.push(cause::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
        mode(&file["mode"], &join(path, "mode"), causes);
    }
}

fn projected(volume: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut taken = BTreeSet::new();
    let mut conflicts = |file: &Value| {
        let file = text(file);
        !file.is_empty() && !taken.insert(file.to_owned())
    };
    let twice = "conflicting duplicate paths";
    for (index, source) in items(&volume["sources"]).iter().enumerate() {
        let at = format!("{path}.sources[{index}]");
        let mut said = 0;
        for field in ["secret", "configMap", "downwardAPI", "serviceAccountToken"] {
            let of = &source[field];
            if of.is_null() {
                continue;
            }
            said += 1;
            if said > 1 {
                causes.push(cause::forbidden(&at, "may not specify more than 1 volume type per source"));
                continue;
            }
            let at = join(&at, field);
            match field {
                "downwardAPI" => {
                    files(of, &at, causes);
                    for _ in items(&of["items"]).iter().filter(|file| conflicts(&file["path"])) {
                        causes.push(cause::invalid(path, &json!("downwardAPI"), twice));
                    }
                }
                "serviceAccountToken" => {
                    token(of, &at, path, causes);
                    if conflicts(&of["path"]) {
                        causes.push(cause::invalid(path, &of["path"], twice));
                    }
                }
                _ => {
                    check(&[("name", Rule::Required(""))], of, &at, causes);
                    for (index, item) in items(&of["items"]).iter().enumerate() {
                        check(KEY_TO_PATH, item, &format!("{at}.items[{index}]"), causes);
                        if conflicts(&item["path"]) {
                            causes.push(cause::invalid(path, &of["name"], twice));
                        }
                    }
                }
            }
        }
    }
}

fn token(token: &Value, at: &str, volume: &str, causes: &mut Vec<Cause>) {
    let why = match token["expirationSeconds"].as_i64() {
        Some(..600) => Some("may not specify a duration less than 10 minutes"),
        Some(seconds) if seconds > 1 << 32 => Some("may not specify a duration larger than 2^32 seconds"),
        _ => None,
    };
    causes.extend(
        why.map(|why| cause::invalid(join(at, "expirationSeconds"), &token["expirationSeconds"], why)),
    );
    if text(&token["path"]).is_empty() {
        causes.push(cause::required(join(volume, "path"), ""));
    } else {
        reserved(&token["path"], &join(volume, "path"), causes);
    }
}

fn ephemeral(source: &Value, path: &str, causes: &mut Vec<Cause>) {
    let at = join(path, "volumeClaimTemplate");
    let template = &source["volumeClaimTemplate"];
    if template.is_null() {
        causes.push(cause::required(at, ""));
        return;
    }
    let own = persistent_volume_claim::faults(template);
    causes.extend(own.into_iter().map(|cause| pod_spec::within(&at, cause)));
}
