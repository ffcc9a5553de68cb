//! Which schemas a CustomResourceDefinition may have.
//!
//! Two sets of rules of the real server, with its words: structural schemas
//! (`k8s.io/apiextensions-apiserver/pkg/apiserver/schema/validation.go` and `complete.go`) and what the API forbids
//! beside that (`pkg/apis/apiextensions/validation/validation.go`, see `forbidden`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::cause;
use super::forbidden;
use crate::status::Cause;

/// All rules; defaults are checked by `check_defaults` once the rest is right.
pub(super) fn check(openapi: &Value, path: &str) -> Vec<Cause> {
    let forbidden = forbidden::check(openapi, path);
    if forbidden.iter().any(|cause| cause.message.ends_with(" is not supported")) {
        // Such a schema cannot even be read as a structural one.
        return forbidden;
    }
    let mut causes = Vec::new();
    invariants(openapi, Level::Root, path, &mut causes);
    complete(openapi, openapi, path, path, &mut causes);
    causes.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
    causes.extend(forbidden);
    causes
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

fn on(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn type_of(schema: &Value) -> &str {
    schema.get("type").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn entries<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    schema.get(key).and_then(Value::as_object).into_iter().flatten()
}

pub(super) fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `validateStructuralInvariants`.
fn invariants(schema: &Value, level: Level, path: &str, causes: &mut Vec<Cause>) {
    let kind = type_of(schema);
    match schema.get("items") {
        Some(items) => invariants(items, Level::Item, &format!("{path}.items"), causes),
        None if kind == "array" => causes.push(cause::required(format!("{path}.items"), "must be specified")),
        None => {}
    }
    for (name, property) in entries(schema, "properties") {
        invariants(property, Level::Field, &format!("{path}.properties[{name}]"), causes);
    }
    if let Some(additional) = schema.get("additionalProperties") {
        let at = format!("{path}.additionalProperties");
        if level == Level::Root {
            causes.push(cause::forbidden(&at, "must not be used at the root"));
        }
        if additional.is_object() {
            invariants(additional, Level::Field, &at, causes);
        }
    }
    extensions(schema, path, causes);
    let skip = IntOrStringForm::of(schema);
    junctors(schema, skip, path, causes);
    types(schema, level, path, causes);
    metadata(schema, level, path, causes);
}

fn extensions(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if !on(schema, "x-kubernetes-int-or-string") {
        return;
    }
    for other in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
        if on(schema, other) {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            causes.push(cause::invalid(format!("{path}.{other}"), &json!(true), detail));
        }
    }
}

fn types(schema: &Value, level: Level, path: &str, causes: &mut Vec<Cause>) {
    let kind = type_of(schema);
    let embedded = on(schema, "x-kubernetes-embedded-resource");
    let at = format!("{path}.type");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        causes.push(match kind {
            "" => cause::required(&at, detail),
            _ => cause::invalid(&at, &json!(kind), detail),
        });
    } else if kind.is_empty()
        && !on(schema, "x-kubernetes-int-or-string")
        && !on(schema, "x-kubernetes-preserve-unknown-fields")
    {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        causes.push(cause::required(&at, detail));
    }
    if embedded && schema.get("additionalProperties").is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        causes.push(cause::forbidden(format!("{path}.additionalProperties"), detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        causes.push(cause::invalid(&at, &json!(kind), "must be object at the root"));
    }
}

/// `apiVersion`, `kind` and `metadata` of a resource are not the schema's to define.
fn metadata(schema: &Value, level: Level, path: &str, causes: &mut Vec<Cause>) {
    let embedded = on(schema, "x-kubernetes-embedded-resource");
    let checked = level == Level::Root || embedded;
    let properties = schema.get("properties");
    let property = |name: &str| properties.and_then(|p| p.get(name));
    for name in ["kind", "apiVersion"] {
        if let Some(kind) = property(name).map(type_of).filter(|kind| checked && *kind != "string") {
            let at = format!("{path}.properties[{name}].type");
            causes.push(cause::invalid(at, &json!(kind), "must be string"));
        }
    }
    if let Some(meta) = property("metadata") {
        let at = format!("{path}.properties[metadata]");
        if checked && type_of(meta) != "object" {
            causes.push(cause::invalid(format!("{at}.type"), &json!(type_of(meta)), "must be object"));
        }
        if level == Level::Root && says_more_than_names(meta) {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            causes.push(cause::forbidden(at, detail));
        }
    }
    if embedded
        && !on(schema, "x-kubernetes-preserve-unknown-fields")
        && properties.and_then(Value::as_object).is_none_or(Map::is_empty)
    {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        causes.push(cause::required(format!("{path}.properties"), detail));
    }
}

fn says_more_than_names(meta: &Value) -> bool {
    let named = entries(meta, "properties").all(|(name, _)| name == "name" || name == "generateName");
    let keys = || meta.as_object().into_iter().flat_map(Map::keys);
    !named || keys().any(|key| !matches!(key.as_str(), "type" | "properties" | "default"))
}

/// The two ways in which `x-kubernetes-int-or-string` may say its types again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IntOrStringForm {
    None,
    AnyOf,
    AllOf,
}

