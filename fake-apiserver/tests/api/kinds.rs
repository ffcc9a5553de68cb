//! Rules of single kinds.

use fake_apiserver::request::{PatchType, Request};
use fake_apiserver::server::{ApiServer, Config};
use serde_json::{Value, json};

use crate::{Cluster, pod};

#[test]
fn pods_get_their_defaults() {
    let mut cluster = Cluster::new();
    let made = cluster.ok(&Request::create("v1", "pods", pod("x")));
    let spec = &made["spec"];
    assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(spec["containers"][0]["resources"], json!({}));
    assert_eq!((&spec["serviceAccountName"], &spec["enableServiceLinks"]), (&json!("default"), &json!(true)));
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(made["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
}

#[test]
fn broken_pods_are_refused_field_by_field() {
    let mut cluster = Cluster::new();
    let broken = json!({"metadata": {"name": "x", "namespace": "default"}, "spec": {"restartPolicy": "Sometimes",
        "containers": [{"name": "A"}, {"name": "b", "image": "i", "ports": [{"containerPort": 70000}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, {"name": "b", "image": "i"}]}});
    let status = cluster.refusal(&Request::create("v1", "pods", broken));
    let fields: Vec<&str> = status.details.causes.iter().map(|cause| cause.field.as_str()).collect();
    for field in [
        "spec.containers[0].name",
        "spec.containers[0].image",
        "spec.containers[1].ports[0].containerPort",
        "spec.containers[1].volumeMounts[0].name",
        "spec.containers[2].name",
        "spec.restartPolicy",
    ] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }
    let none = json!({"metadata": {"name": "x", "namespace": "default"}, "spec": {}});
    assert_eq!(cluster.refusal(&Request::create("v1", "pods", none)).code, 422);
    let mut wrong = pod("x");
    wrong["spec"]["containers"] = json!("none");
    assert_eq!(cluster.refusal(&Request::create("v1", "pods", wrong)).code, 400);
    let mut account = pod("x");
    account["spec"]["serviceAccountName"] = json!("nobody");
    assert_eq!(cluster.refusal(&Request::create("v1", "pods", account)).code, 403);
}

fn service(name: &str, spec: Value) -> Request {
    Request::create(
        "v1",
        "services",
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}),
    )
}

#[test]
fn services_get_addresses_and_keep_them() {
    let mut cluster = Cluster::new();
    let ports = json!([{"port": 80}]);
    let mut made = cluster.ok(&service("a", json!({"ports": ports, "type": "NodePort"})));
    assert_eq!(
        (&made["spec"]["clusterIP"], &made["spec"]["clusterIPs"]),
        (&json!("10.96.1.0"), &json!(["10.96.1.0"]))
    );
    assert_eq!(
        made["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30000}])
    );
    assert_eq!(made["status"], json!({"loadBalancer": {}}));
    assert_eq!(cluster.ok(&service("b", json!({"ports": ports})))["spec"]["clusterIP"], "10.96.1.1");
    assert_eq!(cluster.ok(&service("c", json!({"clusterIP": "None"})))["spec"]["clusterIP"], "None");
    assert_eq!(cluster.refusal(&service("d", json!({"ports": ports, "clusterIP": "10.96.1.1"}))).code, 422);
    assert_eq!(cluster.refusal(&service("d", json!({}))).code, 422);
    made["spec"].as_object_mut().unwrap().remove("clusterIP");
    made["metadata"]["labels"] = json!({"x": "y"});
    assert_eq!(
        cluster.ok(&Request::update("v1", "services", made.clone()))["spec"]["clusterIP"],
        "10.96.1.0"
    );
    made["spec"]["clusterIP"] = json!("10.96.9.9");
    made["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(cluster.refusal(&Request::update("v1", "services", made)).code, 422);
    cluster.ok(&Request::delete("v1", "services").namespace("default").name("b"));
    assert_eq!(
        cluster.ok(&service("e", json!({"ports": ports, "clusterIP": "10.96.1.1"})))["spec"]["clusterIP"],
        "10.96.1.1"
    );
}

#[test]
fn secrets_take_text_and_may_be_frozen() {
    let mut cluster = Cluster::new();
    let body = json!({"metadata": {"name": "s", "namespace": "default"}, "stringData": {"a": "b"}, "immutable": true});
    let mut made = cluster.ok(&Request::create("v1", "secrets", body));
    assert_eq!((&made["data"], &made["type"]), (&json!({"a": "Yg=="}), &json!("Opaque")));
    assert!(made.get("stringData").is_none());
    made["data"]["a"] = json!("Yw==");
    assert_eq!(cluster.refusal(&Request::update("v1", "secrets", made)).code, 422);
}

#[test]
fn a_job_selects_its_own_pods() {
    let mut cluster = Cluster::new();
    let body = json!({"metadata": {"name": "j", "namespace": "default"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    let made = cluster.ok(&Request::create("batch/v1", "jobs", body.clone()));
    let uid = &made["metadata"]["uid"];
    assert_eq!(made["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], *uid);
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["job-name"], "j");
    assert_eq!((&made["spec"]["completions"], &made["spec"]["backoffLimit"]), (&json!(1), &json!(6)));
    let mut always = body;
    always["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    assert_eq!(cluster.refusal(&Request::create("batch/v1", "jobs", always)).code, 422);
}

#[test]
fn a_deployment_must_select_its_template() {
    let mut cluster = Cluster::new();
    let body = |selector: Value| {
        json!({"metadata": {"name": "d", "namespace": "default"}, "spec": {"selector": selector,
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
    };
    let create = |selector| Request::create("apps/v1", "deployments", body(selector));
    assert_eq!(cluster.refusal(&create(json!({"matchLabels": {"a": "x"}}))).code, 422);
    let mut made = cluster.ok(&create(json!({"matchLabels": {"a": "b"}})));
    assert_eq!(
        made["spec"]["strategy"]["rollingUpdate"],
        json!({"maxSurge": "25%", "maxUnavailable": "25%"})
    );
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    made["spec"]["selector"]["matchLabels"] = json!({"c": "d"});
    made["spec"]["template"]["metadata"]["labels"] = json!({"c": "d"});
    let status = cluster.refusal(&Request::update("apps/v1", "deployments", made));
    assert!(status.message.contains("field is immutable"), "{}", status.message);
}

#[test]
fn a_quota_refuses_what_exceeds_it_and_counts_what_is_used() {
    let mut cluster = Cluster::new();
    // Its controller counts what is there before it holds.
    cluster.api = ApiServer::new(Config::default(), cluster.now);
    let quota = json!({"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": {"pods": "1",
        "requests.cpu": "1", "count/configmaps": 1}}});
    cluster.ok(&Request::create("v1", "resourcequotas", quota));
    cluster.api.step(cluster.now);
    let status = cluster.refusal(&Request::create("v1", "pods", pod("x")));
    assert_eq!(
        status.message,
        "pods \"x\" is forbidden: failed quota: q: must specify requests.cpu for: main"
    );
    let mut sized = pod("x");
    sized["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}});
    cluster.ok(&Request::create("v1", "pods", sized.clone()));
    sized["metadata"]["name"] = json!("y");
    let status = cluster.refusal(&Request::create("v1", "pods", sized));
    assert_eq!(status.code, 403);
    assert_eq!(
        status.message,
        "pods \"y\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1"
    );
    let quota = cluster.ok(&Request::get("v1", "resourcequotas").namespace("default").name("q"));
    let used = json!({"pods": "1", "requests.cpu": "600m", "count/configmaps": "1"});
    assert_eq!(quota["status"]["used"], used, "each creation is charged at once");
    let gone = Request::delete("v1", "pods").namespace("default").name("x").grace(0);
    cluster.ok(&gone);
    cluster.api.step(cluster.now);
    let quota = cluster.ok(&Request::get("v1", "resourcequotas").namespace("default").name("q"));
    assert_eq!(quota["status"]["used"]["pods"], "0", "what has gone is given back");
}

#[test]
fn events_are_one_collection_in_two_groups() {
    let mut cluster = Cluster::new();
    let event = json!({"metadata": {"name": "e", "namespace": "default"}, "involvedObject": {"kind": "Pod", "name": "p",
        "namespace": "default"}, "reason": "Started", "message": "hello", "type": "Normal"});
    cluster.ok(&Request::create("v1", "events", event));
    let new = cluster.ok(&Request::get("events.k8s.io/v1", "events").namespace("default").name("e"));
    assert_eq!((&new["apiVersion"], &new["note"]), (&json!("events.k8s.io/v1"), &json!("hello")));
    assert_eq!(new["regarding"]["name"], "p");
    let selected = Request::list("v1", "events").namespace("default");
    assert_eq!(
        cluster.names(&selected.fields("involvedObject.name=p,involvedObject.kind=Pod,reason=Started")),
        ["e"]
    );
    let mut watch = cluster.watch(&Request::watch("events.k8s.io/v1", "events"));
    assert_eq!(cluster.events(&mut watch)[0].object.value()["note"], "hello");
}

/// What a real server of 1.36 answered, as `cargo xtask hunt` found it.
#[test]
fn a_spec_that_nobody_says_is_there_and_has_its_defaults() {
    let mut cluster = Cluster::new();
    let metadata = json!({"name": "x", "namespace": "default"});
    let headless = json!({"metadata": metadata, "spec": {"clusterIP": "None"}});
    cluster.ok(&Request::create("v1", "services", headless));
    let bare = Request::update("v1", "services", json!({"metadata": metadata}));
    let spec = cluster.ok(&bare)["spec"].clone();
    assert_eq!((&spec["type"], &spec["clusterIP"]), (&json!("ClusterIP"), &json!("None")));
    for (version, plural, expected) in [
        ("v1", "resourcequotas", json!({})),
        ("v1", "limitranges", json!({"limits": null})),
        ("coordination.k8s.io/v1", "leases", json!({})),
        ("networking.k8s.io/v1", "networkpolicies", json!({"podSelector": {}, "policyTypes": ["Ingress"]})),
        ("resource.k8s.io/v1", "resourceclaims", json!({"devices": {"requests": null}})),
    ] {
        let made = cluster.ok(&Request::create(version, plural, json!({"metadata": metadata})));
        assert_eq!(made["spec"], expected, "{plural}");
    }
    let refusal = cluster.refusal(&Request::create("apps/v1", "deployments", json!({"metadata": metadata})));
    let fields: Vec<&str> = refusal.details.causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(
        fields,
        ["spec.selector", "spec.template.metadata.labels", "spec.template.spec.containers"],
        "its strategy has a default"
    );
}

#[test]
fn a_service_that_gets_a_selector_is_told_of_all_families_that_the_cluster_has_not() {
    let mut cluster = Cluster::new();
    let headless = json!({"metadata": {"name": "x", "namespace": "default"}, "spec": {"clusterIP": "None"}});
    let made = cluster.ok(&Request::create("v1", "services", headless));
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    let change = json!({"spec": {"selector": {"a": "b"}}});
    let patch = Request::patch(PatchType::Merge, "v1", "services", change).namespace("default").name("x");
    let refusal = cluster.refusal(&patch);
    let fields: Vec<&str> = refusal.details.causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(fields, ["spec.ipFamilyPolicy", "spec.ipFamilies[1]"]);
}

#[test]
fn a_zero_that_go_does_not_write_counts_as_unsaid() {
    let mut cluster = Cluster::new();
    let metadata = json!({"name": "x", "namespace": "default"});
    let spec = json!({"clusterIP": "None", "publishNotReadyAddresses": false, "sessionAffinity": ""});
    let made = cluster.ok(&Request::create("v1", "services", json!({"metadata": metadata, "spec": spec})));
    assert_eq!(made["spec"]["publishNotReadyAddresses"], Value::Null);
    assert_eq!(made["spec"]["sessionAffinity"], "None");
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(owned["f:publishNotReadyAddresses"], Value::Null);
    let mut job =
        json!({"metadata": metadata, "spec": {"suspend": false, "template": {"spec": pod("x")["spec"]}}});
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    job["spec"]["template"]["spec"]["hostNetwork"] = json!(false);
    let made = cluster.ok(&Request::create("batch/v1", "jobs", job));
    assert_eq!(made["spec"]["suspend"], false, "a pointer tells false from nothing");
    assert_eq!(made["spec"]["template"]["spec"]["hostNetwork"], Value::Null);
}

#[test]
fn a_service_that_changes_its_address_is_refused_for_that_first() {
    let mut cluster = Cluster::new();
    let service = |spec: Value| json!({"metadata": {"name": "x", "namespace": "default"}, "spec": spec});
    let ports = json!([{"port": 80}]);
    cluster.ok(&Request::create("v1", "services", service(json!({"ports": ports}))));
    let changed = json!({"clusterIP": "None", "ports": [{"port": 80}, {"port": 81}]});
    let refusal = cluster.refusal(&Request::update("v1", "services", service(changed)));
    let fields: Vec<&str> = refusal.details.causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(fields, ["spec.clusterIPs[0]", "spec.ports[0].name", "spec.ports[1].name"]);
}

#[test]
fn ports_of_a_service_keep_their_numbers_by_name() {
    let mut cluster = Cluster::new();
    let service = |ports: Value| {
        let spec = json!({"type": "NodePort", "ports": ports});
        json!({"metadata": {"name": "x", "namespace": "default"}, "spec": spec})
    };
    let made = service(json!([{"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81}]));
    let made = cluster.ok(&Request::create("v1", "services", made));
    let moved = service(json!([{"name": "b", "port": 80}, {"name": "a", "port": 81}]));
    let moved = cluster.ok(&Request::update("v1", "services", moved));
    let ports = |service: &Value, at: usize| service["spec"]["ports"][at]["nodePort"].clone();
    assert_eq!((ports(&moved, 0), ports(&moved, 1)), (ports(&made, 1), json!(30080)));
}

#[test]
fn labels_that_do_not_match_are_shown_as_they_were_said() {
    let mut cluster = Cluster::new();
    let mut shown = |template: Value| {
        let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
        let body = json!({"metadata": {"name": "x", "namespace": "default"}, "spec": spec});
        cluster.refusal(&Request::create("apps/v1", "deployments", body)).details.causes[0].message.clone()
    };
    let why = "`selector` does not match template `labels`";
    assert_eq!(shown(json!({})), format!("Invalid value: null: {why}"));
    assert_eq!(shown(json!({"metadata": {"labels": {}}})), format!("Invalid value: {{}}: {why}"));
}
