use super::*;
use serde_json::json;

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u1", "labels": {"app": "web", "a.b/c": "d"}},
        "spec": {"nodeName": "n1", "containers": []}
    }))
    .unwrap()
}

fn container(value: serde_json::Value) -> Container {
    let mut value = value;
    value["name"] = json!("c");
    serde_json::from_value(value).unwrap()
}

fn made(spec: serde_json::Value) -> Result<BTreeMap<String, String>, ConfigError> {
    let map: ConfigMap = serde_json::from_value(json!({"data": {"k": "from-map"}})).unwrap();
    let secret: Secret = serde_json::from_value(json!({"data": {"k": "c2VjcmV0"}})).unwrap();
    let sources = Sources {
        config_maps: BTreeMap::from([("m".into(), map)]),
        secrets: BTreeMap::from([("s".into(), secret)]),
    };
    let facts = Facts {
        pod_ip: "10.0.0.9".into(),
        host_ip: "10.0.0.1".into(),
        allocatable: BTreeMap::from([("cpu".into(), "2".into())]),
    };
    let services = BTreeMap::from([("WEB_SERVICE_HOST".to_owned(), "10.96.0.7".to_owned())]);
    variables(&container(spec), &pod(), &services, &sources, &facts)
}

#[test]
fn a_reference_sees_only_what_was_set_before_it() {
    let env = made(json!({"env": [
        {"name": "A", "value": "$(B) $(WEB_SERVICE_HOST)"},
        {"name": "B", "value": "b"},
        {"name": "C", "value": "$(A)|$(B)|$$(B)|$(NONE)|$B|$"},
    ]}))
    .unwrap();
    assert_eq!(env["A"], "$(B) 10.96.0.7");
    assert_eq!(env["C"], "$(B) 10.96.0.7|b|$(B)|$(NONE)|$B|$");
    assert_eq!(env["WEB_SERVICE_HOST"], "10.96.0.7");
}

#[test]
fn fields_resources_maps_and_secrets_are_resolved() {
    let env = made(json!({
        "resources": {"limits": {"memory": "1Gi"}},
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a.b/c']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}},
        ],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}, {"secretRef": {"name": "s"}}],
    }))
    .unwrap();
    let all: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = "CPU=2 IP=10.0.0.9 LABEL=d MAP=from-map MEM=1024 NAME=p NODE=n1 P_k=from-map SECRET=secret \
                    WEB_SERVICE_HOST=10.96.0.7 k=secret";
    assert_eq!(all.join(" "), expected);
}

#[test]
fn a_missing_map_or_key_is_said_as_the_kubelet_says_it() {
    let error = |spec| made(spec).unwrap_err().to_string();
    let map = json!({"envFrom": [{"configMapRef": {"name": "none"}}]});
    assert_eq!(error(map), "configmap \"none\" not found");
    let key = json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x"}}}]});
    assert_eq!(error(key), "couldn't find key x in Secret ns/s");
}

#[test]
fn command_replaces_the_entry_point_and_args_go_to_it() {
    let image = Image { entrypoint: vec!["init".into()], command: vec!["default".into()], ..Image::new("i") };
    let variables = BTreeMap::from([("V".to_owned(), "v".to_owned())]);
    let line = |spec| command_line(&container(spec), &image, &variables).join(" ");
    assert_eq!(line(json!({})), "init default");
    assert_eq!(line(json!({"args": ["a", "$(V)"]})), "init a v");
    assert_eq!(line(json!({"command": ["c"]})), "c");
    assert_eq!(line(json!({"command": ["c"], "args": ["$$(V)"]})), "c $(V)");
}

#[test]
fn a_program_that_is_named_by_its_path_in_the_image_is_found() {
    let mut image = Image::new("i");
    image.programs = BTreeMap::from([("/app".into(), "/opt/app/bin/app".into())]);
    let line = |spec| command_line(&container(spec), &image, &BTreeMap::new()).join(" ");
    assert_eq!(line(json!({"command": ["/app", "/app"]})), "/opt/app/bin/app /app");
    assert_eq!(line(json!({"command": ["/other"]})), "/other");
}

#[test]
fn the_image_s_variables_are_weaker_than_the_pod_s() {
    let mut image = Image::new("i");
    image.env = BTreeMap::from([("A".into(), "image".into()), ("B".into(), "image".into())]);
    image.path_prepend = vec!["/opt/bin".into()];
    let env = with_image(BTreeMap::from([("A".into(), "pod".into())]), &image, Some("/scripts"), "host");
    assert_eq!(env["A"], "pod");
    assert_eq!(env["B"], "image");
    assert!(env["PATH"].starts_with("/scripts:/opt/bin:/usr/local/sbin:"));
    assert_eq!(env["HOSTNAME"], "host");
}
