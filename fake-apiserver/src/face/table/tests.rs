use serde_json::json;

use super::*;
use crate::registry::Registry;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn built_in(group: &str, version: &str, plural: &str) -> Printer {
    Printer::new(Registry::built_in().get(group, version, plural).unwrap())
}

fn printed(group: &str, version: &str, plural: &str, object: &Value) -> Vec<Value> {
    built_in(group, version, plural).cells(object, now())
}

fn pod(spec: &Value, status: &Value) -> Value {
    json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:59:00Z"}, "spec": spec, "status": status})
}

#[test]
fn a_running_pod_shows_its_readiness_restarts_and_place() {
    let object = pod(
        &json!({"nodeName": "node", "containers": [{"name": "a"}, {"name": "b"}]}),
        &json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [
            {"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "b", "ready": true, "restartCount": 2, "state": {"running": {}},
             "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:30Z"}}},
        ]}),
    );
    let expected =
        json!(["p", "2/2", "Running", "2 (30s ago)", "60s", "10.0.0.1", "node", "<none>", "<none>"]);
    assert_eq!(json!(printed("", "v1", "pods", &object)), expected);
}

#[test]
fn the_status_of_a_pod_is_the_reason_that_matters() {
    let waiting = json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
    let failed =
        json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]});
    let init =
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]});
    let gated = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]});
    for (status, reason) in [
        (waiting, "CrashLoopBackOff"),
        (failed, "ExitCode:3"),
        (init, "Init:0/1"),
        (gated, "SchedulingGated"),
    ] {
        let object = pod(&json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}), &status);
        assert_eq!(printed("", "v1", "pods", &object)[2], reason);
    }
    let mut object = pod(&json!({"containers": [{"name": "a"}]}), &json!({"phase": "Running"}));
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:59:00Z");
    assert_eq!(printed("", "v1", "pods", &object)[2], "Terminating");
}

#[test]
fn every_built_in_kind_fills_all_of_its_columns() {
    for resource in Registry::built_in().resources().filter(|r| r.allows("list")) {
        let cells = Printer::new(resource).cells(&json!({"metadata": {"name": "x"}}), now());
        assert_eq!(cells.len(), resource.columns.len(), "{}", resource.plural);
    }
}

#[test]
fn custom_columns_follow_their_paths_and_types() {
    let additional = [
        json!({"name": "Workers", "type": "integer", "jsonPath": ".spec.n"}),
        json!({"name": "Phase", "type": "string", "jsonPath": ".status.phase"}),
        json!({"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
        json!({"name": "Wrong", "type": "integer", "jsonPath": ".spec.text", "priority": 1}),
    ];
    let definition = json!({"spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{
            "name": "v1", "served": true, "storage": true, "additionalPrinterColumns": additional,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        }],
    }});
    let resource = Registry::custom(&definition, 1).unwrap().remove(0);
    let printer = Printer::new(&Arc::new(resource));
    let object = json!({"metadata": {"name": "t", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"n": 4, "text": "x"}});
    assert_eq!(json!(printer.cells(&object, now())), json!(["t", 4, null, "60m", null]));
}

#[test]
fn rows_carry_metadata_nothing_or_the_object() {
    let printer = built_in("", "v1", "configmaps");
    let object = json!({"metadata": {"name": "c"}, "data": {"a": "b"}});
    let table = |include| {
        printer.table(
            TableVersion::V1,
            &json!({"resourceVersion": "1"}),
            std::slice::from_ref(&object),
            include,
            now(),
        )
    };
    assert_eq!(table(Include::Metadata)["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table(Include::Object)["rows"][0]["object"], object);
    assert_eq!(table(Include::Nothing)["rows"][0].get("object"), None);
    assert_eq!(table(Include::Metadata)["columnDefinitions"][0]["format"], "name");
    assert!(Include::parse(Some("All")).is_err());
}

/// Objects and the cells a real kube-apiserver 1.36 computed for them (at `now`).
#[test]
fn cells_are_those_of_the_real_server() {
    let recorded: Value = serde_json::from_str(include_str!("recorded.json")).unwrap();
    let custom = Arc::new(Registry::custom(&recorded["definition"], 1).unwrap().remove(0));
    for row in recorded["rows"].as_array().unwrap() {
        let text = |name: &str| row[name].as_str().unwrap();
        let printer = match text("group") {
            "example.com" => Printer::new(&custom),
            group => built_in(group, text("version"), text("plural")),
        };
        let cells = printer.cells(&row["object"], text("now").parse().unwrap());
        assert_eq!(json!(cells), row["cells"], "{} {}", text("plural"), row["object"]["metadata"]["name"]);
    }
}
