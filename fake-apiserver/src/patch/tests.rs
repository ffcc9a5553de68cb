#![allow(clippy::needless_pass_by_value)] // a case reads better without borrows

use proptest::prelude::*;
use serde_json::{Value, json};

use super::field_set::FieldSet;
use super::{Applier, apply, json as json_patch, merge, strategic, track_update};
use crate::schema::Schema;
use crate::schema::tests::{json_value, schema_of_everything};

fn by(manager: &str) -> Applier {
    Applier {
        manager: manager.into(),
        api_version: "example.com/v1".into(),
        time: "2026-01-01T00:00:00Z".into(),
        reset: vec![vec!["status".into()]],
        ..Applier::default()
    }
}

fn object(spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec})
}

/// Applies one after another; each is (manager, force, spec). The last answer as spec, or as message.
fn check_apply(steps: &[(&str, bool, Value)], expected: Result<Value, &str>) {
    let schema = schema_of_everything();
    let mut live = None;
    let mut last = Ok(Value::Null);
    for (manager, force, spec) in steps {
        let applier = Applier { force: *force, ..by(manager) };
        last = apply(Some(&schema), live.as_ref(), &object(spec), &applier);
        if let Ok(object) = &last {
            live = Some(object.clone());
        }
    }
    let last = last.map(|object| object["spec"].clone()).map_err(|status| status.message);
    assert_eq!(last, expected.map_err(Into::into));
}

#[test]
fn a_field_of_another_manager_is_a_conflict() {
    check_apply(
        &[("ann", false, json!({"a": "1"})), ("bob", false, json!({"a": "2"}))],
        Err("Apply failed with 1 conflict: conflict with \"ann\": .spec.a"),
    );
}

#[test]
fn force_takes_the_field() {
    check_apply(
        &[
            ("ann", false, json!({"a": "1"})),
            ("bob", true, json!({"a": "2"})),
            ("ann", false, json!({"e": {}})),
        ],
        Ok(json!({"a": "2", "e": {}})),
    );
}

#[test]
fn equal_values_are_owned_together_and_outlive_one_owner() {
    let one = json!({"a": "1"});
    check_apply(
        &[("ann", false, one.clone()), ("bob", false, one), ("ann", false, json!({"e": {"k": "v"}}))],
        Ok(json!({"a": "1", "e": {"k": "v"}})),
    );
}

#[test]
fn items_of_a_map_list_come_and_go_by_their_keys() {
    check_apply(
        &[
            ("ann", false, json!({"c": [{"a": 1, "b": "x"}, {"a": 2}]})),
            ("bob", false, json!({"c": [{"a": 3}, {"a": 1}]})),
            ("ann", false, json!({"c": [{"a": 2}]})),
        ],
        Ok(json!({"c": [{"a": 3}, {"a": 1}, {"a": 2}]})),
    );
}

#[test]
fn an_atomic_map_has_one_owner() {
    check_apply(
        &[("ann", false, json!({"g": {"a": "1"}})), ("bob", false, json!({"g": {}}))],
        Err("Apply failed with 1 conflict: conflict with \"ann\": .spec.g"),
    );
}

#[test]
fn without_a_schema_maps_are_granular_and_lists_atomic() {
    let first = apply(None, None, &object(&json!({"m": {"a": 1}, "l": [1]})), &by("ann")).unwrap();
    let merged = apply(None, Some(&first), &object(&json!({"m": {"b": 2}})), &by("bob")).unwrap();
    assert_eq!(merged["spec"], json!({"m": {"a": 1, "b": 2}, "l": [1]}));
    let refused = apply(None, Some(&first), &object(&json!({"l": [1, 2]})), &by("bob")).unwrap_err();
    assert_eq!(refused.details.causes[0].field, ".spec.l");
}

