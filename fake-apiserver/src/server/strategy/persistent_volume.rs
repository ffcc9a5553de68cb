//! `PersistentVolumes`, by `pkg/apis/core/validation` (`ValidatePersistentVolume…`).

use serde_json::{Value, json};

use super::rules::{Rows, Rule, check, items, join, text};
use crate::quantity;
use crate::schema::cause;
use crate::server::go_diff::{Shown, unified};
use crate::server::{go_text, names};
use crate::status::Cause;

pub(super) const ACCESS_MODES: &[&str] =
    &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
const HOST_PATHS: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

const TABLE: Rows = &[
    ("spec.accessModes", Rule::Required("")),
    ("spec.accessModes", Rule::Own(access_modes)),
    ("spec", Rule::Own(capacity)),
    ("spec.persistentVolumeReclaimPolicy", Rule::OneOf(&["Delete", "Recycle", "Retain"])),
    ("spec.nodeAffinity?", Rule::Own(affinity)),
    ("spec", Rule::Own(source)),
    ("spec", Rule::Own(recycled_root)),
    ("spec.storageClassName", Rule::Text(names::dns_subdomain)),
    ("spec.volumeMode", Rule::OneOf(VOLUME_MODES)),
    ("spec.volumeAttributesClassName", Rule::Text(names::dns_subdomain)),
];

/// What volumes are made of: field, name in Go's internal type, and rules. The rules of types that have left
/// Kubernetes, or whose drivers have, are not known here.
const SOURCES: [(&str, &str, Rows); 22] = [
    ("gcePersistentDisk", "GCEPersistentDisk", &[]),
    ("awsElasticBlockStore", "AWSElasticBlockStore", &[]),
    ("hostPath", "HostPath", HOST_PATH),
    ("glusterfs", "Glusterfs", &[]),
    ("nfs", "NFS", NFS),
    ("rbd", "RBD", &[]),
    ("quobyte", "Quobyte", &[]),
    ("iscsi", "ISCSI", &[]),
    ("flexVolume", "FlexVolume", &[]),
    ("cinder", "Cinder", &[]),
    ("cephfs", "CephFS", &[]),
    ("fc", "FC", &[]),
    ("flocker", "Flocker", &[]),
    ("azureFile", "AzureFile", &[]),
    ("vsphereVolume", "VsphereVolume", &[]),
    ("azureDisk", "AzureDisk", &[]),
    ("photonPersistentDisk", "PhotonPersistentDisk", &[]),
    ("portworxVolume", "PortworxVolume", &[]),
    ("scaleIO", "ScaleIO", &[]),
    ("local", "Local", LOCAL),
    ("storageos", "StorageOS", &[]),
    ("csi", "CSI", CSI),
];
pub(super) const HOST_PATH: Rows =
    &[("path", Rule::Required("")), ("path", Rule::Own(no_backsteps)), ("", Rule::Own(host_path_type))];
pub(super) const NFS: Rows =
    &[("server", Rule::Required("")), ("path", Rule::Required("")), ("path", Rule::Own(absolute))];
const LOCAL: Rows = &[("path", Rule::Required("")), ("path", Rule::Own(no_backsteps))];
const CSI: Rows = &[
    ("driver", Rule::Required("")),
    ("driver", Rule::Own(driver)),
    ("volumeHandle", Rule::Required("")),
    ("controllerPublishSecretRef?", Rule::Rows(SECRET)),
    ("controllerExpandSecretRef?", Rule::Rows(SECRET)),
    ("nodePublishSecretRef?", Rule::Rows(SECRET)),
    ("nodeExpandSecretRef?", Rule::Rows(SECRET)),
];
const SECRET: Rows = &[("name", Rule::Required("")), ("namespace", Rule::Required(""))];

/// The status a volume begins with.
pub(super) fn begin(volume: &mut Value, now: &str) {
    super::set_status(volume, json!({"phase": "Pending", "lastPhaseTransitionTime": now}));
}

/// A phase that has changed says since when, unless the client does.
pub(super) fn date_phase(new: &mut Value, old: &Value, now: &str) {
    let (is, was) = (&new["status"], &old["status"]);
    let time = "lastPhaseTransitionTime";
    let said = is.get(time).filter(|said| !said.is_null());
    let dated = match (is["phase"] == was["phase"], said) {
        (true, None) => was.get(time).cloned(),
        (false, said) if said.is_none() || said == was.get(time) => Some(json!(now)),
        _ => return,
    };
    super::set_or_remove(&mut new["status"], time, dated);
}

/// What is wrong with a volume.
pub(super) fn faults(volume: &Value) -> Vec<Cause> {
    super::rules::faults(TABLE, volume)
}

