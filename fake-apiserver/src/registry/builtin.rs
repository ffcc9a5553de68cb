//! The built-in kinds, from `data/`: facts of Kubernetes' own discovery and Table answers, generated, never edited by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use serde::Deserialize;

use super::{Column, Registry, Resource, ScalePaths, SchemaSource, Subresource};
use crate::schema::Components;
use crate::storage::{GroupResource, SelectableField};

/// One row of `data/resources.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Row {
    group: String,
    version: String,
    plural: String,
    singular: String,
    kind: String,
    namespaced: bool,
    short_names: Vec<String>,
    categories: Vec<String>,
    verbs: Vec<String>,
    subresources: Vec<Subresource>,
    schema: String,
}

static COMPONENTS: LazyLock<Arc<Components>> =
    LazyLock::new(|| Arc::new(Components::from_static(include_str!("../../data/schemas.json"))));

static BUILT_IN: LazyLock<Registry> = LazyLock::new(|| {
    let rows: Vec<Row> = serde_json::from_str(include_str!("../../data/resources.json")).unwrap_or_default();
    let mut columns: BTreeMap<String, Vec<Column>> =
        serde_json::from_str(include_str!("../../data/columns.json")).unwrap_or_default();
    Registry::of(rows.into_iter().map(|row| {
        let columns = columns.remove(&format!("{}/{}/{}", row.group, row.version, row.plural));
        resource(row, columns.unwrap_or_default())
    }))
});

/// The OpenAPI definitions of the built-in kinds.
pub fn components() -> &'static Arc<Components> {
    &COMPONENTS
}

/// The built-in resources, read once for each process.
pub(super) fn registry() -> &'static Registry {
    &BUILT_IN
}

fn resource(row: Row, columns: Vec<Column>) -> Resource {
    let (storage, storage_api_version) = storage(&row);
    let deprecation = deprecation(&storage).map(str::to_owned);
    Resource {
        list_kind: format!("{}List", row.kind),
        selectable_fields: selectable_fields(&storage),
        scale: row.subresources.iter().any(|sub| sub.name == "scale").then(scale_paths),
        counts_generation: counts_generation(&storage),
        schema: SchemaSource::BuiltIn {
            components: Arc::clone(&COMPONENTS),
            definition: row.schema,
            built: OnceLock::new(),
        },
        group: row.group,
        version: row.version,
        plural: row.plural,
        singular: row.singular,
        kind: row.kind,
        short_names: row.short_names,
        categories: row.categories,
        namespaced: row.namespaced,
        verbs: row.verbs,
        subresources: row.subresources,
        storage,
        storage_api_version,
        columns,
        deprecation,
        custom: None,
    }
}

/// Where objects are kept and in which version. Events are kept once and served in two groups.
fn storage(row: &Row) -> (GroupResource, String) {
    let own = GroupResource::from_parts(&row.group, &row.plural);
    match row.group.as_str() {
        "events.k8s.io" => (GroupResource::new("", "events"), "v1".into()),
        "autoscaling" => (own, "autoscaling/v2".into()),
        "" => (own, row.version.clone()),
        group => (own, format!("{group}/{}", row.version)),
    }
}

fn scale_paths() -> ScalePaths {
    ScalePaths {
        spec_replicas: "spec.replicas".into(),
        status_replicas: "status.replicas".into(),
        selector: Some("spec.selector".into()),
    }
}

/// What clients of kinds that are on their way out are told.
fn deprecation(storage: &GroupResource) -> Option<&'static str> {
    match (&*storage.group, &*storage.resource) {
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        _ => None,
    }
}

/// The fields each kind's own `ToSelectableFields` offers.
fn selectable_fields(storage: &GroupResource) -> Arc<[SelectableField]> {
    let fields: &[&str] = match (&*storage.group, &*storage.resource) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "namespaces") => &["status.phase", "name"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
        _ => &[],
    };
    let others = match (&*storage.group, &*storage.resource) {
        ("", "pods") => Some(SelectableField::new("spec.hostNetwork", "spec.hostNetwork", "false")),
        ("", "nodes") => Some(SelectableField::new("spec.unschedulable", "spec.unschedulable", "false")),
        ("", "replicationcontrollers") | ("apps", "replicasets") => {
            Some(SelectableField::new("status.replicas", "status.replicas", "0"))
        }
        ("batch", "jobs") => Some(SelectableField::new("status.successful", "status.succeeded", "0")),
        _ => None,
    };
    fields.iter().map(|path| SelectableField::text(path)).chain(others).collect()
}

/// The kinds whose strategies count generations.
fn counts_generation(storage: &GroupResource) -> bool {
    let (group, resource) = (&*storage.group, &*storage.resource);
    match group {
        "batch"
        | "discovery.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "admissionregistration.k8s.io"
        | "scheduling.k8s.io"
        | "apiextensions.k8s.io" => true,
        "apps" => resource != "controllerrevisions",
        "" => matches!(resource, "pods" | "replicationcontrollers" | "podtemplates"),
        "storage.k8s.io" => resource == "csidrivers",
        "resource.k8s.io" => matches!(resource, "deviceclasses" | "resourceslices"),
        "policy" => resource == "poddisruptionbudgets",
        "networking.k8s.io" => matches!(resource, "ingresses" | "networkpolicies" | "ingressclasses"),
        _ => false,
    }
}
