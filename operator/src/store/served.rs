//! What the API server offers us of our own kinds: found out at the start, and again whenever a definition changes.
//!
//! A cluster may have upstream's CustomResourceDefinitions, ours, or some of each. Upstream's store `status.phase` of a
//! DaskCluster through the main resource and nothing of a worker group's or autoscaler's status; ours have a status endpoint
//! on all four kinds and store everything. The operator works on both and says what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use futures::{StreamExt, future, stream, stream::BoxStream};

use kube::{
    Resource,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;

use super::{
    Event, ObjectKey, Part, Result, Scope, Store, StoreError,
    ext::{Known, resource},
};
use crate::api::crds::crds;
use crate::api::{DaskAutoscaler, DaskCluster, DaskJob, DaskWorkerGroup};

/// Depth to which field paths are remembered: `spec.cluster.spec.worker.metadata.labels`.
const DEPTH: usize = 6;

/// What is served of the four kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    kinds: BTreeMap<&'static str, ServedKind>,
}

/// What is served of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedKind {
    /// The kind exists.
    pub served: bool,
    /// There is a status endpoint; if not, status is written through the main resource.
    pub status_endpoint: bool,
    /// There is a scale endpoint with a selector, so that autoscalers can work.
    pub scale_selector: bool,
    /// Paths of the fields that are stored, outside pod and Service specs. `None` if we may not read the definition.
    fields: Option<BTreeSet<String>>,
    /// Paths of fields that our definition keeps and the installed one does not; of a field and what is below it, the upper.
    lacking: Vec<String>,
}

impl ServedKind {
    /// Where status is to be written.
    pub fn status_part(&self) -> Part {
        if self.status_endpoint { Part::Status } else { Part::Object }
    }

    /// Whether a field, for instance `status.conditions`, is kept by the API server.
    ///
    /// Where the definition cannot be read, a status endpoint on the kind is taken as the sign of our own definitions,
    /// except for DaskJob, of which upstream's have one too: there the API server drops what it does not keep.
    pub fn stores(&self, path: &str) -> bool {
        match &self.fields {
            Some(fields) => fields.contains(path),
            None => self.served && (self.status_endpoint || path == "status.phase"),
        }
    }
}

impl ServedKind {
    /// Fields that the installed definition does not keep and ours does; none where it cannot be read.
    pub fn lacking(&self) -> &[String] {
        &self.lacking
    }
}

impl Served {
    /// What is served of a kind.
    pub fn of<K: Resource<DynamicType = ()>>(&self) -> ServedKind {
        self.kinds.get(&*K::kind(&())).cloned().unwrap_or_default()
    }

    /// What is served of the kind with this name.
    pub fn kind(&self, name: &str) -> Option<&ServedKind> {
        self.kinds.get(name)
    }

    /// Kinds that are not served at all.
    pub fn missing(&self) -> Vec<&'static str> {
        self.kinds.iter().filter(|(_, kind)| !kind.served).map(|(name, _)| *name).collect()
    }

    /// What does not work on these definitions and would on ours; one sentence for each kind, for people.
    pub fn shortcomings(&self) -> Vec<String> {
        self.kinds.iter().filter_map(|(name, kind)| shortcoming(name, kind)).collect()
    }

    /// Those that were not said of `known`, what was seen before: a definition changes its status far more often than its fields.
    pub fn shortcomings_beyond(&self, known: Option<&Self>) -> Vec<String> {
        let said = known.map(Self::shortcomings).unwrap_or_default();
        self.shortcomings().into_iter().filter(|shortcoming| !said.contains(shortcoming)).collect()
    }
}

fn shortcoming(name: &str, kind: &ServedKind) -> Option<String> {
    if !kind.served {
        return Some(format!("{name} is not served: install the definitions with `dask-operator crds`"));
    }
    if let Some(lack) = lack(kind) {
        return Some(format!("{name}: {lack}"));
    }
    // The definition cannot be read.
    (!kind.stores("status.conditions")).then(|| {
        format!("{name}: conditions and counts are not stored by the installed definition; {REMEDY}")
    })
}

/// Which fields the installed definition does not keep, and what to do about it; for people.
pub fn lack(kind: &ServedKind) -> Option<String> {
    let first = kind.lacking.first()?;
    let what = if kind.lacking.len() > 1 { "they are" } else { "it is" };
    let all = kind.lacking.iter().skip(1).fold(first.clone(), |all, field| format!("{all}, {field}"));
    Some(format!("the installed definition does not know {all}: {what} ignored and not stored; {REMEDY}"))
}

/// What brings a definition up to date.
const REMEDY: &str = "bring it up to date with `dask-operator crds --apply`";

