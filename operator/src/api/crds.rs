//! The four CustomResourceDefinitions, as `kubectl apply` and the Helm chart install them.
//!
//! The Rust types say fields, short names, columns and subresources; this file adds what Rust types cannot say:
//! Kubernetes' pod and Service schemas, defaults, bounds and CEL rules.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{DaskAutoscaler, DaskCluster, DaskJob, DaskWorkerGroup, schema};
use crate::autoscaler::WINDOW_MAX;

/// Most bytes that a CRD may have as compact JSON: client-side `kubectl apply` keeps a copy in an annotation of this size.
pub const MAX_BYTES: usize = 262_144;

/// Longest name of a DaskCluster: 63 characters of a Service name less `-scheduler`.
pub const MAX_CLUSTER_NAME: usize = 53;

/// Longest name of a DaskWorkerGroup: it is the value of a label on each worker.
pub const MAX_GROUP_NAME: usize = 63;

/// The CustomResourceDefinitions of DaskCluster, DaskWorkerGroup, DaskJob and DaskAutoscaler, in this order.
pub fn crds() -> Vec<Value> {
    vec![cluster(), worker_group(), job(), autoscaler()]
}

fn cluster() -> Value {
    let mut crd = definition::<DaskCluster>();
    let root = root(&mut crd);
    cluster_spec(&mut root["properties"]["spec"]);
    // Only here, as ever: a group or job without a spec is accepted, and reported by the operator.
    root["required"] = json!(["spec"]);
    root["x-kubernetes-validations"] = cluster_name_rules("DaskCluster");
    crd
}

fn worker_group() -> Value {
    let mut crd = definition::<DaskWorkerGroup>();
    let root = root(&mut crd);
    worker_spec(&mut root["properties"]["spec"]["properties"]["worker"]);
    let rule = format!("size(self.metadata.name) <= {MAX_GROUP_NAME}");
    let said = format!(
        "the name of a DaskWorkerGroup has at most {MAX_GROUP_NAME} characters, because it is a label value on each worker"
    );
    root["x-kubernetes-validations"] = json!([on_creation(&rule, &said)]);
    crd
}

fn job() -> Value {
    let mut crd = definition::<DaskJob>();
    let root = root(&mut crd);
    let spec = &mut root["properties"]["spec"]["properties"];
    for (field, minimum) in
        [("backoffLimit", 0), ("activeDeadlineSeconds", 1), ("ttlSecondsAfterFinished", 0)]
    {
        spec[field]["minimum"] = json!(minimum);
    }
    let runner = &mut spec["job"]["properties"]["spec"];
    *runner = schema::pod_spec();
    runner["properties"]["restartPolicy"]["default"] = json!("OnFailure");
    let cluster = &mut spec["cluster"]["properties"];
    cluster_spec(&mut cluster["spec"]);
    // Go clients embed a whole DaskCluster: `metadata.creationTimestamp: null` and `status: {}` come with it.
    cluster["metadata"]["properties"]["creationTimestamp"] = json!({"type": "string", "format": "date-time"});
    cluster["status"] = json!({"type": "object", "properties": {"phase": {"type": "string"}}});
    root["x-kubernetes-validations"] = cluster_name_rules("DaskJob");
    crd
}

fn autoscaler() -> Value {
    let mut crd = definition::<DaskAutoscaler>();
    let spec = &mut root(&mut crd)["properties"]["spec"];
    let fields = &mut spec["properties"];
    for bound in ["minimum", "maximum"] {
        fields[bound]["minimum"] = json!(0);
        fields["groups"]["items"]["properties"][bound]["minimum"] = json!(0);
    }
    fields["groups"]["minItems"] = json!(1);
    // Together with the length of names this bounds what the rule below may cost.
    fields["groups"]["maxItems"] = json!(64);
    fields["groups"]["x-kubernetes-list-type"] = json!("map");
    fields["groups"]["x-kubernetes-list-map-keys"] = json!(["name"]);
    fields["groups"]["items"]["x-kubernetes-validations"] = json!([{
        "rule": "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
        "message": "minimum must not be greater than maximum",
    }]);
    fields["pollingIntervalSeconds"]["minimum"] = json!(1);
    for direction in ["scaleUp", "scaleDown"] {
        let fields = &mut fields["behavior"]["properties"][direction]["properties"];
        fields["stabilizationWindowSeconds"]["minimum"] = json!(0);
        fields["stabilizationWindowSeconds"]["maximum"] = json!(WINDOW_MAX.as_secs());
        fields["cooldownSeconds"]["minimum"] = json!(0);
    }
    let percent = &mut fields["behavior"]["properties"]["scaleDown"]["properties"]["percent"];
    percent["minimum"] = json!(1);
    percent["maximum"] = json!(100);
    spec["x-kubernetes-validations"] = json!([
        {"rule": "self.minimum <= self.maximum", "message": "minimum must not be greater than maximum"},
        {
            "rule": "!has(self.workerGroup) || !has(self.groups)",
            "message": "workerGroup and groups exclude each other; give one of them",
        },
    ]);
    crd
}