/// What of a volume may not change.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let source = |volume: &Value| -> Vec<Value> {
        SOURCES.iter().map(|(field, ..)| volume["spec"][*field].clone()).collect()
    };
    let mut wanted = new.clone();
    let secret = "controllerExpandSecretRef";
    if old["spec"]["csi"][secret].is_null() && new["spec"]["csi"].is_object() {
        super::set_or_remove(&mut wanted["spec"]["csi"], secret, None);
    }
    if source(&wanted) != source(old) {
        let difference = unified(&shown(old), &shown(&wanted));
        let why = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
        causes.push(cause::forbidden("spec.persistentvolumesource", &why));
    }
    causes.extend(super::rules::immutable_faults("", "persistentvolumes", new, old));
    let (affinity, was) = (&new["spec"]["nodeAffinity"], &old["spec"]["nodeAffinity"]);
    if !was.is_null() && affinity != was {
        let why = "field is immutable, except for updating from beta label to GA";
        causes.push(cause::invalid("nodeAffinity", &go_text::untagged(affinity), why));
    }
    causes
}

/// An amount that is no amount of bytes.
pub(super) fn basic(field: &str, amount: &Value) -> Option<Cause> {
    let value = amount.as_str().and_then(quantity::milli).filter(|value| *value < 0)?;
    let whole = i64::try_from(value.div_euclid(1000)).unwrap_or(i64::MIN);
    Some(cause::invalid(field, &json!(whole), "must be a valid resource quantity"))
}

pub(super) fn access_modes(modes: &Value, path: &str, causes: &mut Vec<Cause>) {
    for mode in items(modes).iter().filter(|mode| !ACCESS_MODES.contains(&text(mode))) {
        causes.push(super::rules::not_supported(path, mode, ACCESS_MODES));
    }
    let has = |once: bool| {
        let known = items(modes).iter().filter(|mode| ACCESS_MODES.contains(&text(mode)));
        known.into_iter().any(|mode| (*mode == "ReadWriteOncePod") == once)
    };
    if has(true) && has(false) {
        causes.push(cause::forbidden(path, "may not use ReadWriteOncePod with other access modes"));
    }
}

fn capacity(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let at = join(path, "capacity");
    let amounts = spec["capacity"].as_object().filter(|amounts| !amounts.is_empty());
    if amounts.is_none() {
        causes.push(cause::required(&at, ""));
    }
    if amounts.is_none_or(|amounts| amounts.len() > 1 || !amounts.contains_key("storage")) {
        let shown = amounts.map_or(Value::Null, |amounts| json!(amounts));
        causes.push(super::rules::not_supported(&at, &shown, &["storage"]));
    }
    for (name, amount) in amounts.into_iter().flatten() {
        let at = format!("{at}[{name}]");
        causes.extend(basic(&at, amount));
        if amount.as_str().and_then(quantity::milli).is_some_and(|amount| amount <= 0) {
            causes.push(cause::invalid(at, amount, "must be greater than zero"));
        }
    }
}

fn affinity(affinity: &Value, path: &str, causes: &mut Vec<Cause>) {
    let at = join(path, "required");
    if affinity["required"].is_null() {
        causes.push(cause::required(at, "must specify required node constraints"));
        return;
    }
    super::placement::node_selector(&affinity["required"], &at, true, causes);
}

fn source(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut said = SOURCES.iter().filter(|(field, ..)| !spec[*field].is_null());
    let Some((field, _, rows)) = said.next() else {
        causes.push(cause::required(path, "must specify a volume type"));
        return;
    };
    check(rows, &spec[*field], &join(path, field), causes);
    for (field, ..) in said {
        causes.push(cause::forbidden(join(path, field), "may not specify more than 1 volume type"));
    }
    if *field == "local" && spec["nodeAffinity"].is_null() {
        causes.push(cause::required(join(path, "nodeAffinity"), "Local volume requires node affinity"));
    }
}

fn recycled_root(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let parts = |text: &str| text.split('/').any(|part| !part.is_empty() && part != ".");
    let root = text(&spec["hostPath"]["path"]);
    if root.starts_with('/') && !parts(root) && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        causes.push(cause::forbidden(join(path, "persistentVolumeReclaimPolicy"), why));
    }
}

pub(super) fn no_backsteps(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if text(value).split('/').any(|part| part == "..") {
        causes.push(cause::invalid(path, value, "must not contain '..'"));
    }
}

/// Not looked at where there is no path.
fn host_path_type(host_path: &Value, path: &str, causes: &mut Vec<Cause>) {
    let kind = &host_path["type"];
    if !text(&host_path["path"]).is_empty() && !kind.is_null() && !HOST_PATHS.contains(&text(kind)) {
        causes.push(super::rules::not_supported(&join(path, "type"), kind, HOST_PATHS));
    }
}

fn absolute(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !text(value).starts_with('/') {
        causes.push(cause::invalid(path, &Value::from(text(value)), "must be an absolute path"));
    }
}

pub(super) fn driver(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = text(value);
    if name.len() > 63 {
        causes.push(cause::too_long(path, 63));
    }
    if !name.is_empty() {
        let faults = names::dns_subdomain(&name.to_lowercase());
        causes.extend(faults.iter().map(|fault| cause::invalid(path, value, fault)));
    }
}

/// What a volume is made of as Go's internal type shows it.
fn shown(volume: &Value) -> Shown {
    Shown::Struct(
        SOURCES
            .iter()
            .map(|(field, name, _)| (*name, Shown::Value(go_text::untagged(&volume["spec"][*field]))))
            .collect(),
    )
}
