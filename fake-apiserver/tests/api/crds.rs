//! CustomResourceDefinitions and custom resources.

use fake_apiserver::request::{FieldValidation, PatchType, Request};
use serde_json::{Value, json};

use crate::Cluster;

fn definition(subresources: Value) -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": subresources,
            "selectableFields": [{"jsonPath": ".spec.color"}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 0},
                    "color": {"type": "string", "default": "red"}, "size": {"type": "integer"}}},
                "status": {"type": "object", "properties": {"replicas": {"type": "integer"},
                    "selector": {"type": "string"}}}}}}}]}})
}

fn define(cluster: &mut Cluster, subresources: Value) -> Value {
    cluster.ok(&Request::create(
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        definition(subresources),
    ))
}

fn widget(spec: Value) -> Request {
    Request::create(
        "example.com/v1",
        "widgets",
        json!({"metadata": {"name": "w", "namespace": "default"}, "spec": spec}),
    )
}

fn at(request: Request) -> Request {
    request.namespace("default").name("w")
}

#[test]
fn a_definition_is_served_and_established_at_once() {
    let mut cluster = Cluster::new();
    define(&mut cluster, json!({}));
    let get =
        Request::get("apiextensions.k8s.io/v1", "customresourcedefinitions").name("widgets.example.com");
    let defined = cluster.ok(&get);
    let types: Vec<&Value> =
        defined["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(types, ["NamesAccepted", "Established"]);
    assert_eq!(defined["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(defined["status"]["storedVersions"], json!(["v1"]));
    assert!(cluster.names(&Request::list("example.com/v1", "widgets")).is_empty());
    assert_eq!(cluster.api.registry().get("example.com", "v1", "widgets").unwrap().short_names, ["wd"]);
}

#[test]
fn custom_resources_are_pruned_defaulted_and_validated() {
    let mut cluster = Cluster::new();
    define(&mut cluster, json!({}));
    let strict = widget(json!({"foo": 1})).field_validation(FieldValidation::Strict);
    let status = cluster.refusal(&strict);
    assert!(
        status.message.contains("strict decoding error: unknown field \"spec.foo\""),
        "{}",
        status.message
    );
    let wrong = cluster.refusal(&widget(json!({"replicas": -1})));
    assert_eq!((wrong.code, wrong.details.causes[0].field.as_str()), (422, "spec.replicas"));
    let made = cluster.ok(&widget(json!({"foo": 1, "size": 2})));
    assert_eq!(made["spec"], json!({"color": "red", "size": 2}));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(cluster.names(&Request::list("example.com/v1", "widgets").fields("spec.color=red")), ["w"]);
    assert_eq!(cluster.refusal(&Request::list("example.com/v1", "widgets").fields("spec.size=2")).code, 400);
    let strategic = at(Request::patch(PatchType::Strategic, "example.com/v1", "widgets", json!({})));
    assert_eq!(cluster.refusal(&strategic).code, 415);
    let mut bare = made;
    bare["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let status = cluster.refusal(&Request::update("example.com/v1", "widgets", bare));
    assert_eq!(status.details.causes[0].field, "metadata.resourceVersion");
}

#[test]
fn status_and_scale_are_there_when_the_definition_says_so() {
    let mut cluster = Cluster::new();
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector"});
    define(&mut cluster, json!({"status": {}, "scale": scale}));
    let mut body = widget(json!({"replicas": 2}));
    body.body.as_mut().unwrap()["status"] = json!({"replicas": 7});
    assert!(cluster.ok(&body).get("status").is_none(), "the main endpoint ignores the status");
    let change = json!({"status": {"replicas": 2, "selector": "a=b"}, "spec": {"replicas": 9}});
    let patch = Request::patch(PatchType::Merge, "example.com/v1", "widgets", change).subresource("status");
    let patched = cluster.ok(&at(patch));
    assert_eq!((&patched["spec"]["replicas"], &patched["metadata"]["generation"]), (&json!(2), &json!(1)));
    let scale = cluster.ok(&at(Request::get("example.com/v1", "widgets").subresource("scale")));
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    let change = json!({"spec": {"replicas": 5}});
    let patch = Request::patch(PatchType::Merge, "example.com/v1", "widgets", change).subresource("scale");
    cluster.ok(&at(patch));
    let scaled = cluster.ok(&at(Request::get("example.com/v1", "widgets")));
    assert_eq!((&scaled["spec"]["replicas"], &scaled["metadata"]["generation"]), (&json!(5), &json!(2)));
}

#[test]
fn without_a_status_subresource_the_status_is_a_field_like_others() {
    let mut cluster = Cluster::new();
    define(&mut cluster, json!({}));
    cluster.ok(&widget(json!({})));
    let patch =
        Request::patch(PatchType::Merge, "example.com/v1", "widgets", json!({"status": {"replicas": 1}}));
    let patched = cluster.ok(&at(patch.clone()));
    assert_eq!((&patched["status"]["replicas"], &patched["metadata"]["generation"]), (&json!(1), &json!(2)));
    assert_eq!(cluster.refusal(&at(patch.subresource("status"))).code, 404);
}

#[test]
fn a_default_that_comes_later_is_seen_by_readers() {
    let mut cluster = Cluster::new();
    define(&mut cluster, json!({}));
    cluster.ok(&widget(json!({})));
    let get =
        Request::get("apiextensions.k8s.io/v1", "customresourcedefinitions").name("widgets.example.com");
    let mut defined = cluster.ok(&get);
    defined["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["size"]
        ["default"] = json!(3);
    cluster.ok(&Request::update("apiextensions.k8s.io/v1", "customresourcedefinitions", defined));
    assert_eq!(cluster.ok(&at(Request::get("example.com/v1", "widgets")))["spec"]["size"], 3);
    let items = cluster.list(&Request::list("example.com/v1", "widgets")).items;
    assert_eq!(items[0].value()["spec"]["size"], 3);
}

#[test]
fn deleting_a_definition_takes_its_resources_along() {
    let mut cluster = Cluster::new();
    define(&mut cluster, json!({}));
    cluster.ok(&widget(json!({})));
    let mut watch = cluster.watch(&Request::watch("example.com/v1", "widgets"));
    let delete =
        Request::delete("apiextensions.k8s.io/v1", "customresourcedefinitions").name("widgets.example.com");
    cluster.ok(&delete);
    assert_eq!(cluster.seen(&mut watch).last().unwrap(), "DELETED w");
    assert_eq!(cluster.refusal(&Request::list("example.com/v1", "widgets")).code, 404);
    define(&mut cluster, json!({}));
    assert!(cluster.names(&Request::list("example.com/v1", "widgets")).is_empty());
}

#[test]
fn a_definition_that_serves_nothing_goes_with_what_it_has_kept() {
    let mut cluster = Cluster::new();
    let made = define(&mut cluster, json!({}));
    cluster.ok(&widget(json!({})));
    let named = |request: Request| request.name("widgets.example.com");
    let resource = ("apiextensions.k8s.io/v1", "customresourcedefinitions");
    let mut versions = made["spec"]["versions"].clone();
    versions[0]["served"] = json!(false);
    let versions = json!({"spec": {"versions": versions}});
    cluster.ok(&named(Request::patch(PatchType::Merge, resource.0, resource.1, versions)));
    cluster.ok(&named(Request::delete(resource.0, resource.1)));
    assert_eq!(cluster.refusal(&named(Request::get(resource.0, resource.1))).code, 404);
    define(&mut cluster, json!({}));
    assert!(cluster.names(&Request::list("example.com/v1", "widgets")).is_empty());
}

#[test]
fn a_definition_waits_for_resources_with_finalizers() {
    let mut cluster = Cluster::new();
    define(&mut cluster, json!({}));
    let mut body = widget(json!({}));
    body.body.as_mut().unwrap()["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.ok(&body);
    let named = |request: Request| request.name("widgets.example.com");
    cluster.ok(&named(Request::delete("apiextensions.k8s.io/v1", "customresourcedefinitions")));
    let going = cluster.ok(&named(Request::get("apiextensions.k8s.io/v1", "customresourcedefinitions")));
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let patch = json!({"metadata": {"finalizers": null}});
    cluster.ok(&at(Request::patch(PatchType::Merge, "example.com/v1", "widgets", patch)));
    let get = named(Request::get("apiextensions.k8s.io/v1", "customresourcedefinitions"));
    assert_eq!(cluster.refusal(&get).code, 404);
}

#[test]
fn broken_definitions_are_refused() {
    let mut cluster = Cluster::new();
    for (path, value) in [
        ("/metadata/name", json!("other.example.com")),
        ("/spec/scope", json!("Everywhere")),
        ("/spec/versions/0/storage", json!(false)),
        ("/spec/versions/0/schema/openAPIV3Schema/properties/spec/type", Value::Null),
    ] {
        let mut broken = definition(json!({}));
        *broken.pointer_mut(path).unwrap() = value;
        let status =
            cluster.refusal(&Request::create("apiextensions.k8s.io/v1", "customresourcedefinitions", broken));
        assert_eq!(status.code, 422, "{path}: {}", status.message);
    }
}

/// What a real server of 1.36 answered.
#[test]
fn a_definition_is_answered_as_it_goes() {
    let mut cluster = Cluster::new();
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    let spec = json!({"group": "example.org", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
        "versions": [version]});
    let definitions = |verb: fn(&str, &str) -> Request| {
        verb("apiextensions.k8s.io/v1", "customresourcedefinitions").name("things.example.org")
    };
    let body = json!({"metadata": {"name": "things.example.org"}, "spec": spec});
    cluster.ok(&Request::create("apiextensions.k8s.io/v1", "customresourcedefinitions", body));
    let going = cluster.ok(&definitions(Request::delete));
    assert_eq!(going["status"]["conditions"][2]["reason"], "InstanceDeletionPending");
    assert_eq!(going["metadata"]["generation"], 1);
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(cluster.refusal(&definitions(Request::get)).code, 404);
}

#[test]
fn a_conversion_says_whom_it_calls_and_how() {
    let mut cluster = Cluster::new();
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let spec = json!({"group": "example.org", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
        "versions": [version]});
    let mut check = |conversion: Value, expected: &str| {
        let mut body = json!({"metadata": {"name": "things.example.org"}, "spec": spec});
        body["spec"]["conversion"] = conversion;
        let request = Request::create("apiextensions.k8s.io/v1", "customresourcedefinitions", body);
        let causes = cluster.refusal(&request).details.causes;
        let shown: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        assert_eq!(shown.join("\n").replace("spec.conversion.", ""), expected);
    };
    check(
        json!({"strategy": "Webhook"}),
        "webhookClientConfig: Required value: required when strategy is set to Webhook\n\
         conversionReviewVersions: Required value",
    );
    check(
        json!({"strategy": "Webhook", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v3"]}}),
        "webhookClientConfig: Required value: exactly one of url or service is required\n\
         conversionReviewVersions: Invalid value: [\"v3\"]: must include at least one of v1, v1beta1",
    );
    let service = json!({"name": "a", "namespace": "b", "path": "x//y", "port": 0});
    check(
        json!({"strategy": "Webhook", "webhook": {"clientConfig": {"service": service}, "conversionReviewVersions": ["v1"]}}),
        "webhookClientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive\n\
         webhookClientConfig.service.path: Invalid value: \"x//y\": must start with a '/'\n\
         webhookClientConfig.service.path: Invalid value: \"x//y\": segment[0] may not be empty\n\
         webhookClientConfig.service.path: Invalid value: \"x//y\": segment[1] may not be empty",
    );
    check(
        json!({"strategy": "None", "webhook": {"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v1"]}}),
        "webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook\n\
         conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
    );
}
