//! Patches and field ownership of built-in kinds.

use std::sync::Arc;

use fake_apiserver::patch::{self, Applier};
use fake_apiserver::schema::{Components, Schema};
use fake_apiserver::status::Status;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    operation: String,
    schema: String,
    manager: String,
    force: bool,
    subresource: String,
    api_version: String,
    reset: Vec<Vec<String>>,
    live: Value,
    body: Value,
    code: u16,
    answer: Value,
}

#[test]
fn patches_of_built_in_kinds_give_what_the_real_server_gave() {
    replay(include_str!("patch.json"));
}

#[test]
fn random_writes_of_a_custom_resource_give_what_the_real_server_gave() {
    replay(include_str!("random.json"));
}

#[test]
fn random_strategic_merge_patches_give_what_the_real_server_gave() {
    replay(include_str!("strategic.json"));
}

fn replay(cases: &str) {
    let components = Arc::new(Components::from_static(include_str!("../../data/schemas.json")));
    let gadget: Value = serde_json::from_str(include_str!("gadget.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    let mut previous = Value::Null;
    let mut wrong = Vec::new();
    for mut case in cases {
        if case.live == "previous" {
            case.live = previous.clone();
        }
        let schema = match case.schema.as_str() {
            "gadget" => Schema::from_crd(&gadget, "spec.validation.openAPIV3Schema").unwrap(),
            name => Schema::from_openapi(&components, name),
        };
        if let Err(difference) = check(&schema, &case) {
            wrong.push(format!("{}: {difference}", case.name));
        }
        if case.code < 300 {
            previous = case.answer;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn check(schema: &Schema, case: &Case) -> Result<(), String> {
    let by = Applier {
        manager: case.manager.clone(),
        force: case.force,
        api_version: case.api_version.clone(),
        time: "2030-01-01T00:00:00Z".into(),
        subresource: case.subresource.clone(),
        reset: case.reset.clone(),
    };
    let live = (!case.live.is_null()).then_some(&case.live);
    let outcome = match case.operation.as_str() {
        "apply" => patch::apply(Some(schema), live, &case.body, &by),
        "create" => Ok(case.body.clone()),
        "update" => Ok(put(live.unwrap(), &case.body)),
        "merge" => Ok(patch::merge(live.unwrap(), &case.body)),
        "json" => patch::json(live.unwrap(), &case.body),
        _ => patch::strategic(schema, live.unwrap(), &case.body),
    };
    let mut result = match (outcome, case.code) {
        (Ok(result), 200 | 201) => result,
        (Err(status), 300..) => return refusal(&status, case),
        // Refused later, by validation.
        (Ok(_), 422) => return Ok(()),
        (outcome, code) => return Err(format!("expected {code}, got {outcome:?}")),
    };
    schema.prune(&mut result);
    schema.default(&mut result);
    if live.is_some() {
        same("object", &comparable(&result), &comparable(&case.answer))?;
    }
    if case.operation != "apply" {
        // Defaults of the real server that no schema knows are taken from its answer.
        let sent = result["metadata"].get("managedFields").cloned();
        result = case.answer.clone();
        result["metadata"].as_object_mut().unwrap().remove("managedFields");
        if let Some(sent) = sent {
            result["metadata"]["managedFields"] = sent;
        }
        patch::track_update(Some(schema), live, &mut result, &by);
    }
    same("managed fields", &owners(&result), &owners(&case.answer))
}

fn refusal(status: &Status, case: &Case) -> Result<(), String> {
    let mut ours = status.to_value();
    let ours = ours.as_object_mut().unwrap();
    ours.retain(|_, value| *value != "" && *value != json!({}));
    let mut theirs = case.answer.clone();
    theirs.as_object_mut().unwrap().retain(|_, value| *value != json!({}));
    // The real server lists the causes of several managers in no order.
    for status in [&mut *ours, theirs.as_object_mut().unwrap()] {
        if let Some(causes) = status.get_mut("details").and_then(|d| d.get_mut("causes")?.as_array_mut()) {
            causes.sort_by_key(ToString::to_string);
        }
    }
    same("refusal", &Value::Object(ours.clone()), &theirs)
}

/// The object without what the server sets itself.
fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    let root = object.as_object_mut().unwrap();
    if root.get("status") == Some(&json!({})) {
        root.remove("status");
    }
    let metadata = root["metadata"].as_object_mut().unwrap();
    for name in ["managedFields", "resourceVersion", "generation"] {
        metadata.remove(name);
    }
    metadata.retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!({}));
    root.retain(|_, value| !value.is_null());
    object
}

/// Managed fields, with the times reduced to whether there is one.
fn owners(object: &Value) -> Value {
    let mut entries = object["metadata"].get("managedFields").cloned().unwrap_or(json!([]));
    for entry in entries.as_array_mut().unwrap() {
        if entry.get("time").is_some() {
            entry["time"] = json!("set");
        }
    }
    entries.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    entries
}

/// The recorded PUTs sent the live object with some fields changed.
fn put(live: &Value, changes: &Value) -> Value {
    patch::merge(live, changes)
}

fn same(what: &str, ours: &Value, theirs: &Value) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}\n  ours:   {ours}\n  theirs: {theirs}")) }
}
