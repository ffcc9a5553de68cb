#![allow(clippy::needless_pass_by_value)] // a case reads better without borrows

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Components, Schema, cause};
use std::sync::Arc;

const PATH: &str = "spec.validation.openAPIV3Schema";

/// A schema whose `spec` has these properties.
fn spec(properties: &Value) -> Schema {
    let schema =
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}});
    Schema::from_crd(&schema, PATH).unwrap()
}

fn check_prune(properties: Value, mut value: Value, pruned: Value, unknown: &[&str]) {
    assert_eq!(spec(&properties).prune(&mut value), unknown);
    assert_eq!(value, pruned);
}

#[test]
fn unknown_fields_go_and_are_named() {
    check_prune(
        json!({"a": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}}}),
        json!({"spec": {"a": [{"b": "x", "c": 1}, {"d": {}}], "e": {}}}),
        json!({"spec": {"a": [{"b": "x"}, {}]}}),
        &["spec.a[0].c", "spec.a[1].d", "spec.e"],
    );
}

#[test]
fn metadata_of_the_root_knows_its_fields() {
    check_prune(
        json!({}),
        json!({"apiVersion": "v1", "metadata": {"name": "x", "labels": {"a": "b"}, "frob": 1}, "spec": {}}),
        json!({"apiVersion": "v1", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {}}),
        &["metadata.frob"],
    );
}

#[test]
fn a_list_where_anything_may_stand_keeps_its_items() {
    check_prune(
        json!({"a": {"x-kubernetes-preserve-unknown-fields": true}}),
        json!({"spec": {"a": [{"b": 1}, [{"c": 2}]]}}),
        json!({"spec": {"a": [{"b": 1}, [{"c": 2}]]}}),
        &[],
    );
}

#[test]
fn preserved_fields_are_still_pruned_inside_named_ones() {
    check_prune(
        json!({"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                     "properties": {"b": {"type": "object", "properties": {"c": {"type": "string"}}}}}}),
        json!({"spec": {"a": {"any": {"thing": 1}, "b": {"c": "x", "d": 1}}}}),
        json!({"spec": {"a": {"any": {"thing": 1}, "b": {"c": "x"}}}}),
        &["spec.a.b.d"],
    );
}

fn check_default(properties: Value, mut value: Value, defaulted: Value) {
    spec(&properties).default(&mut value);
    assert_eq!(value, defaulted);
}

#[test]
fn defaults_inside_a_default_are_filled_in() {
    check_default(
        json!({"a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}}}),
        json!({"spec": {}}),
        json!({"spec": {"a": {"b": 3}}}),
    );
}

#[test]
fn null_is_defaulted_or_dropped_unless_nullable() {
    check_default(
        json!({"with": {"type": "string", "default": "d"}, "without": {"type": "string"},
               "nullable": {"type": "string", "default": "d", "nullable": true}}),
        json!({"spec": {"with": null, "without": null, "nullable": null}}),
        json!({"spec": {"with": "d", "nullable": null}}),
    );
}

#[test]
fn a_float_without_fraction_is_an_integer() {
    check_default(json!({"a": {"type": "integer"}}), json!({"spec": {"a": 2.0}}), json!({"spec": {"a": 2}}));
}

fn check_causes(properties: Value, value: Value, old: Option<Value>, said: &[&str]) {
    let causes = spec(&properties).validate(&value, old.as_ref());
    let causes: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    assert_eq!(causes, said);
}

#[test]
fn an_integer_is_no_string_even_with_the_format_int_or_string() {
    check_causes(
        json!({"real": {"x-kubernetes-int-or-string": true}, "fake": {"type": "string", "format": "int-or-string"}}),
        json!({"spec": {"real": 1, "fake": 1}}),
        None,
        &["spec.fake: Invalid value: \"integer\": spec.fake in body must be of type string: \"integer\""],
    );
}

#[test]
fn unchanged_values_are_excused() {
    let a = json!({"a": {"type": "string", "pattern": "^x"}, "b": {"type": "string", "pattern": "^x"}});
    check_causes(
        a,
        json!({"spec": {"a": "old", "b": "new"}}),
        Some(json!({"spec": {"a": "old", "b": "older"}})),
        &["spec.b: Invalid value: \"new\": spec.b in body should match '^x'"],
    );
}

#[test]
fn rules_are_not_run_over_wrong_types() {
    check_causes(
        json!({"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1"}]}}),
        json!({"spec": {"a": "x"}}),
        None,
        &[
            "spec.a: Invalid value: \"string\": spec.a in body must be of type integer: \"string\"",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
             correct the existing errors to complete validation",
        ],
    );
}

#[test]
fn a_rule_at_the_root_sees_the_name() {
    let schema = json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.size() <= 3", "message": "name is too long"}]});
    let schema = Schema::from_crd(&schema, PATH).unwrap();
    let causes = |name: &str| schema.validate(&json!({"metadata": {"name": name}}), None).len();
    assert_eq!((causes("abc"), causes("abcd")), (0, 1));
}

/// As long as the longest of the published definitions of gateways, certificates and service meshes.
#[test]
fn long_rules_are_evaluated() {
    let segments = ["//", "/./", "/../", "%2f", "%2F", "#"];
    let no_segment: Vec<String> =
        segments.iter().map(|segment| format!("!m.path.value.contains('{segment}')")).collect();
    let kinds = ["Exact", "PathPrefix", "RegularExpression"];
    let is_kind: Vec<String> = kinds.iter().map(|kind| format!("m.path.type == '{kind}'")).collect();
    let paths = format!(
        "self.matches.all(m, !has(m.path) || (({}) && (m.path.type == 'RegularExpression' ? true : \
         m.path.value.startsWith('/') && {} && (m.path.value == '/' || !m.path.value.endsWith('/')))))",
        is_kind.join(" || "),
        no_segment.join(" && "),
    );
    let distinct = "self.matches.all(one, self.matches.exists_one(other, has(one.path) == has(other.path) && \
                    ((!has(one.path) && !has(other.path)) || (one.path.type == other.path.type && \
                    one.path.value == other.path.value)) && (has(one.port) == has(other.port)) && \
                    ((!has(one.port) && !has(other.port)) || one.port == other.port)))";
    let sources = "(has(self.inline) ? 1 : 0) + (has(self.secret) ? 1 : 0) + (has(self.url) ? 1 : 0) + \
                   (has(self.jwks) ? 1 : 0) + (has(self.provider) ? 1 : 0) + (has(self.issuer) ? 1 : 0) <= 1";
    let text = json!({"type": "string"});
    let path = json!({"type": "object", "properties": {"type": text, "value": text}});
    let item = json!({"type": "object", "properties": {"path": path, "port": {"type": "integer"}}});
    let route = json!({"type": "object",
        "properties": {"matches": {"type": "array", "items": item}, "inline": text, "secret": text, "url": text,
            "jwks": text, "provider": text, "issuer": text},
        "x-kubernetes-validations": [{"rule": paths, "message": "paths"}, {"rule": distinct, "message": "distinct"},
            {"rule": sources, "message": "sources"}]});
    let at = |value: &str| json!({"path": {"type": "Exact", "value": value}, "port": 1});
    let check = |value: Value, expected: &[&str]| {
        let causes = spec(&json!({"route": route})).validate(&json!({"spec": {"route": value}}), None);
        let said: Vec<_> = causes.iter().map(|c| c.message.rsplit(": ").next().unwrap().to_owned()).collect();
        assert_eq!(said, expected);
    };
    check(json!({"matches": [at("/a"), at("/b"), {"port": 2}], "url": "x"}), &[]);
    check(json!({"matches": [at("/a//b")]}), &["paths"]);
    check(json!({"matches": [at("/a"), at("/a")], "url": "x", "jwks": "x"}), &["distinct", "sources"]);
}

#[test]
fn definitions_that_refer_to_themselves_are_walked() {
    let components = Arc::new(Components::from_static(
        r##"{"Tree":{"type":"object","properties":{"kind":{"type":"string"},
            "child":{"$ref":"#/components/schemas/Tree"}}}}"##,
    ));
    let mut value = json!({"kind": "a", "child": {"child": {"leaf": 1}}});
    assert_eq!(Schema::from_openapi(&components, "Tree").prune(&mut value), ["child.child.leaf"]);
}

