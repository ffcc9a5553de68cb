//! Roles and bindings.
//!
//! Follows `pkg/apis/rbac/validation`.

use serde_json::{Value, json};

use super::defaults;
use crate::status::Cause;

/// Subjects name the group of their kind, and so does the role; a list that is empty is none once it has been stored.
pub(super) fn fill(value: &mut Value) {
    if value["rules"].as_array().is_some_and(Vec::is_empty) {
        value["rules"] = Value::Null;
    }
    let group = json!("rbac.authorization.k8s.io");
    for subject in defaults::items(value, "subjects") {
        if matches!(subject["kind"].as_str(), Some("User" | "Group"))
            && subject["apiGroup"].as_str().is_none_or(str::is_empty)
        {
            subject["apiGroup"] = group.clone();
        }
    }
    if value["roleRef"].is_object() && value["roleRef"]["apiGroup"].as_str().is_none_or(str::is_empty) {
        value["roleRef"]["apiGroup"] = group;
    }
}

/// What is wrong with a role or binding; `plural` says which it is.
pub(super) fn faults(plural: &str, value: &Value) -> Vec<Cause> {
    match plural {
        "roles" | "clusterroles" => role_faults(value, plural == "roles"),
        _ => binding_faults(value, plural == "rolebindings"),
    }
}

/// A binding binds the same role for ever.
pub(super) fn update_faults(new: &Value, old: &Value) -> Vec<Cause> {
    if new["roleRef"] == old["roleRef"] {
        return Vec::new();
    }
    let role = &new["roleRef"];
    let shown =
        format!("{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}", role["apiGroup"], role["kind"], role["name"]);
    vec![Cause::new("FieldValueInvalid", "roleRef", format!("Invalid value: {shown}: cannot change roleRef"))]
}

fn role_faults(role: &Value, namespaced: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, rule) in role["rules"].as_array().into_iter().flatten().enumerate() {
        let field = |name: &str| format!("rules[{index}].{name}");
        let empty = |name: &str| rule[name].as_array().is_none_or(Vec::is_empty);
        let required = |name: &str, why: &str| {
            Cause::new("FieldValueRequired", field(name), format!("Required value: {why}"))
        };
        if empty("verbs") {
            causes.push(required("verbs", "verbs must contain at least one value"));
        }
        if !empty("nonResourceURLs") {
            let why = if namespaced {
                "namespaced rules cannot apply to non-resource URLs"
            } else if ["apiGroups", "resources", "resourceNames"].iter().any(|name| !empty(name)) {
                "rules cannot apply to both regular resources and non-resource URLs"
            } else {
                continue;
            };
            let fault = format!("Invalid value: {}: {why}", rule["nonResourceURLs"]);
            causes.push(Cause::new("FieldValueInvalid", field("nonResourceURLs"), fault));
            continue;
        }
        if empty("apiGroups") {
            causes.push(required("apiGroups", "resource rules must supply at least one api group"));
        }
        if empty("resources") {
            causes.push(required("resources", "resource rules must supply at least one resource"));
        }
    }
    causes
}

fn binding_faults(binding: &Value, namespaced: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut unsupported = |field: String, said: &str, known: &[&str]| {
        let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
        let fault = format!("Unsupported value: {said:?}: supported values: {}", known.join(", "));
        causes.push(Cause::new("FieldValueNotSupported", field, fault));
    };
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let role = &binding["roleRef"];
    let group = text(role, "apiGroup");
    if group != "rbac.authorization.k8s.io" {
        unsupported("roleRef.apiGroup".into(), &group, &["rbac.authorization.k8s.io"]);
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let kind = text(role, "kind");
    if !kinds.contains(&kind.as_str()) {
        unsupported("roleRef.kind".into(), &kind, kinds);
    }
    let required = |field: String| Cause::new("FieldValueRequired", field, "Required value");
    if text(role, "name").is_empty() {
        causes.push(required("roleRef.name".into()));
    }
    for (index, subject) in binding["subjects"].as_array().into_iter().flatten().enumerate() {
        let field = |name: &str| format!("subjects[{index}].{name}");
        if text(subject, "name").is_empty() {
            causes.push(required(field("name")));
        }
        let kind = text(subject, "kind");
        match kind.as_str() {
            "ServiceAccount" if !namespaced && text(subject, "namespace").is_empty() => {
                causes.push(required(field("namespace")));
            }
            "ServiceAccount" | "User" | "Group" => {}
            _ => {
                let known = "supported values: \"ServiceAccount\", \"User\", \"Group\"";
                let fault = format!("Unsupported value: {kind:?}: {known}");
                causes.push(Cause::new("FieldValueNotSupported", field("kind"), fault));
            }
        }
    }
    causes
}
