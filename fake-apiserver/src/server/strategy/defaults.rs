//! Defaults of the built-in kinds as tables of path → value, from the `SetDefaults_…` functions of Kubernetes.
//!
//! A path names fields by dots; `[]` after a field means each item of the list. A default is set where its parent
//! exists and the field does not. The order of rows matters where a row fills what a later row looks into.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::storage::GroupResource;

/// Path and value as JSON.
type Rows = &'static [(&'static str, &'static str)];

/// Rows for one pod spec, relative to it.
const POD_SPEC: Rows = &[
    ("restartPolicy", r#""Always""#),
    ("dnsPolicy", r#""ClusterFirst""#),
    ("schedulerName", r#""default-scheduler""#),
    ("terminationGracePeriodSeconds", "30"),
    ("securityContext", "{}"),
    ("volumes[].secret.defaultMode", "420"),
    ("volumes[].configMap.defaultMode", "420"),
    ("volumes[].downwardAPI.defaultMode", "420"),
    ("volumes[].downwardAPI.items[].fieldRef.apiVersion", r#""v1""#),
    ("volumes[].projected.defaultMode", "420"),
    ("volumes[].projected.sources[].serviceAccountToken.expirationSeconds", "3600"),
    ("volumes[].projected.sources[].downwardAPI.items[].fieldRef.apiVersion", r#""v1""#),
    ("volumes[].hostPath.type", r#""""#),
    ("volumes[].rbd.pool", r#""rbd""#),
    ("volumes[].rbd.user", r#""admin""#),
    ("volumes[].rbd.keyring", r#""/etc/ceph/keyring""#),
    ("volumes[].scaleIO.fsType", r#""xfs""#),
    ("volumes[].scaleIO.storageMode", r#""ThinProvisioned""#),
    ("volumes[].azureDisk.cachingMode", r#""ReadWrite""#),
    ("volumes[].azureDisk.kind", r#""Shared""#),
    ("volumes[].azureDisk.fsType", r#""ext4""#),
    ("volumes[].azureDisk.readOnly", "false"),
    ("volumes[].iscsi.iscsiInterface", r#""default""#),
    ("volumes[].ephemeral.volumeClaimTemplate.metadata", "{}"),
    ("volumes[].ephemeral.volumeClaimTemplate.spec.volumeMode", r#""Filesystem""#),
];

/// Rows for each container, init container and ephemeral container.
const CONTAINER: &[(&str, &str)] = &[
    ("terminationMessagePath", r#""/dev/termination-log""#),
    ("terminationMessagePolicy", r#""File""#),
    ("resources", "{}"),
    ("ports[].protocol", r#""TCP""#),
    ("env[].valueFrom.fieldRef.apiVersion", r#""v1""#),
];

/// Rows for each probe of a container.
const PROBE: &[(&str, &str)] = &[
    ("timeoutSeconds", "1"),
    ("periodSeconds", "10"),
    ("successThreshold", "1"),
    ("failureThreshold", "3"),
    ("httpGet.path", r#""/""#),
    ("httpGet.scheme", r#""HTTP""#),
    ("grpc.service", r#""""#),
];

/// Rows of whole objects, by group and resource.
const OBJECTS: &[(&str, &str, Rows)] = &[
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicies",
        &[
            ("spec.failurePolicy", r#""Fail""#),
            ("spec.reinvocationPolicy", r#""Never""#),
            ("spec.matchConstraints.matchPolicy", r#""Equivalent""#),
            ("spec.matchConstraints.namespaceSelector", "{}"),
            ("spec.matchConstraints.objectSelector", "{}"),
            ("spec.matchConstraints.resourceRules[].scope", r#""*""#),
        ],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        &[
            ("spec.limited.nominalConcurrencyShares", "30"),
            ("spec.limited.lendablePercent", "0"),
            ("spec.limited.limitResponse.queuing.queues", "64"),
            ("spec.limited.limitResponse.queuing.handSize", "8"),
            ("spec.limited.limitResponse.queuing.queueLengthLimit", "50"),
        ],
    ),
    (
        "resource.k8s.io",
        "resourceclaims",
        &[
            ("spec.devices.requests[].exactly.allocationMode", r#""ExactCount""#),
            ("spec.devices.requests[].exactly.count", "1"),
        ],
    ),
    (
        "resource.k8s.io",
        "resourceclaimtemplates",
        &[
            ("spec.metadata", "{}"),
            ("spec.spec.devices.requests[].exactly.allocationMode", r#""ExactCount""#),
            ("spec.spec.devices.requests[].exactly.count", "1"),
        ],
    ),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", WEBHOOKS),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", WEBHOOKS),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        &[
            ("spec.failurePolicy", r#""Fail""#),
            ("spec.matchConstraints.matchPolicy", r#""Equivalent""#),
            ("spec.matchConstraints.namespaceSelector", "{}"),
            ("spec.matchConstraints.objectSelector", "{}"),
            ("spec.matchConstraints.resourceRules[].scope", r#""*""#),
            ("spec.matchConstraints.excludeResourceRules[].scope", r#""*""#),
        ],
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        &[
            ("spec.matchResources.matchPolicy", r#""Equivalent""#),
            ("spec.matchResources.namespaceSelector", "{}"),
            ("spec.matchResources.objectSelector", "{}"),
            ("spec.matchResources.resourceRules[].scope", r#""*""#),
            ("spec.matchResources.excludeResourceRules[].scope", r#""*""#),
        ],
    ),
    ("", "nodes", &[("spec", "{}")]),
    (
        "apps",
        "deployments",
        &[
            ("spec.replicas", "1"),
            ("spec.strategy", "{}"),
            ("spec.strategy.type", r#""RollingUpdate""#),
            ("spec.revisionHistoryLimit", "10"),
            ("spec.progressDeadlineSeconds", "600"),
        ],
    ),
    ("apps", "replicasets", &[("spec.replicas", "1")]),
    (
        "apps",
        "statefulsets",
        &[
            ("spec.replicas", "1"),
            ("spec.podManagementPolicy", r#""OrderedReady""#),
            ("spec.updateStrategy", "{}"),
            ("spec.updateStrategy.type", r#""RollingUpdate""#),
            ("spec.revisionHistoryLimit", "10"),
            ("spec.persistentVolumeClaimRetentionPolicy", "{}"),
            ("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", r#""Retain""#),
            ("spec.persistentVolumeClaimRetentionPolicy.whenScaled", r#""Retain""#),
            ("spec.volumeClaimTemplates[].apiVersion", r#""v1""#),
            ("spec.volumeClaimTemplates[].kind", r#""PersistentVolumeClaim""#),
            ("spec.volumeClaimTemplates[].spec.volumeMode", r#""Filesystem""#),
            ("spec.volumeClaimTemplates[].status.phase", r#""Pending""#),
        ],
    ),
    (
        "apps",
        "daemonsets",
        &[
            ("spec.updateStrategy", "{}"),
            ("spec.updateStrategy.type", r#""RollingUpdate""#),
            ("spec.revisionHistoryLimit", "10"),
            ("metadata.annotations", "{}"),
            ("metadata.annotations.deprecated/daemonset/template/generation", r#""1""#),
        ],
    ),
    ("", "replicationcontrollers", &[("spec.replicas", "1")]),
    ("batch", "jobs", JOB_SPEC),
    (
        "batch",
        "cronjobs",
        &[
            ("spec.concurrencyPolicy", r#""Allow""#),
            ("spec.suspend", "false"),
            ("spec.successfulJobsHistoryLimit", "3"),
            ("spec.failedJobsHistoryLimit", "1"),
        ],
    ),
    (
        "",
        "services",
        &[
            ("spec.type", r#""ClusterIP""#),
            ("spec.sessionAffinity", r#""None""#),
            ("spec.ports[].protocol", r#""TCP""#),
            ("status", "{}"),
            ("status.loadBalancer", "{}"),
        ],
    ),
    ("", "secrets", &[("type", r#""Opaque""#)]),
    ("", "namespaces", &[("spec", "{}")]),
    ("", "endpoints", &[("subsets[].ports[].protocol", r#""TCP""#)]),
    ("discovery.k8s.io", "endpointslices", &[("ports[].protocol", r#""TCP""#), ("ports[].name", r#""""#)]),
    ("", "persistentvolumeclaims", &[("spec.volumeMode", r#""Filesystem""#)]),
    (
        "",
        "persistentvolumes",
        &[
            ("spec.volumeMode", r#""Filesystem""#),
            ("spec.persistentVolumeReclaimPolicy", r#""Retain""#),
            ("spec.hostPath.type", r#""""#),
        ],
    ),
    (
        "autoscaling",
        "horizontalpodautoscalers",
        &[
            ("spec.minReplicas", "1"),
            (
                "spec.metrics",
                r#"[{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]"#,
            ),
        ],
    ),
    (
        "storage.k8s.io",
        "storageclasses",
        &[("reclaimPolicy", r#""Delete""#), ("volumeBindingMode", r#""Immediate""#)],
    ),
    ("scheduling.k8s.io", "priorityclasses", &[("preemptionPolicy", r#""PreemptLowerPriority""#)]),
    (
        "networking.k8s.io",
        "networkpolicies",
        &[("spec.ingress[].ports[].protocol", r#""TCP""#), ("spec.egress[].ports[].protocol", r#""TCP""#)],
    ),
    ("networking.k8s.io", "ingressclasses", &[("spec.parameters.scope", r#""Cluster""#)]),
    ("rbac.authorization.k8s.io", "rolebindings", RBAC),
    ("rbac.authorization.k8s.io", "clusterrolebindings", RBAC),
    (
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        &[("spec.conversion", "{}"), ("spec.conversion.strategy", r#""None""#)],
    ),
];

const WEBHOOKS: Rows = &[
    ("webhooks[].failurePolicy", r#""Fail""#),
    ("webhooks[].matchPolicy", r#""Equivalent""#),
    ("webhooks[].namespaceSelector", "{}"),
    ("webhooks[].objectSelector", "{}"),
    ("webhooks[].timeoutSeconds", "10"),
    ("webhooks[].rules[].scope", r#""*""#),
    ("webhooks[].clientConfig.service.port", "443"),
];

const RBAC: &[(&str, &str)] = &[("roleRef.apiGroup", r#""rbac.authorization.k8s.io""#)];

const JOB_SPEC: &[(&str, &str)] = &[
    ("spec.completionMode", r#""NonIndexed""#),
    ("spec.suspend", "false"),
    ("spec.manualSelector", "false"),
];

struct Rule {
    path: Vec<(String, bool)>,
    value: Value,
}

static POD_SPEC_RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| rules(POD_SPEC));
static CONTAINER_RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| rules(CONTAINER));
static PROBE_RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| rules(PROBE));
static OBJECT_RULES: LazyLock<BTreeMap<(&str, &str), Vec<Rule>>> = LazyLock::new(|| {
    OBJECTS.iter().map(|(group, resource, rows)| ((*group, *resource), rules(rows))).collect()
});

/// Fills in the defaults of an object of a built-in kind.
pub(super) fn object(resource: &GroupResource, value: &mut Value) {
    if let Some(rules) = OBJECT_RULES.get(&(&*resource.group, &*resource.resource)) {
        apply(rules, value);
    }
}

/// Fills in the defaults of a pod spec.
pub(super) fn pod_spec(spec: &mut Value) {
    apply(&POD_SPEC_RULES, spec);
    for volume in items(spec, "volumes") {
        if volume.as_object().is_some_and(|volume| volume.len() == 1 && volume.contains_key("name")) {
            volume["emptyDir"] = Value::Object(serde_json::Map::new());
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec, list) {
            apply(&CONTAINER_RULES, container);
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
                    // Zero is what Go has where nothing was said.
                    for field in ["timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
                        if probe[field] == 0 {
                            super::set_or_remove(probe, field, None);
                        }
                    }
                    apply(&PROBE_RULES, probe);
                }
            }
            for hook in ["postStart", "preStop"] {
                if let Some(get) = container.pointer_mut(&format!("/lifecycle/{hook}/httpGet")) {
                    set(get, "path", "/");
                    set(get, "scheme", "HTTP");
                }
            }
        }
    }
}

fn set(object: &mut Value, field: &str, value: &str) {
    if let Some(object) = object.as_object_mut() {
        object.entry(field).or_insert_with(|| value.into());
    }
}

/// The items of a list field; none where there is no list.
pub(super) fn items<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

fn rules(rows: &[(&str, &str)]) -> Vec<Rule> {
    rows.iter()
        .map(|(path, json)| Rule {
            path: path
                .split('.')
                .map(|part| match part.strip_suffix("[]") {
                    Some(field) => (field.to_owned(), true),
                    // A slash stands for a dot inside a name.
                    None => (part.replace('/', "."), false),
                })
                .collect(),
            value: serde_json::from_str(json).unwrap_or_default(),
        })
        .collect()
}

fn apply(rules: &[Rule], value: &mut Value) {
    for rule in rules {
        fill(&rule.path, &rule.value, value);
    }
}

fn fill(path: &[(String, bool)], default: &Value, value: &mut Value) {
    let Some(((field, each), rest)) = path.split_first() else { return };
    let Some(object) = value.as_object_mut() else { return };
    if rest.is_empty() {
        // An empty text is what Go has where nothing was said.
        if object.get(field).is_none_or(|value| value == "") {
            object.insert(field.clone(), default.clone());
        }
        return;
    }
    match object.get_mut(field) {
        Some(Value::Array(items)) if *each => items.iter_mut().for_each(|item| fill(rest, default, item)),
        Some(inner) if !each => fill(rest, default, inner),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_row_of_the_tables_is_json() {
        let rows =
            OBJECTS.iter().flat_map(|(.., rows)| rows.iter()).chain(POD_SPEC).chain(CONTAINER).chain(PROBE);
        for (path, text) in rows {
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{path}: {text}");
        }
    }

    #[test]
    fn a_pod_spec_gets_what_kubernetes_gives_it() {
        let mut spec = json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}],
            "readinessProbe": {"httpGet": {"port": 1}}}], "volumes": [{"name": "v"}, {"name": "s", "secret": {}}]});
        pod_spec(&mut spec);
        assert_eq!(spec["containers"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(spec["containers"][0]["readinessProbe"]["httpGet"]["scheme"], "HTTP");
        assert_eq!(
            spec["volumes"],
            json!([{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"defaultMode": 420}}])
        );
        assert_eq!(spec["restartPolicy"], "Always");
        let once = spec.clone();
        pod_spec(&mut spec);
        assert_eq!(spec, once, "defaults are idempotent");
    }
}