#[test]
fn a_kind_that_is_not_defined_accepts_everything() {
    let schema = Schema::from_openapi(&Arc::new(Components::from_static("{}")), "Nothing");
    let mut value = json!({"a": [{"b": null}]});
    let before = value.clone();
    schema.default(&mut value);
    assert!(schema.prune(&mut value).is_empty() && schema.validate(&value, None).is_empty());
    assert_eq!(value, before);
}

#[test]
fn floats_are_shown_as_go_shows_them() {
    let check = |value: f64, shown: &str| assert_eq!(cause::go_float(value), shown);
    check(3.0, "3");
    check(0.25, "0.25");
    check(1e21, "1e+21");
    check(0.000_01, "1e-05");
}

/// Any JSON, with the field names that [`schema_of_everything`] knows among others.
pub(crate) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5..5i64).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-g]", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A schema with one field of each sort.
pub(crate) fn schema_of_everything() -> Schema {
    spec(&json!({
        "a": {"type": "string", "default": "x"},
        "b": {"type": "object", "default": {}, "properties": {"a": {"type": "integer", "default": 1},
              "b": {"type": "object", "properties": {"c": {"type": "string"}}}}},
        "c": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
              "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"},
                        "b": {"type": "string", "nullable": true}}}},
        "d": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "e": {"type": "object", "additionalProperties": {"type": "string"}},
        "f": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "g": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
    }))
}

proptest! {
    #[test]
    fn pruning_twice_is_pruning_once(spec in json_value()) {
        let schema = schema_of_everything();
        let mut value = json!({"spec": spec});
        schema.prune(&mut value);
        let once = value.clone();
        prop_assert!(schema.prune(&mut value).is_empty());
        prop_assert_eq!(value, once);
    }

    #[test]
    fn defaulting_twice_is_defaulting_once(spec in json_value()) {
        let schema = schema_of_everything();
        let mut value = json!({"spec": spec});
        schema.default(&mut value);
        let once = value.clone();
        schema.default(&mut value);
        prop_assert_eq!(value, once);
    }

    #[test]
    fn validation_excuses_an_object_that_did_not_change(spec in json_value()) {
        let value = json!({"spec": spec});
        prop_assert_eq!(schema_of_everything().validate(&value, Some(&value)), vec![]);
    }
}