#[test]
fn an_update_takes_the_fields_it_changes() {
    let schema = schema_of_everything();
    let live = apply(Some(&schema), None, &object(&json!({"a": "1", "e": {"k": "v"}})), &by("ann")).unwrap();
    let mut new = live.clone();
    new["spec"]["a"] = json!("2");
    track_update(Some(&schema), Some(&live), &mut new, &by("bob"));
    let owned: Vec<(&Value, &Value)> = new["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (&entry["manager"], &entry["fieldsV1"]))
        .collect();
    let ann = json!({"f:spec": {"f:e": {"f:k": {}}}});
    let bob = json!({"f:spec": {"f:a": {}}});
    assert_eq!(owned, [(&json!("ann"), &ann), (&json!("bob"), &bob)]);
}

#[test]
fn a_status_update_owns_no_spec() {
    let applier = Applier { subresource: "status".into(), reset: vec![vec!["spec".into()]], ..by("ann") };
    let mut old = object(&json!({"a": "1"}));
    track_update(None, None, &mut old, &by("bob"));
    let mut new = old.clone();
    new["spec"]["a"] = json!("2");
    new["status"] = json!({"n": 1});
    track_update(None, Some(&old), &mut new, &applier);
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == "ann").unwrap();
    assert_eq!(entry["fieldsV1"], json!({"f:status": {".": {}, "f:n": {}}}));
    assert_eq!(entry["subresource"], "status");
}

/// As a real server, recorded in the script `certificates`.
#[test]
fn what_nobody_owned_is_nobody_s_until_the_first_apply() {
    let mut live = object(&json!({}));
    track_update(None, None, &mut live, &Applier { reset: vec![vec!["spec".into()]], ..by("ann") });
    assert_eq!(live["metadata"]["managedFields"], Value::Null);
    let mut new = live.clone();
    new["spec"]["a"] = json!("1");
    track_update(None, Some(&live), &mut new, &by("ann"));
    assert_eq!(new["metadata"]["managedFields"], Value::Null);
    let applied = apply(None, Some(&new), &object(&json!({"b": "2"})), &by("bob")).unwrap();
    assert_eq!(applied["metadata"]["managedFields"][0]["manager"], "bob");
    assert_eq!(applied["metadata"]["managedFields"][1]["manager"], "before-first-apply");
}

#[test]
fn the_eleventh_updater_makes_the_oldest_ancient() {
    let mut live: Option<Value> = None;
    for number in 0..12 {
        let mut new = live.clone().unwrap_or_else(|| object(&json!({})));
        new["spec"][format!("f{number}")] = json!(1);
        let applier = Applier { time: format!("2026-01-01T00:00:{number:02}Z"), ..by(&format!("m{number}")) };
        track_update(None, live.as_ref(), &mut new, &applier);
        live = Some(new);
    }
    let live = live.unwrap();
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {".": {}, "f:f0": {}, "f:f1": {}, "f:f2": {}}}));
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_client_side() {
    let last = object(&json!({"a": "1"}));
    let mut live = last.clone();
    live["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
    let mut tracked = live.clone();
    track_update(None, None, &mut tracked, &by("kubectl-client-side-apply"));
    let applied = apply(None, Some(&tracked), &object(&json!({"a": "2"})), &by("kubectl")).unwrap();
    assert_eq!(applied["spec"], json!({"a": "2"}));
    let refused = apply(None, Some(&tracked), &object(&json!({"a": "2"})), &by("bob")).unwrap_err();
    assert_eq!(refused.code, 409);
}

#[test]
fn a_json_patch_is_bounded() {
    let one = json!({"op": "add", "path": "/a", "value": 1});
    let code =
        |count: usize| json_patch(&json!({}), &Value::from(vec![one.clone(); count])).map_err(|s| s.code);
    assert_eq!((code(10_000), code(10_001)), (Ok(json!({"a": 1})), Err(413)));
}

fn check_strategic(target: Value, patch: &Value, expected: Value) {
    let schema = Schema::from_crd(
        &json!({"type": "object", "properties": {"c": {"type": "array", "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "n", "items": {"type": "object", "properties": {"n": {"type": "string"},
            "v": {"type": "integer"}}}}}}),
        "",
    );
    assert_eq!(strategic(&schema.unwrap(), &target, patch), Ok(expected));
}