/// The fields of our own definitions, by kind.
static OURS: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let kinds = crds().into_iter().filter_map(|definition| {
        let kind = definition["spec"]["names"]["kind"].as_str()?.to_owned();
        Some((kind, from_definition(&definition, "v1").fields?))
    });
    kinds.collect()
});

/// What of ours is not among the fields of an installed definition. Ordered, so that a field comes before what is below it.
fn lacking(kind: &str, fields: &BTreeSet<String>) -> Vec<String> {
    let mut lacking: Vec<String> = Vec::new();
    for field in OURS.get(kind).into_iter().flatten().filter(|field| !fields.contains(*field)) {
        let below = lacking.last().is_some_and(|upper| {
            field.strip_prefix(upper.as_str()).is_some_and(|rest| rest.starts_with('.'))
        });
        if !below {
            lacking.push(field.clone());
        }
    }
    lacking
}

/// Where to find out what is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// In the definitions, which are of cluster scope; where they may not be read, in discovery.
    Definitions,
    /// In discovery, which says less but is open to everybody who may log in.
    Discovery,
}

/// Finds out what is served.
///
/// Never fails for want of rights; errors are [`StoreError::Transient`] and the like, to be tried again.
pub async fn served(store: &dyn Store, look: Look) -> Result<Served> {
    let mut kinds = BTreeMap::new();
    kinds.insert("DaskCluster", kind::<DaskCluster>(store, look).await?);
    kinds.insert("DaskWorkerGroup", kind::<DaskWorkerGroup>(store, look).await?);
    kinds.insert("DaskJob", kind::<DaskJob>(store, look).await?);
    kinds.insert("DaskAutoscaler", kind::<DaskAutoscaler>(store, look).await?);
    Ok(Served { kinds })
}

/// Tells when one of our definitions was installed, changed or removed, so that [`served`] should be asked again; also once
/// for each after the watches have begun. Ends where following definitions is not allowed, and is empty where they are not
/// looked at.
pub fn changes(store: &dyn Store, look: Look) -> BoxStream<'static, ()> {
    if look == Look::Discovery {
        return stream::empty().boxed();
    }
    let names = [
        name_of::<DaskCluster>(),
        name_of::<DaskWorkerGroup>(),
        name_of::<DaskJob>(),
        name_of::<DaskAutoscaler>(),
    ];
    let each = names.into_iter().map(|name| {
        let scope = Scope::everywhere().with_fields(format!("metadata.name={name}"));
        store
            .watch(&definitions(), &scope)
            .take_while(|event| future::ready(!matches!(event, Err(StoreError::Forbidden { .. }))))
            .filter_map(|event| {
                future::ready(
                    matches!(event, Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))).then_some(()),
                )
            })
            .boxed()
    });
    stream::select_all(each).boxed()
}

/// The name of a kind's definition.
fn name_of<K: Known>() -> String {
    let of = resource::<K>();
    format!("{}.{}", of.plural, of.group)
}

async fn kind<K: Known>(store: &dyn Store, look: Look) -> Result<ServedKind> {
    let resource = resource::<K>();
    if look == Look::Discovery {
        return discovered(store, &resource).await;
    }
    match definition(store, &resource).await {
        Ok(Some(definition)) => {
            let mut kind = from_definition(&definition.data, &resource.version);
            kind.lacking =
                kind.fields.as_ref().map_or_else(Vec::new, |fields| lacking(&resource.kind, fields));
            Ok(kind)
        }
        Ok(None) => Ok(ServedKind::default()),
        Err(StoreError::Forbidden { .. }) => discovered(store, &resource).await,
        Err(error) => Err(error),
    }
}

/// The CustomResourceDefinition by `get`, or by `list` where only that is granted, as upstream's chart does.
async fn definition(store: &dyn Store, of: &ApiResource) -> Result<Option<DynamicObject>> {
    let definitions = definitions();
    let name = format!("{}.{}", of.plural, of.group);
    match store.get(&definitions, &ObjectKey::cluster(&name)).await {
        Err(StoreError::Forbidden { .. }) => {
            let scope = Scope::everywhere().with_fields(format!("metadata.name={name}"));
            Ok(store.list(&definitions, &scope).await?.into_iter().next())
        }
        answer => answer,
    }
}

/// The resource of CustomResourceDefinitions.
pub fn definitions() -> ApiResource {
    ApiResource {
        group: "apiextensions.k8s.io".into(),
        version: "v1".into(),
        api_version: "apiextensions.k8s.io/v1".into(),
        kind: "CustomResourceDefinition".into(),
        plural: "customresourcedefinitions".into(),
    }
}

