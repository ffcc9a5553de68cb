//! What is wrong with a CustomResourceDefinition, in the order of `apiextensions-apiserver/pkg/apis/apiextensions/validation`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::rules::items;
use super::webhook_configuration;
use crate::registry::Registry;
use crate::schema::cause;
use crate::server::{meta, names};
use crate::status::Cause;

/// Faults of a definition, its schemas included.
pub(super) fn faults(definition: &Value, old: Option<&Value>) -> Vec<Cause> {
    let spec = &definition["spec"];
    let mut causes = Vec::new();
    if old.is_none() {
        let name = text(&definition["metadata"]["name"]);
        if name != format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"])) {
            causes.push(meta::invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group"));
        }
    }
    group_and_scope(spec, &mut causes);
    versions(spec, &mut causes);
    names_of(&spec["names"], &mut causes);
    conversion(spec, &mut causes);
    let before = causes.len();
    stored_versions(definition, &mut causes);
    if let Some(old) = old {
        immutable(spec, &old["spec"], &mut causes);
    }
    if causes.is_empty()
        && old.is_none_or(|old| old["spec"] != *spec)
        && let Err(found) = Registry::custom(definition, 0)
    {
        causes.splice(before..before, found);
    }
    causes
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn required(field: impl Into<String>, causes: &mut Vec<Cause>) {
    causes.push(cause::required(field, ""));
}

fn group_and_scope(spec: &Value, causes: &mut Vec<Cause>) {
    let group = text(&spec["group"]);
    if group.is_empty() {
        required("spec.group", causes);
    } else {
        causes.extend(names::dns_subdomain(group).iter().map(|f| meta::invalid("spec.group", group, f)));
        if !group.contains('.') {
            causes.push(meta::invalid("spec.group", group, "should be a domain with at least one dot"));
        }
    }
    match text(&spec["scope"]) {
        "" => required("spec.scope", causes),
        "Namespaced" | "Cluster" => {}
        other => {
            let known = [json!("Cluster"), json!("Namespaced")];
            causes.push(cause::not_supported("spec.scope", &json!(other), &known));
        }
    }
    if spec["preserveUnknownFields"] == true {
        let at = "spec.preserveUnknownFields";
        if says_default(&spec["versions"]) {
            let why = "must be false in order to use defaults in the schema";
            causes.push(cause::invalid(at, &json!(true), why));
        }
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema \
                   instead";
        causes.push(cause::invalid(at, &json!(true), why));
    }
}

/// Whether a schema below has a default.
fn says_default(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.contains_key("default") || map.values().any(says_default),
        Value::Array(items) => items.iter().any(says_default),
        _ => false,
    }
}

fn versions(spec: &Value, causes: &mut Vec<Cause>) {
    let all = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, version) in all.iter().enumerate() {
        let (at, name) = (format!("spec.versions[{index}]"), text(&version["name"]));
        causes.extend(
            names::dns_1035_label(name).iter().map(|f| meta::invalid(&format!("{at}.name"), name, f)),
        );
        if !version["schema"]["openAPIV3Schema"].is_object() {
            required(format!("{at}.schema.openAPIV3Schema"), causes);
        }
    }
    let shown = internal_versions(&spec["versions"]);
    let mut refuse = |why: &str| {
        causes.push(Cause::new(
            "FieldValueInvalid",
            "spec.versions",
            format!("Invalid value: {shown}: {why}"),
        ));
    };
    let named: BTreeSet<&str> = all.iter().map(|version| text(&version["name"])).collect();
    if named.len() < all.len() {
        refuse("must contain unique version names");
    }
    if all.iter().filter(|version| version["storage"] == true).count() != 1 {
        refuse("must have exactly one version marked as storage version");
    }
}

/// The versions as the server's own type has them: what they all say alike is said elsewhere. Schemas that differ are
/// shown as they were written, which the real server does not do.
fn internal_versions(versions: &Value) -> String {
    let Some(all) = versions.as_array() else { return "null".to_owned() };
    let shared = |field: &str| all.iter().all(|version| version[field] == all[0][field]);
    let parts = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"];
    let of = |version: &Value| {
        let [schema, subresources, columns, selectable] =
            parts.map(|field| if shared(field) { Value::Null } else { version[field].clone() });
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":{schema},\
             \"Subresources\":{subresources},\"AdditionalPrinterColumns\":{columns},\"SelectableFields\":{selectable}}}",
            version["name"],
            version["served"],
            version["storage"],
            version["deprecated"] == true,
            version["deprecationWarning"],
        )
    };
    format!("[{}]", all.iter().map(of).collect::<Vec<_>>().join(","))
}