fn cluster_spec(spec: &mut Value) {
    let properties = &mut spec["properties"];
    properties["idleTimeout"]["default"] = json!(0);
    worker_spec(&mut properties["worker"]);
    properties["scheduler"]["properties"]["spec"] = schema::pod_spec();
    properties["scheduler"]["properties"]["service"] = schema::service_spec();
}

fn worker_spec(worker: &mut Value) {
    let properties = &mut worker["properties"];
    properties["replicas"]["default"] = json!(1);
    properties["replicas"]["minimum"] = json!(0);
    properties["spec"] = schema::pod_spec();
}

/// Names of which a Service and a label value can be made.
fn cluster_name_rules(kind: &str) -> Value {
    json!([
        on_creation(
            &format!("size(self.metadata.name) <= {MAX_CLUSTER_NAME}"),
            &format!(
                "the name of a {kind} has at most {MAX_CLUSTER_NAME} characters, because its Service is named {{name}}-scheduler"
            ),
        ),
        on_creation(
            "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            &format!(
                "the name of a {kind} consists of a-z, 0-9 and '-', and starts and ends with a letter or digit, because its Service is named after it"
            ),
        ),
    ])
}

/// A rule that only new objects must obey. Names never change; an object that was made under older rules must stay writable,
/// or nobody could remove its finalizers.
fn on_creation(rule: &str, message: &str) -> Value {
    json!({"rule": format!("oldSelf.hasValue() || {rule}"), "optionalOldSelf": true, "message": message})
}

/// The definition as derived, without defaults: which there are is said above, field by field.
fn definition<K: CustomResourceExt>() -> Value {
    let mut crd = serde_json::to_value(K::crd()).expect("a definition of plain data serialises");
    let root = root(&mut crd);
    without_defaults(root);
    let mut properties = Map::new();
    for key in ["spec", "status"] {
        properties.insert(key.into(), root["properties"][key].take());
    }
    *root = json!({
        "description": root["description"],
        "type": "object",
        "properties": properties,
    });
    let conditions = &mut root["properties"]["status"]["properties"]["conditions"];
    conditions["x-kubernetes-list-type"] = json!("map");
    conditions["x-kubernetes-list-map-keys"] = json!(["type"]);
    conditions["items"]["required"] = json!(["type", "status"]);
    crd
}

