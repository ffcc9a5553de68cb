//! The kinds that are tried, and what objects of them may have.

use serde_json::{Value, json};

use super::shape::{Shape, list, object, one, texts, with};
use crate::script::Step;
use crate::target::Target;

/// A kind, and what is done with its objects.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "Kubernetes' word for it")]
pub(crate) struct Kind {
    /// Where its objects are.
    pub(crate) path: &'static str,
    api_version: &'static str,
    kind: &'static str,
    /// Whether strategic merge knows it.
    pub(crate) is_built_in: bool,
    pub(crate) has_scale: bool,
    pub(crate) shape: Shape,
    /// What `status` may be given.
    pub(crate) status: Shape,
    /// Places that a JSON patch may name, with a value for each.
    pub(crate) places: Vec<(&'static str, Value)>,
}

impl Kind {
    /// The path of one of them.
    pub(crate) fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// What a whole object begins with.
    pub(crate) fn head(&self, name: &str) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": {"name": name}})
    }
}

/// All kinds.
pub(crate) fn all() -> Vec<Kind> {
    vec![config_map(), service(), deployment(), gadget()]
}

fn metadata() -> Shape {
    object([
        ("labels", texts(["x", "y"])),
        ("annotations", texts(["n"])),
        ("finalizers", list([one([json!("example.org/a")]), one([json!("example.org/b")])])),
    ])
}

fn config_map() -> Kind {
    Kind {
        path: "/api/v1/namespaces/<ns>/configmaps",
        api_version: "v1",
        kind: "ConfigMap",
        is_built_in: true,
        has_scale: false,
        shape: object([
            ("metadata", metadata()),
            ("data", texts(["a", "b", "c"])),
            ("binaryData", object([("k", one([json!("MQ=="), json!("Mg==")]))])),
        ]),
        status: object([]),
        places: vec![
            ("/data", json!({"a": "3"})),
            ("/data/a", json!("3")),
            ("/data/b", json!("1")),
            ("/metadata/labels", json!({"x": "3"})),
            ("/metadata/labels/x", json!("1")),
            ("/metadata/finalizers/0", json!("example.org/c")),
            ("/metadata/finalizers/-", json!("example.org/d")),
            ("/metadata/managedFields", json!([])),
        ],
    }
}

fn service() -> Kind {
    let port = |name: &str, port: i64, protocol: &str| {
        with(
            json!({"port": port, "protocol": protocol}),
            [
                ("name", one([json!(name), json!("other")])),
                ("targetPort", one([json!(80), json!("http"), json!(port)])),
                ("appProtocol", one([json!("http")])),
            ],
        )
    };
    let unnamed = with(json!({"port": 80}), [("name", one([json!("bare")]))]);
    Kind {
        path: "/api/v1/namespaces/<ns>/services",
        api_version: "v1",
        kind: "Service",
        is_built_in: true,
        has_scale: false,
        shape: object([
            ("metadata", metadata()),
            (
                "spec",
                with(
                    // Addresses that two servers choose would differ.
                    json!({"clusterIP": "None"}),
                    [
                        ("selector", texts(["app", "part"])),
                        (
                            "ports",
                            list([
                                port("web", 80, "TCP"),
                                port("datagram", 80, "UDP"),
                                port("more", 81, "TCP"),
                                unnamed,
                            ]),
                        ),
                        ("publishNotReadyAddresses", one([json!(true), json!(false)])),
                        ("sessionAffinity", one([json!("None"), json!("ClientIP")])),
                        ("externalIPs", list([one([json!("10.9.0.1")]), one([json!("10.9.0.2")])])),
                    ],
                ),
            ),
        ]),
        status: object([("status", object([("conditions", conditions())]))]),
        places: vec![
            ("/spec/ports/0/port", json!(82)),
            ("/spec/ports/-", json!({"port": 83, "name": "late"})),
            ("/spec/ports/1", json!({"port": 84, "name": "second"})),
            ("/spec/selector/app", json!("3")),
            ("/spec/selector", json!({"part": "3"})),
            ("/spec/sessionAffinity", json!("None")),
            ("/metadata/labels/x", json!("1")),
        ],
    }
}

fn conditions() -> Shape {
    let condition = |name: &str| {
        with(
            json!({
                "type": name, "status": "True", "reason": "Said", "message": "",
                "lastTransitionTime": "2020-01-01T00:00:00Z",
            }),
            [("status", one([json!("True"), json!("False")])), ("message", one([json!("a"), json!("b")]))],
        )
    };
    list([condition("First"), condition("Second")])
}

