//! What the API of CustomResourceDefinitions forbids in a schema, structural or not.
//!
//! `ValidateCustomResourceDefinitionOpenAPISchema` of
//! `k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go`. Cost limits and type checking of
//! CEL rules are not modelled.

use serde_json::{Map, Value, json};

use super::cause;
use super::cel;
use super::structural::{entries, list};
use crate::status::Cause;

/// Where a node stands, as far as rules depend on it.
#[derive(Clone, Copy)]
struct Place<'a> {
    root: bool,
    inside_metadata: bool,
    /// Why defaults are forbidden here.
    no_defaults: Option<&'a str>,
    /// The uncorrelatable list this node is in: `oldSelf` is forbidden.
    uncorrelatable: Option<&'a str>,
}

/// Causes in the order of a walk from the root.
pub(super) fn check(openapi: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if openapi.get("nullable") == Some(&Value::Bool(true)) {
        causes.push(cause::forbidden(format!("{path}.nullable"), "nullable cannot be true at the root"));
    }
    let place = Place { root: true, inside_metadata: false, no_defaults: None, uncorrelatable: None };
    node(openapi, path, place, &mut causes);
    causes
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn node(schema: &Value, path: &str, place: Place<'_>, causes: &mut Vec<Cause>) {
    standard(schema, path, place, causes);
    if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        causes.push(cause::forbidden(format!("{path}.uniqueItems"), detail));
    }
    children(schema, path, place, causes);
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        let at = format!("{path}.x-kubernetes-preserve-unknown-fields");
        causes.push(cause::invalid(at, &json!(false), "must be true or undefined"));
    }
    map_type(schema, path, causes);
    list_type(schema, path, causes);
    for (index, rule) in list(schema, "x-kubernetes-validations").iter().enumerate() {
        let at = format!("{path}.x-kubernetes-validations[{index}]");
        validation_rule(schema, rule, &at, place, causes);
    }
}

fn standard(schema: &Value, path: &str, place: Place<'_>, causes: &mut Vec<Cause>) {
    const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    let kind = text(schema, "type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        let known: Vec<Value> = TYPES.iter().map(|t| json!(t)).collect();
        causes.push(cause::not_supported(format!("{path}.type"), &json!(kind), &known));
    }
    if let Some(why) = place.no_defaults.filter(|_| schema.get("default").is_some()) {
        causes.push(cause::forbidden(format!("{path}.default"), &format!("must not be set {why}")));
    }
    for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if schema.get(key).is_some() {
            causes.push(cause::forbidden(format!("{path}.{key}"), &format!("{key} is not supported")));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        causes.push(cause::forbidden(format!("{path}.type"), detail));
    }
    if schema.get("items").is_some_and(Value::is_array) {
        let detail = "items must be a schema object and not an array";
        causes.push(cause::forbidden(format!("{path}.items"), detail));
    }
    if place.inside_metadata && schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        let at = format!("{path}.x-kubernetes-embedded-resource");
        causes.push(cause::forbidden(at, "must not be used inside of resource meta"));
    }
}

fn children(schema: &Value, path: &str, place: Place<'_>, causes: &mut Vec<Cause>) {
    let below = Place { root: false, ..place };
    if let Some(additional) = schema.get("additionalProperties") {
        let at = format!("{path}.additionalProperties");
        let named = schema.get("properties").and_then(Value::as_object).is_some_and(|p| !p.is_empty());
        if named && *additional != Value::Bool(true) {
            causes.push(cause::forbidden(&at, "additionalProperties and properties are mutual exclusive"));
        }
        if additional.is_object() {
            let why = "inside additionalProperties applying to object metadata";
            let no_defaults = if place.inside_metadata { Some(why) } else { place.no_defaults };
            node(additional, &at, Place { no_defaults, ..below }, causes);
        }
    }
    let resource = place.root || schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
    for (name, property) in entries(schema, "properties") {
        let meta = resource && super::prune::is_meta(name);
        let why = format!("in top-level {name}");
        let no_defaults = if meta && place.root { Some(why.as_str()) } else { place.no_defaults };
        let place = Place { inside_metadata: place.inside_metadata || meta, no_defaults, ..below };
        node(property, &format!("{path}.properties[{name}]"), place, causes);
    }
    if let Some(not) = schema.get("not") {
        node(not, &format!("{path}.not"), below, causes);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        for (index, branch) in list(schema, key).iter().enumerate() {
            node(branch, &format!("{path}.{key}[{index}]"), below, causes);
        }
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        let correlatable = text(schema, "x-kubernetes-list-type") == "map";
        let uncorrelatable = if correlatable { place.uncorrelatable } else { Some(path) };
        node(items, &format!("{path}.items"), Place { uncorrelatable, ..below }, causes);
    }
}