fn root(crd: &mut Value) -> &mut Value {
    &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn without_defaults(schema: &mut Value) {
    if let Value::Object(map) = schema {
        if map.contains_key("type") || map.contains_key("properties") {
            map.remove("default");
        }
        for (key, inner) in map.iter_mut() {
            match (key.as_str(), inner) {
                ("properties", Value::Object(properties)) => {
                    properties.values_mut().for_each(without_defaults);
                }
                ("items" | "additionalProperties", inner) => without_defaults(inner),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_can_be_applied_by_kubectl() {
        for crd in crds() {
            let bytes = serde_json::to_vec(&crd).expect("JSON").len();
            assert!(bytes < MAX_BYTES, "{}: {bytes}", crd["metadata"]["name"]);
        }
    }

    #[test]
    fn names_are_upstreams_and_all_are_in_the_category_dask() {
        let said: Vec<Value> = crds()
            .iter()
            .map(|crd| {
                let names = &crd["spec"]["names"];
                assert_eq!(names["categories"], json!(["dask"]));
                json!([names["kind"], names["plural"], names["singular"], names["shortNames"]])
            })
            .collect();
        let expected = json!([
            ["DaskCluster", "daskclusters", "daskcluster", ["daskcluster", "dsk"]],
            ["DaskWorkerGroup", "daskworkergroups", "daskworkergroup", ["daskworkers"]],
            ["DaskJob", "daskjobs", "daskjob", ["djb"]],
            ["DaskAutoscaler", "daskautoscalers", "daskautoscaler", null],
        ]);
        assert_eq!(json!(said), expected);
    }

    #[test]
    fn columns_of_priority_0_are_upstreams() {
        let columns = |crd: &Value| -> Vec<String> {
            let all = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().cloned();
            let first = |column: &&Value| column["priority"].as_i64().unwrap_or_default() == 0;
            let said = |column: &Value| format!("{} {}", column["name"], column["jsonPath"]).replace('"', "");
            all.unwrap_or_default().iter().filter(first).map(said).collect()
        };
        let age = "Age .metadata.creationTimestamp";
        let expected = [
            vec!["Workers .spec.worker.replicas", "Status .status.phase", age],
            vec!["Workers .spec.worker.replicas", age],
            vec!["Status .status.jobStatus", "Number Of Workers .spec.cluster.spec.worker.replicas", age],
            vec!["Cluster .spec.cluster", "Minimum .spec.minimum", "Maximum .spec.maximum", age],
        ];
        for (crd, expected) in crds().iter().zip(expected) {
            assert_eq!(columns(crd), expected);
        }
    }

    #[test]
    fn all_kinds_have_a_status_endpoint_and_groups_of_workers_scale_with_a_selector() {
        let scale = json!({
            "specReplicasPath": ".spec.worker.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        });
        for crd in crds() {
            let subresources = &crd["spec"]["versions"][0]["subresources"];
            assert!(subresources["status"].is_object());
            let scales =
                matches!(crd["spec"]["names"]["kind"].as_str(), Some("DaskCluster" | "DaskWorkerGroup"));
            assert_eq!(subresources["scale"], if scales { scale.clone() } else { Value::Null });
        }
    }

    /// The same rules as the API server's, without one.
    #[cfg(feature = "fake")]
    mod by_schema {
        use fake_apiserver::schema::Schema;

        use super::*;

        fn schema(kind: &str) -> Schema {
            let crd = crds().into_iter().find(|crd| crd["spec"]["names"]["kind"] == kind).expect("a kind");
            let openapi = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            Schema::from_crd(openapi, "schema").unwrap_or_else(|causes| panic!("{kind}: {causes:?}"))
        }

        fn bare_cluster(name: &str) -> Value {
            let container = json!({"name": "c", "image": "i", "env": null});
            json!({
                "apiVersion": "kubernetes.dask.org/v1", "kind": "DaskCluster", "metadata": {"name": name},
                "spec": {
                    "worker": {"replicas": null, "spec": {"containers": [container]}},
                    "scheduler": {"spec": {"containers": [container], "new": {"field": 1}}, "service": {}},
                },
            })
        }

        #[test]
        fn every_definition_is_structural() {
            for kind in ["DaskCluster", "DaskWorkerGroup", "DaskJob", "DaskAutoscaler"] {
                schema(kind);
            }
        }

        #[test]
        fn a_bare_cluster_is_defaulted_and_kept_whole() {
            let schema = schema("DaskCluster");
            let mut cluster = bare_cluster("x");
            schema.default(&mut cluster);
            assert_eq!(schema.prune(&mut cluster), Vec::<String>::new());
            assert_eq!(schema.validate(&cluster, None), Vec::new());
            assert_eq!(cluster["spec"]["worker"]["replicas"], 1);
            assert_eq!(cluster["spec"]["scheduler"]["spec"]["new"]["field"], 1);
        }

        #[test]
        fn a_bad_name_is_refused_at_creation_and_tolerated_afterwards() {
            let schema = schema("DaskCluster");
            for name in ["a".repeat(54), "with.dots".into()] {
                let mut cluster = bare_cluster(&name);
                schema.default(&mut cluster);
                assert_eq!(schema.validate(&cluster, None).len(), 1, "{name}");
                let mut labelled = cluster.clone();
                labelled["metadata"]["labels"] = json!({"a": "b"});
                assert_eq!(schema.validate(&labelled, Some(&cluster)), Vec::new(), "{name}");
            }
        }
    }
}
