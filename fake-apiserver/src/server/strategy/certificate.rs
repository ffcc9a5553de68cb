//! Certificate signing requests: who asks, who approves, and what signers say.
//!
//! The rules are those of `pkg/apis/certificates/validation` and of the strategies in `pkg/registry/certificates`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::request::User;
use crate::schema::cause;
use crate::server::names;
use crate::status::Cause;

/// The subresource of approvers.
pub(super) const APPROVAL: &str = "approval";
/// Only approvers write these conditions.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
/// Conditions that say `True` or are not there, and that no update takes away.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];
/// Shortest life of a certificate that may be asked for.
const SHORTEST_SECONDS: i64 = 600;
/// Who signed what came before there were signers; refused since `certificates.k8s.io/v1`.
const LEGACY: &str = "kubernetes.io/legacy-unknown";

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// A request begins undecided and says who made it, whatever its body says.
pub(super) fn begin(request: &mut Value, user: &User) {
    request["status"] = json!({});
    let Some(spec) = request["spec"].as_object_mut() else { return };
    for (field, text) in [("username", &user.name), ("uid", &user.uid)] {
        spec.remove(field);
        if !text.is_empty() {
            spec.insert(field.into(), json!(text));
        }
    }
    spec.remove("groups");
    spec.remove("extra");
    if !user.groups.is_empty() {
        spec.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".into(), json!(user.extra));
    }
}

/// What the object's own endpoint, that of approvers and that of signers leave as it was.
pub(super) fn carry(subresource: Option<&str>, new: &mut Value, old: &Value) {
    new["spec"] = old["spec"].clone();
    match subresource {
        Some(APPROVAL) => {
            super::set_or_remove(
                &mut new["status"],
                "certificate",
                old["status"].get("certificate").cloned(),
            );
        }
        Some(_) => keep_decisions(new, old),
        None => new["status"] = old["status"].clone(),
    }
}

/// A signer that leaves a decision out, or changes it, writes it as it was.
fn keep_decisions(new: &mut Value, old: &Value) {
    for decision in DECISIONS {
        let Some(was) = conditions(old).iter().find(|condition| condition["type"] == decision) else {
            continue;
        };
        let Some(list) = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else {
            continue;
        };
        if let Some(is) = list.iter_mut().find(|condition| condition["type"] == decision) {
            is.clone_from(was);
        }
    }
}

/// Times of conditions that came without them, or whose status has changed.
pub(super) fn date_conditions(request: &mut Value, old: &Value, now: &str) {
    let old = conditions(old).to_vec();
    let list = request.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in list.into_iter().flatten() {
        if condition.get("lastUpdateTime").is_none_or(Value::is_null) {
            condition["lastUpdateTime"] = json!(now);
        }
        if condition.get("lastTransitionTime").is_none_or(Value::is_null) {
            let same =
                |was: &&Value| was["type"] == condition["type"] && was["status"] == condition["status"];
            let since = old.iter().find(same).map(|was| was["lastTransitionTime"].clone());
            condition["lastTransitionTime"] = since.unwrap_or_else(|| json!(now));
        }
    }
}

fn conditions(request: &Value) -> &[Value] {
    request["status"]["conditions"].as_array().map_or(&[], Vec::as_slice)
}

fn has(request: &Value, kind: &str) -> bool {
    conditions(request).iter().any(|condition| condition["type"] == kind)
}

