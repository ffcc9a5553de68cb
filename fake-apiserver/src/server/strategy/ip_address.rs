//! IPAddresses and ServiceCIDRs (`pkg/apis/networking/validation`).

use serde_json::Value;

use super::rules::{items, text};
use crate::schema::cause;
use crate::server::address;
use crate::status::Cause;

const FIXED: &str = "field is immutable";
const NO_NETWORK: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// What is wrong with an address: it is named after itself, and belongs to something.
pub(super) fn faults(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = &object["metadata"]["name"];
    if address::sloppy(text(name)).is_none() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(cause::invalid("metadata.name", name, why));
    }
    let parent = &object["spec"]["parentRef"];
    if parent.is_null() {
        causes.push(cause::required("spec.parentRef", ""));
        return causes;
    }
    for field in ["resource", "name"].into_iter().filter(|field| text(&parent[field]).is_empty()) {
        causes.push(cause::required(format!("spec.parentRef.{field}"), ""));
    }
    causes
}

/// What an update has changed: it belongs to the same for ever.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let (is, was) = (&new["spec"]["parentRef"], &old["spec"]["parentRef"]);
    if is == was {
        return Vec::new();
    }
    let said = |field: &str| Value::from(text(&is[field]));
    let shown = format!(
        "{{\"Group\":{},\"Resource\":{},\"Namespace\":{},\"Name\":{}}}",
        said("group"),
        said("resource"),
        said("namespace"),
        said("name")
    );
    let fault = format!("Invalid value: {shown}: {FIXED}");
    vec![Cause::new("FieldValueInvalid", "spec.parentRef", fault)]
}

/// What is wrong with a range of service addresses.
pub(super) fn range_faults(range: &Value) -> Vec<Cause> {
    let (at, cidrs) = ("spec.cidrs", &range["spec"]["cidrs"]);
    if items(cidrs).is_empty() {
        return vec![cause::required(at, "at least one CIDR required")];
    }
    let mut causes = Vec::new();
    for (index, cidr) in items(cidrs).iter().enumerate() {
        if address::network(text(cidr)).is_none() {
            causes.push(cause::invalid(format!("{at}[{index}]"), cidr, NO_NETWORK));
        }
    }
    let of = |v6: bool| items(cidrs).iter().filter(|cidr| text(cidr).contains(':') == v6).count();
    if causes.is_empty() && (of(true) > 1 || of(false) > 1) {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        causes.push(cause::invalid(at, cidrs, why));
    }
    causes
}

/// What an update has changed of a range.
pub(super) fn range_update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    let (is, was) = (items(&new["spec"]["cidrs"]), items(&old["spec"]["cidrs"]));
    let changed = is.iter().zip(was).enumerate().filter(|(_, (is, was))| is != was);
    changed.map(|(index, (is, _))| cause::invalid(format!("spec.cidrs[{index}]"), is, FIXED)).collect()
}