fn container(name: &str) -> Shape {
    let env = |name: &str| with(json!({"name": name}), [("value", one([json!("1"), json!("2"), json!("")]))]);
    let port = |port: i64, protocol: &str| {
        with(
            json!({"containerPort": port, "protocol": protocol}),
            [("name", one([json!(format!("p{port}-{}", protocol.to_lowercase()))]))],
        )
    };
    let from = with(
        json!({"name": "FROM"}),
        [("valueFrom", one([json!({"fieldRef": {"fieldPath": "metadata.name"}})]))],
    );
    let mount =
        |path: &str| with(json!({"name": "scratch", "mountPath": path}), [("readOnly", one([json!(true)]))]);
    let quantity = || one([json!("1"), json!("1000m"), json!(1), json!("0.5")]);
    with(
        json!({"name": name, "image": "example.com/image:1"}),
        [
            ("image", one([json!("example.com/image:1"), json!("example.com/image:2")])),
            ("args", list([one([json!("a"), json!("b")]), one([json!("c")])])),
            ("env", list([env("A"), env("B"), from])),
            ("ports", list([port(80, "TCP"), port(80, "UDP"), with(json!({"containerPort": 81}), [])])),
            ("volumeMounts", list([mount("/a"), mount("/b")])),
            (
                "resources",
                object([
                    (
                        "limits",
                        object([("cpu", quantity()), ("memory", one([json!("1Gi"), json!("1024Mi")]))]),
                    ),
                    ("requests", object([("cpu", one([json!("100m"), json!("0.1")]))])),
                ]),
            ),
            ("imagePullPolicy", one([json!("Always"), json!("IfNotPresent")])),
        ],
    )
}

fn deployment() -> Kind {
    let toleration =
        |key: &str| with(json!({"key": key, "operator": "Exists"}), [("effect", one([json!("NoSchedule")]))]);
    let pod = with(
        json!({"containers": [{"name": "main", "image": "example.com/image:1"}], "volumes": [{"name": "scratch"}]}),
        [
            ("containers", list([container("main"), container("side")])),
            ("initContainers", list([container("init")])),
            (
                "volumes",
                list([
                    with(
                        json!({"name": "scratch"}),
                        [("emptyDir", one([json!({}), json!({"medium": "Memory"})]))],
                    ),
                    with(json!({"name": "other"}), [("configMap", one([json!({"name": "c"})]))]),
                ]),
            ),
            ("nodeSelector", texts(["disk", "zone"])),
            ("tolerations", list([toleration("a"), toleration("b")])),
            ("terminationGracePeriodSeconds", one([json!(30), json!(5)])),
            ("securityContext", one([json!({}), json!({"runAsUser": 1})])),
            ("imagePullSecrets", list([one([json!({"name": "s"})]), one([json!({"name": "t"})])])),
            ("hostAliases", list([one([json!({"ip": "1.2.3.4", "hostnames": ["a"]})])])),
        ],
    );
    Kind {
        path: "/apis/apps/v1/namespaces/<ns>/deployments",
        api_version: "apps/v1",
        kind: "Deployment",
        is_built_in: true,
        has_scale: true,
        shape: object([
            ("metadata", metadata()),
            (
                "spec",
                with(
                    json!({
                        "selector": {"matchLabels": {"app": "one"}},
                        "template": {
                            "metadata": {"labels": {"app": "one"}},
                            "spec": {"containers": [{"name": "main", "image": "example.com/image:1"}]},
                        },
                    }),
                    [
                        ("replicas", one([json!(1), json!(2), json!(0)])),
                        ("template", object([("metadata", metadata()), ("spec", pod)])),
                        ("paused", one([json!(true), json!(false)])),
                        (
                            "strategy",
                            one([
                                json!({"type": "Recreate"}),
                                json!({"type": "RollingUpdate"}),
                                json!({"rollingUpdate": {"maxSurge": 1}}),
                                json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "30%"}}),
                            ]),
                        ),
                        ("minReadySeconds", one([json!(0), json!(3)])),
                    ],
                ),
            ),
        ]),
        status: object([(
            "status",
            object([("replicas", one([json!(1), json!(2)])), ("conditions", conditions())]),
        )]),
        places: vec![
            ("/spec/replicas", json!(3)),
            ("/spec/template/spec/containers/0/image", json!("example.com/image:3")),
            ("/spec/template/spec/containers/0/env/0", json!({"name": "C", "value": "3"})),
            ("/spec/template/spec/containers/0/env/-", json!({"name": "A", "value": "3"})),
            ("/spec/template/spec/containers/-", json!({"name": "late", "image": "example.com/image:1"})),
            ("/spec/template/spec/containers/1", json!({"name": "second", "image": "example.com/image:1"})),
            ("/spec/template/metadata/labels/x", json!("3")),
            ("/spec/strategy", json!({"type": "Recreate"})),
            ("/metadata/labels/x", json!("1")),
            ("/status/replicas", json!(5)),
        ],
    }
}