fn map_type(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(map_type) = schema.get("x-kubernetes-map-type") else { return };
    wrong_type(schema, path, "object", "x-kubernetes-map-type", causes);
    if map_type != "atomic" && map_type != "granular" {
        let at = format!("{path}.x-kubernetes-map-type");
        causes.push(cause::not_supported(at, map_type, &[json!("atomic"), json!("granular")]));
    }
}

fn wrong_type(schema: &Value, path: &str, wanted: &str, because: &str, causes: &mut Vec<Cause>) {
    let kind = text(schema, "type");
    if kind == wanted {
        return;
    }
    let (at, detail) = (format!("{path}.type"), format!("must be {wanted} if {because} is specified"));
    causes.push(if kind.is_empty() {
        cause::required(at, &detail)
    } else {
        cause::invalid(at, &json!(kind), &detail)
    });
}

fn list_type(schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let at = format!("{path}.x-kubernetes-list-type");
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let Some(list_type) = schema.get("x-kubernetes-list-type") else {
        if !keys.is_empty() {
            causes.push(cause::required(at, "must be map if x-kubernetes-list-map-keys is non-empty"));
        }
        return;
    };
    wrong_type(schema, path, "array", "x-kubernetes-list-type", causes);
    let items = schema.get("items");
    if list_type == "set"
        && let Some(items) = items
    {
        set_items(items, path, causes);
    }
    if !["atomic", "set", "map"].iter().any(|known| list_type == known) {
        let known = [json!("atomic"), json!("set"), json!("map")];
        causes.push(cause::not_supported(&at, list_type, &known));
    }
    if !keys.is_empty() && list_type != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        causes.push(cause::invalid(&at, list_type, detail));
    }
    if list_type == "map" {
        map_keys(schema, keys, path, causes);
    }
    if list_type == "map" || list_type == "set" {
        keyed_items(schema, keys, list_type.as_str().unwrap_or_default(), path, causes);
    }
}

/// Items of a set must be compared as a whole.
fn set_items(items: &Value, path: &str, causes: &mut Vec<Cause>) {
    let said = |key: &str| items.get(key).cloned().unwrap_or_default();
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    match text(items, "type") {
        "array"
            if !said("x-kubernetes-list-type").is_null() && said("x-kubernetes-list-type") != "atomic" =>
        {
            let at = format!("{path}.items.x-kubernetes-list-type");
            causes.push(cause::invalid(at, &said("x-kubernetes-list-type"), detail));
        }
        "object" if said("x-kubernetes-map-type") != "atomic" => {
            // The real server shows the list type here.
            let at = format!("{path}.items.x-kubernetes-map-type");
            causes.push(cause::invalid(at, &said("x-kubernetes-list-type"), detail));
        }
        _ => {}
    }
}

fn map_keys(schema: &Value, keys: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let at = format!("{path}.x-kubernetes-list-map-keys");
    if keys.is_empty() {
        causes.push(cause::required(&at, "must not be empty if x-kubernetes-list-type is map"));
    }
    let Some(items) = schema.get("items") else {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        causes.push(cause::required(format!("{path}.items"), detail));
        return;
    };
    let kind = text(items, "type");
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        causes.push(cause::invalid(format!("{path}.items.type"), &json!(kind), detail));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        match items.get("properties").and_then(|p| p.get(name)).map(|property| text(property, "type")) {
            Some("array" | "object") => {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let at = format!("{path}.items.properties[{name}].type");
                causes.push(cause::invalid(at, &json!(kind), detail));
            }
            Some(_) => {}
            None => {
                let detail = "entries must all be names of item properties";
                causes.push(cause::invalid(&at, &json!(keys), detail));
            }
        }
        if keys[..index].contains(key) {
            causes.push(cause::invalid(&at, &json!(keys), "must not contain duplicate entries"));
        }
    }
}