/// What is wrong with a new request.
pub(super) fn faults(request: &Value) -> Vec<Cause> {
    let spec = &request["spec"];
    let mut causes = Vec::new();
    if !is_pem(spec["request"].as_str().unwrap_or_default(), "CERTIFICATE REQUEST") {
        causes.push(cause::invalid(
            "spec.request",
            &spec["request"],
            "PEM block type must be CERTIFICATE REQUEST",
        ));
    }
    let usages = spec["usages"].as_array().map_or(&[][..], Vec::as_slice);
    if usages.is_empty() {
        causes.push(cause::required("spec.usages", ""));
    }
    for (at, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{at}]");
        if !usage.as_str().is_some_and(|usage| USAGES.contains(&usage)) {
            causes.push(cause::not_supported(field, usage, &USAGES.map(Value::from)));
        } else if usages[..at].contains(usage) {
            causes.push(cause::duplicate(field, usage));
        }
    }
    causes.extend(signer_fault(&spec["signerName"]));
    if let Some(seconds) = spec["expirationSeconds"].as_i64().filter(|seconds| *seconds < SHORTEST_SECONDS) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        causes.push(cause::invalid("spec.expirationSeconds", &json!(seconds), why));
    }
    causes
}

fn signer_fault(signer: &Value) -> Option<Cause> {
    let name = signer.as_str().unwrap_or_default();
    if name.is_empty() {
        return Some(cause::required("spec.signerName", ""));
    }
    if name == LEGACY {
        let why = "the legacy signerName is not allowed via this API version";
        return Some(cause::invalid("spec.signerName", signer, why));
    }
    let well_formed = name.split_once('/').is_some_and(|(domain, path)| {
        domain.contains('.')
            && names::dns_subdomain(domain).is_empty()
            && names::dns_subdomain(path).is_empty()
    });
    let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    (!well_formed).then(|| cause::invalid("spec.signerName", signer, why))
}

/// What is wrong with a write of approvers or signers.
pub(super) fn update_faults(subresource: Option<&str>, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = condition_faults(conditions(new));
    let certificate = &new["status"]["certificate"];
    let text = certificate.as_str().unwrap_or_default();
    if certificate != &old["status"]["certificate"] && !text.is_empty() && !is_pem(text, "CERTIFICATE") {
        let why = "must contain at least one CERTIFICATE PEM block";
        causes.push(cause::invalid("status.certificate", &json!("<certificate data>"), why));
    }
    let forbidden = |what: &str, kind: &str| {
        let why = format!("updates may not {what} a condition of type {kind:?}");
        cause::forbidden("status.conditions", &why)
    };
    for kind in FINAL.into_iter().filter(|kind| has(old, kind) && !has(new, kind)) {
        causes.push(forbidden("remove", kind));
    }
    if subresource != Some(APPROVAL) {
        for kind in DECISIONS.into_iter().filter(|kind| !has(old, kind) && has(new, kind)) {
            causes.push(forbidden("add", kind));
        }
    }
    causes
}

fn condition_faults(conditions: &[Value]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut decided: Option<&str> = None;
    for (at, condition) in conditions.iter().enumerate() {
        let field = |name: &str| format!("status.conditions[{at}].{name}");
        let kind = condition["type"].as_str().unwrap_or_default();
        let status = condition["status"].as_str().unwrap_or_default();
        if kind.is_empty() {
            causes.push(cause::required(field("type"), ""));
        }
        let allowed: &[&str] = if FINAL.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        let allowed: Vec<Value> = allowed.iter().copied().map(Value::from).collect();
        if status.is_empty() {
            causes.push(cause::required(field("status"), ""));
        } else if !allowed.contains(&condition["status"]) {
            causes.push(cause::not_supported(field("status"), &condition["status"], &allowed));
        }
        if DECISIONS.contains(&kind) {
            if decided.is_some_and(|before| before != kind) {
                let why = "Approved and Denied conditions are mutually exclusive";
                causes.push(cause::invalid("status.conditions", &json!(kind), why));
            }
            decided = Some(kind);
        }
        if conditions[..at].iter().any(|before| before["type"] == condition["type"]) {
            causes.push(cause::duplicate(field("type"), &condition["type"]));
        }
    }
    causes
}

/// Whether bytes in base64 begin a PEM block of this kind somewhere.
fn is_pem(bytes: &str, kind: &str) -> bool {
    let decoded = STANDARD.decode(bytes).unwrap_or_default();
    String::from_utf8_lossy(&decoded).lines().any(|line| line == format!("-----BEGIN {kind}-----"))
}