#[test]
fn strategic_lists_merge_by_their_key() {
    check_strategic(
        json!({"c": [{"n": "a", "v": 1}, {"n": "b", "v": 2}]}),
        &json!({"c": [{"n": "b", "v": 3}, {"n": "a", "$patch": "delete"}]}),
        json!({"c": [{"n": "b", "v": 3}]}),
    );
}

#[test]
fn strategic_replace_is_obeyed() {
    check_strategic(
        json!({"c": [{"n": "a"}], "d": {"x": 1}}),
        &json!({"c": [{"$patch": "replace"}, {"n": "z"}], "d": {"$patch": "replace", "y": 2}}),
        json!({"c": [{"n": "z"}], "d": {"y": 2}}),
    );
}

fn field_set() -> impl Strategy<Value = FieldSet> {
    let leaf = Just(json!({}));
    let element = prop_oneof!["[.]|f:[a-c]", Just("k:{\"a\":1}".to_owned()), Just("v:\"x\"".to_owned())];
    let tree = leaf.prop_recursive(3, 16, 3, move |inner| {
        prop::collection::btree_map(element.clone(), inner, 0..4).prop_map(|mut map| {
            if let Some(own) = map.get_mut(".") {
                *own = json!({});
            }
            Value::Object(map.into_iter().collect())
        })
    });
    tree.prop_map(
        |fields| if fields == json!({}) { FieldSet::default() } else { FieldSet::from_value(&fields) },
    )
}

/// A spec that fits the schema of everything.
fn fitting() -> impl Strategy<Value = Value> {
    json_value().prop_map(|spec| {
        let schema = schema_of_everything();
        let mut value = json!({"spec": spec});
        schema.prune(&mut value);
        schema.default(&mut value);
        if schema.validate(&value, None).is_empty() { value["spec"].take() } else { json!({"a": "z"}) }
    })
}

proptest! {
    #[test]
    fn field_sets_survive_their_wire_form(set in field_set()) {
        let again = match set.clone().into_value() {
            fields if fields == json!({}) => FieldSet::default(),
            fields => FieldSet::from_value(&fields),
        };
        prop_assert_eq!(again, set);
    }

    #[test]
    fn set_laws_hold(a in field_set(), b in field_set()) {
        let mut union = a.clone();
        union.union(b.clone());
        let mut rest = union.clone();
        rest.subtract(&b);
        prop_assert!(rest.intersection(&b).is_empty());
        prop_assert_eq!(&a.intersection(&union), &a);
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        let mut nothing = a.clone();
        nothing.subtract(&union);
        prop_assert!(nothing.is_empty());
    }

    #[test]
    fn applying_twice_changes_nothing(one in fitting(), two in fitting()) {
        let schema = schema_of_everything();
        let first = apply(Some(&schema), None, &object(&one), &by("ann")).unwrap();
        let forced = Applier { force: true, ..by("bob") };
        let second = apply(Some(&schema), Some(&first), &object(&two), &forced).unwrap();
        let later = Applier { time: "2027-01-01T00:00:00Z".into(), ..forced };
        let third = apply(Some(&schema), Some(&second), &object(&two), &later).unwrap();
        prop_assert_eq!(third, second);
    }

    #[test]
    fn an_update_that_changes_nothing_moves_no_owner(spec in fitting()) {
        let schema = schema_of_everything();
        let live = apply(Some(&schema), None, &object(&spec), &by("ann")).unwrap();
        let mut new = live.clone();
        track_update(Some(&schema), Some(&live), &mut new, &by("bob"));
        prop_assert_eq!(new, live);
    }

    #[test]
    fn an_empty_merge_patch_changes_nothing(map in json_value()) {
        let target = json!({"a": map});
        prop_assert_eq!(merge(&target, &json!({})), target);
    }

    #[test]
    fn merging_twice_is_merging_once(target in json_value(), patch in json_value()) {
        let once = merge(&target, &patch);
        prop_assert_eq!(merge(&once, &patch), once);
    }
}