impl IntOrStringForm {
    fn of(schema: &Value) -> Self {
        let types = json!([{"type": "integer"}, {"type": "string"}]);
        if schema.get("anyOf") == Some(&types) {
            Self::AnyOf
        } else if list(schema, "allOf").first().is_some_and(|first| first.get("anyOf") == Some(&types)) {
            Self::AllOf
        } else {
            Self::None
        }
    }
}

fn junctors(schema: &Value, skip: IntOrStringForm, path: &str, causes: &mut Vec<Cause>) {
    for key in ["anyOf", "allOf", "oneOf"] {
        if key == "anyOf" && skip == IntOrStringForm::AnyOf {
            continue;
        }
        for (index, nested) in list(schema, key).iter().enumerate() {
            let skip = match skip {
                IntOrStringForm::AllOf if key == "allOf" && index == 0 => IntOrStringForm::AnyOf,
                _ => IntOrStringForm::None,
            };
            nested_rules(nested, skip, &format!("{path}.{key}[{index}]"), causes);
        }
    }
    if let Some(not) = schema.get("not") {
        nested_rules(not, IntOrStringForm::None, &format!("{path}.not"), causes);
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && let Err(error) = regex::Regex::new(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        causes.push(cause::invalid(format!("{path}.pattern"), &json!(pattern), &detail));
    }
}

/// Under a junctor a schema may restrict values, and not say what they are (`validateNestedValueValidation`).
fn nested_rules(nested: &Value, skip: IntOrStringForm, path: &str, causes: &mut Vec<Cause>) {
    junctors(nested, skip, path, causes);
    if let Some(items) = nested.get("items") {
        nested_rules(items, IntOrStringForm::None, &format!("{path}.items"), causes);
    }
    for (name, property) in entries(nested, "properties") {
        nested_rules(property, IntOrStringForm::None, &format!("{path}.properties[{name}]"), causes);
    }
    let rules = [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        ("x-kubernetes-embedded-resource", "must be false to be structural"),
        ("x-kubernetes-int-or-string", "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ];
    for (key, detail) in rules {
        if nested
            .get(key)
            .is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)) && *value != "")
        {
            causes.push(cause::forbidden(format!("{path}.{key}"), detail));
        }
    }
    if entries(nested, "properties").any(|(name, _)| name == "metadata") {
        let detail = "must not be specified in a nested context";
        causes.push(cause::forbidden(format!("{path}.properties[metadata]"), detail));
    }
}

/// What a junctor at the root restricts must be defined outside of it too (`validateValueValidationCompleteness`; the
/// real server does not look at junctors further down).
fn complete(nested: &Value, outside: &Value, path: &str, nested_path: &str, causes: &mut Vec<Cause>) {
    for key in ["not", "allOf", "anyOf", "oneOf"] {
        let branches: BTreeMap<String, &Value> = match nested.get(key) {
            Some(Value::Array(all)) => {
                all.iter().enumerate().map(|(i, s)| (format!("{nested_path}.{key}[{i}]"), s)).collect()
            }
            Some(one) => BTreeMap::from([(format!("{nested_path}.{key}"), one)]),
            None => BTreeMap::new(),
        };
        for (at, branch) in branches {
            complete_branch(branch, Some(outside), path, &at, causes);
        }
    }
}

fn complete_branch(
    branch: &Value,
    outside: Option<&Value>,
    path: &str,
    branch_path: &str,
    causes: &mut Vec<Cause>,
) {
    let Some(outside) = outside else {
        causes.push(cause::required(path, &format!("because it is defined in {branch_path}")));
        return;
    };
    complete(branch, outside, path, branch_path, causes);
    if let Some(items) = branch.get("items") {
        let at = format!("{path}.items");
        complete_branch(items, outside.get("items"), &at, &format!("{branch_path}.items"), causes);
    }
    for (name, property) in entries(branch, "properties") {
        let defined = outside.get("properties").and_then(|p| p.get(name));
        let step = format!("properties[{name}]");
        complete_branch(
            property,
            defined,
            &format!("{path}.{step}"),
            &format!("{branch_path}.{step}"),
            causes,
        );
    }
}