/// A kind with each sort of list and map, and with defaults.
fn gadget() -> Kind {
    let item = |key: &str| {
        with(
            json!({"key": key}),
            [("value", one([json!(1), json!(2)])), ("kind", one([json!("p"), json!("q")]))],
        )
    };
    Kind {
        path: "/apis/hunt.example.org/v1/namespaces/<ns>/gadgets",
        api_version: "hunt.example.org/v1",
        kind: "Gadget",
        is_built_in: false,
        // A scale stores an object of a definition without the defaults that nobody wrote yet, and the next write that changes
        // nothing is stored once more for them; this server stores them at once.
        has_scale: false,
        shape: object([
            ("metadata", metadata()),
            (
                "spec",
                object([
                    ("replicas", one([json!(1), json!(2)])),
                    ("byKey", list([item("a"), item("b"), item("c")])),
                    ("set", list([one([json!("s")]), one([json!("t")]), one([json!("u")])])),
                    ("atomic", list([one([json!("s"), json!("t")]), one([json!("u")])])),
                    ("whole", object([("m", one([json!(1), json!(2)])), ("n", one([json!(1)]))])),
                    ("granular", texts(["g", "h"])),
                    ("nested", object([("inner", object([("deep", one([json!("d"), json!("e")]))]))])),
                    ("free", object([("any", one([json!(1), json!("x"), json!({"y": [1]})]))])),
                    ("unknown", one([json!(1)])),
                    ("number", one([json!(1), json!(2.5), json!(-1)])),
                    ("either", one([json!(1), json!("one")])),
                ]),
            ),
        ]),
        status: object([(
            "status",
            object([("conditions", conditions()), ("replicas", one([json!(1), json!(2)]))]),
        )]),
        places: vec![
            ("/spec/replicas", json!(3)),
            ("/spec/byKey/0", json!({"key": "z", "value": 3})),
            ("/spec/byKey/-", json!({"key": "a"})),
            ("/spec/set/-", json!("s")),
            ("/spec/set/0", json!("v")),
            ("/spec/granular/g", json!("3")),
            ("/spec/whole", json!({"m": 3})),
            ("/spec/nested/inner/deep", json!("f")),
            ("/spec/free", json!({"any": null})),
            ("/metadata/labels/x", json!("1")),
            ("/spec/either", json!(true)),
        ],
    }
}

/// Has the server know the last of the kinds; what it answers counts elsewhere.
pub(crate) async fn define(target: &Target) {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let strings =
        |kind: &str| json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": kind});
    let item = json!({
        "type": "object",
        "required": ["key"],
        "properties": {
            "key": {"type": "string"},
            "value": {"type": "integer"},
            "kind": {"type": "string", "default": "p"},
        },
    });
    let by_key = json!({
        "type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
    });
    let condition = json!({
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            "type": {"type": "string"},
            "status": {"type": "string"},
            "reason": {"type": "string"},
            "message": {"type": "string"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    });
    let spec = json!({
        "type": "object",
        "properties": {
            "replicas": {"type": "integer", "default": 1},
            "byKey": by_key,
            "set": strings("set"),
            "atomic": strings("atomic"),
            "whole": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "properties": {"m": {"type": "integer"}, "n": {"type": "integer"}},
            },
            "granular": texts,
            "nested": {
                "type": "object",
                "default": {},
                "properties": {
                    "inner": {
                        "type": "object",
                        "default": {},
                        "properties": {"deep": {"type": "string", "default": "d"}},
                    },
                },
            },
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "number": {"type": "number", "minimum": 0},
            "either": {"x-kubernetes-int-or-string": true},
        },
    });
    let conditions = json!({
        "type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
    });
    let status = json!({
        "type": "object",
        "properties": {"replicas": {"type": "integer"}, "conditions": conditions},
    });
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.hunt.example.org"},
        "spec": {
            "group": "hunt.example.org",
            "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}, "scale": scale},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
            }],
        },
    });
    let known = [("ns".to_owned(), "default".to_owned())].into();
    let line = "POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    target.ask(&Step::new(line.into(), None, Some(definition)).request(&known)).await;
    let list = Step::new(format!("GET {}", gadget().path), None, None).request(&known);
    let answer = target.ask_in_time(&list, Some(200), false).await;
    assert_eq!(answer.code, 200, "the definition is not served: {}", answer.body);
}