fn names_of(given: &Value, causes: &mut Vec<Cause>) {
    let label = |field: &str, value: &str, shown: &str, before: &str, causes: &mut Vec<Cause>| {
        let faults = names::dns_1035_label(value);
        let said = faults
            .iter()
            .map(|fault| meta::invalid(&format!("spec.names.{field}"), shown, &format!("{before}{fault}")));
        causes.extend(said);
    };
    for field in ["plural", "singular"] {
        match text(&given[field]) {
            "" => required(format!("spec.names.{field}"), causes),
            name => label(field, name, name, "", causes),
        }
    }
    for field in ["kind", "listKind"] {
        let mixed = "may have mixed case, but should otherwise match: ";
        match text(&given[field]) {
            "" => required(format!("spec.names.{field}"), causes),
            kind => label(field, &kind.to_lowercase(), kind, mixed, causes),
        }
    }
    for (index, name) in given["shortNames"].as_array().into_iter().flatten().enumerate() {
        label(&format!("shortNames[{index}]"), text(name), text(name), "", causes);
    }
    let (kind, list) = (text(&given["kind"]), text(&given["listKind"]));
    if !kind.is_empty() && kind == list {
        causes.push(meta::invalid("spec.names.listKind", list, "kind and listKind may not be the same"));
    }
    for (index, name) in given["categories"].as_array().into_iter().flatten().enumerate() {
        label(&format!("categories[{index}]"), text(name), text(name), "", causes);
    }
}

fn conversion(spec: &Value, causes: &mut Vec<Cause>) {
    let strategy = text(&spec["conversion"]["strategy"]);
    if !matches!(strategy, "" | "None" | "Webhook") {
        let known = [json!("None"), json!("Webhook")];
        causes.push(cause::not_supported("spec.conversion.strategy", &json!(strategy), &known));
        return;
    }
    let webhook = &spec["conversion"]["webhook"];
    let (client, versions) = (&webhook["clientConfig"], &webhook["conversionReviewVersions"]);
    // The names are those of an older version.
    let (at_client, at_versions) =
        ("spec.conversion.webhookClientConfig", "spec.conversion.conversionReviewVersions");
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        let said = [(at_client, client.is_object()), (at_versions, !items(versions).is_empty())];
        causes.extend(said.iter().filter(|(_, said)| *said).map(|(at, _)| cause::forbidden(*at, why)));
        return;
    }
    if client.is_object() {
        webhook_configuration::client(client, at_client, causes);
    } else {
        causes.push(cause::required(at_client, "required when strategy is set to Webhook"));
    }
    if items(versions).is_empty() {
        causes.push(cause::required(at_versions, ""));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, version) in items(versions).iter().enumerate() {
        let at = format!("{at_versions}[{index}]");
        if !seen.insert(text(version)) {
            causes.push(cause::invalid(&at, version, "duplicate version"));
        }
        let faults = names::dns_1035_label(text(version));
        causes.extend(faults.iter().map(|fault| meta::invalid(&at, text(version), fault)));
    }
    if !items(versions).iter().any(|version| matches!(text(version), "v1" | "v1beta1")) {
        causes.push(cause::invalid(at_versions, versions, "must include at least one of v1, v1beta1"));
    }
}

fn stored_versions(definition: &Value, causes: &mut Vec<Cause>) {
    let at = "status.storedVersions";
    let stored = &definition["status"]["storedVersions"];
    let all = stored.as_array().map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        causes.push(cause::invalid(at, &Value::Null, "must have at least one stored version"));
        return;
    }
    // Each is looked for once.
    let mut left: Vec<&Value> = all.iter().collect();
    for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
        let known = left.iter().position(|stored| **stored == version["name"]);
        if known.is_none() && version["storage"] == true {
            let why = format!("must have the storage version {}", text(&version["name"]));
            causes.push(cause::invalid(at, stored, &why));
        }
        known.map(|known| left.remove(known));
    }
    for (index, version) in all.iter().enumerate().filter(|(_, version)| left.contains(version)) {
        let name = text(version);
        let why = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a \
             storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        causes.push(cause::invalid(format!("{at}[{index}]"), version, &why));
    }
}

/// What an established definition may not change.
fn immutable(spec: &Value, old: &Value, causes: &mut Vec<Cause>) {
    for field in ["group", "scope"] {
        if old[field] != spec[field] {
            causes.push(meta::immutable(&format!("spec.{field}"), &spec[field]));
        }
    }
    for field in ["plural", "kind"] {
        if old["names"][field] != spec["names"][field] {
            causes.push(meta::immutable(&format!("spec.names.{field}"), &spec["names"][field]));
        }
    }
}