/// Reads the facts out of a definition.
fn from_definition(definition: &Value, version: &str) -> ServedKind {
    let versions = definition["spec"]["versions"].as_array();
    let Some(version) =
        versions.and_then(|all| all.iter().find(|v| v["name"] == version && v["served"] == true))
    else {
        return ServedKind::default();
    };
    let mut fields = BTreeSet::new();
    paths(&version["schema"]["openAPIV3Schema"], "", DEPTH, &mut fields);
    ServedKind {
        served: true,
        status_endpoint: version["subresources"]["status"].is_object(),
        scale_selector: version["subresources"]["scale"]["labelSelectorPath"].is_string(),
        fields: Some(fields),
        lacking: Vec::new(),
    }
}

/// Collects the paths of fields; a pod or Service spec is one field.
fn paths(schema: &Value, above: &str, depth: usize, into: &mut BTreeSet<String>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    if depth == 0 || properties.contains_key("containers") || properties.contains_key("clusterIP") {
        return;
    }
    for (name, inner) in properties {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        paths(inner, &path, depth - 1, into);
        into.insert(path);
    }
}

/// What discovery tells: which endpoints there are, not which fields are stored. A scale endpoint beside a status endpoint is
/// ours, and has a selector.
async fn discovered(store: &dyn Store, resource: &ApiResource) -> Result<ServedKind> {
    let Some(endpoints) = store.endpoints(resource).await? else { return Ok(ServedKind::default()) };
    let status_endpoint = endpoints.contains("status");
    let scale_selector = status_endpoint && endpoints.contains("scale");
    Ok(ServedKind { served: true, status_endpoint, scale_selector, ..ServedKind::default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A definition in upstream's form: no status endpoint, one field of status.
    fn upstreams() -> Value {
        json!({"spec": {"versions": [{
            "name": "v1", "served": true, "storage": true,
            "subresources": {"scale": {"specReplicasPath": ".spec.worker.replicas", "statusReplicasPath": ".status.replicas"}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"properties": {"worker": {"properties": {"spec": {"properties": {"containers": {}}}}}}},
                "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
            }}},
        }]}})
    }

    #[test]
    fn upstreams_definition_stores_the_phase_through_the_main_resource() {
        let kind = from_definition(&upstreams(), "v1");
        assert!(kind.served && !kind.scale_selector);
        assert_eq!(kind.status_part(), Part::Object);
        assert!(kind.stores("status.phase") && !kind.stores("status.conditions"));
        assert!(kind.stores("spec.worker.spec") && !kind.stores("spec.worker.spec.containers"));
        let fields = kind.fields.clone().unwrap_or_default();
        let kind = ServedKind { lacking: lacking("DaskAutoscaler", &fields), ..kind };
        let said = shortcoming("DaskAutoscaler", &kind).expect("something is missing");
        let expected = "DaskAutoscaler: the installed definition does not know spec.behavior, spec.cluster, spec.groups, ";
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn our_definitions_lack_nothing() {
        for definition in crds() {
            let kind = from_definition(&definition, "v1");
            assert_eq!(kind.status_part(), Part::Status);
            assert_eq!(shortcoming("x", &kind), None);
        }
    }

    #[test]
    fn a_version_that_is_not_served_is_not_there() {
        let mut definition = upstreams();
        assert!(!from_definition(&definition, "v2").served);
        definition["spec"]["versions"][0]["served"] = json!(false);
        let kind = from_definition(&definition, "v1");
        assert!(!kind.served && !kind.stores("status.phase"));
        assert!(shortcoming("DaskJob", &kind).expect("all is missing").starts_with("DaskJob is not served"));
    }

    #[test]
    fn what_was_said_of_a_definition_is_not_said_again() {
        let ours = Served { kinds: [("DaskJob", from_definition(&crds()[0], "v1"))].into() };
        let gone = Served { kinds: [("DaskJob", ServedKind::default())].into() };
        assert_eq!(gone.shortcomings_beyond(None).len(), 1);
        assert_eq!(gone.shortcomings_beyond(Some(&ours)).len(), 1);
        assert_eq!(gone.shortcomings_beyond(Some(&gone)), Vec::<String>::new());
    }

    #[test]
    fn where_the_definition_cannot_be_read_the_endpoint_tells_whose_it_is() {
        let asked = |status_endpoint| ServedKind { served: true, status_endpoint, ..ServedKind::default() };
        assert!(asked(true).stores("status.conditions"));
        assert!(asked(false).stores("status.phase") && !asked(false).stores("status.conditions"));
    }
}
