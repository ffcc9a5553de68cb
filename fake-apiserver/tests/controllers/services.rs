use fake_apiserver::controllers::Options;
use serde_json::{Value, json};

use super::cluster::{Cluster, pod, pod_living};

fn service(name: &str, spec: &Value) -> Value {
    json!({"kind": "Service", "metadata": {"name": name}, "spec": spec})
}

fn labelled(mut pod: Value) -> Value {
    pod["metadata"]["labels"] = json!({"app": "web"});
    pod
}

#[test]
fn endpoints_and_slices_hold_ready_and_not_ready_pods() {
    let mut cluster = Cluster::new();
    cluster.create(labelled(pod("ready")));
    cluster.create(labelled(pod_living("slow", &[("never-ready", "true")])));
    cluster.create(service(
        "web",
        &json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}),
    ));
    let ready = cluster.get("Pod", "ready");
    let subset = cluster.get("Endpoints", "web")["subsets"][0].clone();
    assert_eq!(subset["addresses"][0]["ip"], ready["status"]["podIP"]);
    assert_eq!(subset["addresses"][0]["targetRef"]["name"], "ready");
    assert_eq!(subset["notReadyAddresses"][0]["targetRef"]["name"], "slow");
    assert_eq!(subset["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let slice = cluster.list("EndpointSlice").remove(0);
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    let conditions = |name: &str| {
        let endpoints = slice["endpoints"].as_array().unwrap();
        endpoints.iter().find(|e| e["targetRef"]["name"] == name).unwrap()["conditions"].clone()
    };
    assert_eq!(conditions("ready"), json!({"ready": true, "serving": true, "terminating": false}));
    assert_eq!(conditions("slow"), json!({"ready": false, "serving": false, "terminating": false}));
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
}

#[test]
fn a_named_target_port_is_looked_up_in_each_pod() {
    let mut cluster = Cluster::new();
    for (name, port) in [("one", 8001), ("two", 8002)] {
        let mut pod = labelled(pod(name));
        pod["spec"]["containers"][0]["ports"] = json!([{"name": "web", "containerPort": port}]);
        cluster.create(pod);
    }
    cluster.create(service(
        "web",
        &json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "web"}]}),
    ));
    let endpoints = cluster.get("Endpoints", "web");
    let mut ports: Vec<_> =
        endpoints["subsets"].as_array().unwrap().iter().map(|s| s["ports"][0]["port"].clone()).collect();
    ports.sort_by_key(Value::to_string);
    assert_eq!(ports, [8001, 8002]);
    assert_eq!(cluster.names("EndpointSlice").len(), 2);
}

#[test]
fn pods_come_and_go_behind_a_service() {
    let mut cluster = Cluster::new();
    cluster.create(service("web", &json!({"selector": {"app": "web"}, "ports": [{"port": 80}]})));
    assert!(cluster.get("Endpoints", "web")["subsets"].is_null());
    let slice = cluster.list("EndpointSlice").remove(0);
    assert!(slice["endpoints"].as_array().is_none_or(Vec::is_empty));
    cluster.create(labelled(pod("a")));
    let same = cluster.list("EndpointSlice").remove(0);
    assert_eq!(
        (&same["metadata"]["name"], same["endpoints"].as_array().unwrap().len()),
        (&slice["metadata"]["name"], 1)
    );
    cluster.patch("Pod", "a", json!({"metadata": {"labels": {"app": "other"}}}));
    assert!(cluster.get("Endpoints", "web")["subsets"].is_null());
    cluster.patch("Pod", "a", json!({"metadata": {"labels": {"app": "web"}}}));
    cluster.delete("Pod", "a");
    assert!(cluster.get("Endpoints", "web")["subsets"].is_null());
}

#[test]
fn a_service_that_publishes_unready_addresses_calls_them_ready() {
    let mut cluster = Cluster::new();
    cluster.create(labelled(pod_living("slow", &[("never-ready", "true")])));
    cluster.create(service(
        "web",
        &json!({"selector": {"app": "web"}, "publishNotReadyAddresses": true, "clusterIP": "None"}),
    ));
    assert_eq!(cluster.get("Endpoints", "web")["subsets"][0]["addresses"][0]["targetRef"]["name"], "slow");
    let slice = cluster.list("EndpointSlice").remove(0);
    assert_eq!(slice["endpoints"][0]["conditions"]["ready"], true);
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
}

#[test]
fn a_service_without_selector_is_left_to_others() {
    let mut cluster = Cluster::new();
    cluster.create(service("web", &json!({"ports": [{"port": 80}]})));
    assert_eq!(cluster.find("Endpoints", "web"), None);
    let own = json!([{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]);
    cluster.create(json!({"kind": "Endpoints", "metadata": {"name": "web"}, "subsets": own}));
    assert_eq!(cluster.get("Endpoints", "web")["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
}

#[test]
fn a_deleted_service_takes_its_endpoints_along() {
    let mut cluster = Cluster::new();
    cluster.create(service("web", &json!({"selector": {"app": "web"}, "ports": [{"port": 80}]})));
    cluster.delete("Service", "web");
    assert_eq!(cluster.find("Endpoints", "web"), None);
    assert_eq!(cluster.names("EndpointSlice"), Vec::<String>::new());
}

#[test]
fn slices_hold_at_most_a_hundred_endpoints() {
    let mut cluster = Cluster::new();
    cluster.create(service("web", &json!({"selector": {"app": "web"}, "ports": [{"port": 80}]})));
    for number in 0..150 {
        cluster.create(labelled(pod(&format!("pod-{number}"))));
    }
    let mut sizes: Vec<usize> =
        cluster.list("EndpointSlice").iter().map(|s| s["endpoints"].as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100]);
}

#[test]
fn a_load_balancer_stays_pending_unless_an_address_is_set() {
    let spec = json!({"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]});
    let mut cluster = Cluster::new();
    cluster.create(service("web", &spec));
    assert!(cluster.get("Service", "web")["status"]["loadBalancer"]["ingress"].is_null());
    let options = Options { load_balancer: Some("192.0.2.7".into()), ..Options::default() };
    let mut cluster = Cluster::with(options);
    cluster.create(service("web", &spec));
    assert_eq!(cluster.get("Service", "web")["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.7");
}