/// Items that are found by value need one: never null, keys required or defaulted (`validateMapListKeysMapSet`).
fn keyed_items(schema: &Value, keys: &[Value], list_type: &str, path: &str, causes: &mut Vec<Cause>) {
    let Some(items) = schema.get("items") else { return };
    let nullable = |schema: &Value| schema.get("nullable") == Some(&Value::Bool(true));
    if nullable(items) {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        causes.push(cause::forbidden(format!("{path}.items.nullable"), &detail));
    }
    if list_type != "map" {
        return;
    }
    for key in keys {
        let name = key.as_str().unwrap_or_default();
        let Some(property) = items.get("properties").and_then(|p| p.get(name)) else { continue };
        let at = format!("{path}.items.properties[{name}]");
        if !list(items, "required").contains(key) && property.get("default").is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                          property";
            causes.push(cause::required(format!("{at}.default"), detail));
        }
        if nullable(property) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            causes.push(cause::forbidden(format!("{at}.nullable"), detail));
        }
    }
}

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

fn validation_rule(schema: &Value, rule: &Value, at: &str, place: Place<'_>, causes: &mut Vec<Cause>) {
    let before = causes.len();
    let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
    let breaks = |said: &str| said.contains(['\n', '\r']);
    if expression.is_empty() {
        causes.push(cause::required(format!("{at}.rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        causes.push(cause::invalid(
            format!("{at}.message"),
            &json!(message),
            "must be non-empty if specified",
        ));
    } else if breaks(message.trim()) {
        causes.push(cause::invalid(format!("{at}.message"), &json!(message), "must not contain line breaks"));
    } else if breaks(expression) && message.trim().is_empty() {
        let detail = "message must be specified if rule contains line breaks";
        causes.push(cause::required(format!("{at}.message"), detail));
    }
    let reason = text(rule, "reason");
    if !reason.is_empty() && !REASONS.contains(&reason) {
        let known: Vec<Value> = REASONS.iter().map(|r| json!(r)).collect();
        causes.push(cause::not_supported(format!("{at}.reason"), &json!(reason), &known));
    }
    let field_path = text(rule, "fieldPath");
    if !field_path.is_empty() && !leads_to_a_field(schema, field_path) {
        causes.push(cause::invalid(format!("{at}.fieldPath"), &json!(field_path), "must be a valid path"));
    }
    if causes.len() > before || expression.is_empty() {
        return;
    }
    expressions(rule, expression, at, place, causes);
}

fn expressions(rule: &Value, expression: &str, at: &str, place: Place<'_>, causes: &mut Vec<Cause>) {
    if let Some(error) = cel::syntax_error(expression) {
        causes.push(cause::invalid(format!("{at}.rule"), rule, &format!("compilation failed: {error}")));
        return;
    }
    let message = text(rule, "messageExpression").trim();
    if !message.is_empty()
        && let Some(error) = cel::syntax_error(message)
    {
        let detail = format!("messageExpression compilation failed: {error}");
        causes.push(cause::invalid(format!("{at}.messageExpression"), rule, &detail));
    }
    if cel::uses_old_self(expression) {
        if let Some(within) = place.uncorrelatable {
            let detail =
                format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}");
            causes.push(cause::invalid(format!("{at}.rule"), &json!(expression), &detail));
        }
    } else if let Some(optional) = rule.get("optionalOldSelf").filter(|o| !o.is_null()) {
        let detail = "may not be set if oldSelf is not used in rule";
        causes.push(cause::invalid(format!("{at}.optionalOldSelf"), optional, detail));
    }
}

/// A path of fields (`.spec.name`) and map keys (`['a.b']`) that the schema has.
fn leads_to_a_field(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix("['") {
            let Some((name, after)) = quoted.split_once("']") else { return false };
            (name, after)
        } else if let Some(dotted) = rest.strip_prefix('.') {
            dotted.split_at(dotted.find(['.', '[']).unwrap_or(dotted.len()))
        } else {
            return false;
        };
        let named = at.get("properties").and_then(Value::as_object).filter(|p| !Map::is_empty(p));
        let next = match named {
            Some(properties) => properties.get(name),
            None => at.get("additionalProperties").filter(|a| a.is_object()),
        };
        let Some(next) = next else { return false };
        at = next;
        rest = after;
    }
    true
}
