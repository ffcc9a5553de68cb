//! The projection of a child: what planning asks about, never the whole object.
//!
//! A worker costs at most 2 KiB here, whatever its pod carries.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::DynamicObject;
use serde_json::Value;

use super::pod::PodFacts;
use super::resource::Resource;
use crate::names;
use crate::scheduler::SchedulerAddress;

/// Kinds of children besides our own resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// apps/v1 Deployment: scheduler, or a worker's carrier.
    Deployment,
    /// v1 Pod: worker, scheduler, or job runner.
    Pod,
    /// v1 Service: the scheduler's.
    Service,
}

impl ChildKind {
    /// `apiVersion` and `kind`.
    pub fn gvk(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("apps/v1", "Deployment"),
            Self::Pod => ("v1", "Pod"),
            Self::Service => ("v1", "Service"),
        }
    }
}

/// Which child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId {
    /// Kind.
    pub kind: ChildKind,
    /// Namespace. Shared, as the name is, by the cache and its indices.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ChildId {
    /// From its parts.
    pub fn new(kind: ChildKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ChildId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind.gvk().1, self.namespace, self.name)
    }
}

/// The role a child plays, from its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// `scheduler`.
    Scheduler,
    /// `worker`.
    Worker,
    /// `job-runner`.
    JobRunner,
}

/// An owner reference, as far as planning asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `kubernetes.dask.org/v1`.
    pub api_version: Box<str>,
    /// `DaskWorkerGroup`.
    pub kind: Box<str>,
    /// Owner's name.
    pub name: Box<str>,
    /// Owner's uid.
    pub uid: Box<str>,
    /// The managing controller.
    pub controller: bool,
    /// Its foreground deletion waits for this object.
    pub block: bool,
}

impl Owner {
    /// From an object's metadata.
    pub fn all(references: Option<&Vec<OwnerReference>>) -> Vec<Self> {
        let projected = |owner: &OwnerReference| Self {
            api_version: owner.api_version.as_str().into(),
            kind: owner.kind.as_str().into(),
            name: owner.name.as_str().into(),
            uid: owner.uid.as_str().into(),
            controller: owner.controller == Some(true),
            block: owner.block_owner_deletion == Some(true),
        };
        references.into_iter().flatten().map(projected).collect()
    }

    /// The owner reference as objects carry it.
    pub fn reference(&self) -> Value {
        serde_json::json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid,
            "controller": self.controller, "blockOwnerDeletion": self.block,
        })
    }
}

/// A child as observed.
#[derive(Clone, Debug)]
pub struct Child {
    /// Which.
    pub id: ChildId,
    /// Its uid: precondition of every delete.
    pub uid: Box<str>,
    /// Its resource version: precondition of deletes that rely on its state.
    pub resource_version: Box<str>,
    /// All owners. Shared, as what follows is, with siblings.
    pub owners: Arc<[Owner]>,
    /// Label `dask.org/cluster-name`.
    pub cluster: Option<Arc<str>>,
    /// Label `dask.org/workergroup-name`.
    pub group: Option<Arc<str>>,
    /// Label `dask.org/component`.
    pub component: Option<Component>,
    /// Hash it was written with.
    pub hash: Option<Arc<str>>,
    /// How often in a row its predecessors failed.
    pub failures: u32,
    /// Since when it is being retired, if it is.
    pub retiring: Option<Timestamp>,
    /// The mark for that was sent, and no event has shown it yet.
    pub marking: bool,
    /// It has a deletion timestamp, or we asked for its deletion.
    pub deleting: bool,
    /// Creation time.
    pub created: Timestamp,
    /// What is particular to the kind.
    pub facts: Facts,
}

/// What is particular to a kind of child.
#[derive(Clone, Debug)]
pub enum Facts {
    /// Of a pod.
    Pod(PodFacts),
    /// Of a Deployment.
    Deployment(DeploymentFacts),
    /// Of a Service.
    Service(ServiceFacts),
    /// We sent its creation and have not seen it yet.
    Expected,
}

/// A Deployment's state.
#[derive(Clone, Debug, Default)]
pub struct DeploymentFacts {
    /// Ready pods.
    pub ready: u32,
    /// Message of the `ReplicaFailure` condition, for instance a quota refusal.
    pub failure: Option<Box<str>>,
}

/// A Service's state.
#[derive(Clone, Debug)]
pub struct ServiceFacts {
    /// `type: LoadBalancer`.
    pub load_balancer: bool,
    /// `status.loadBalancer.ingress` has an entry.
    pub ingress: bool,
    /// Where it leads, for questions to the scheduler.
    pub address: SchedulerAddress,
}

impl Child {
    /// Projects an object. `None` if it lacks what the API server always sets. `domain` is the DNS domain of the cluster.
    pub fn project(kind: ChildKind, object: &DynamicObject, domain: &str) -> Option<Self> {
        let meta = &object.metadata;
        let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key));
        let annotation = |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key));
        Some(Self {
            id: ChildId::new(kind, meta.namespace.as_deref()?, meta.name.as_deref()?),
            uid: meta.uid.as_deref()?.into(),
            resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            owners: Owner::all(meta.owner_references.as_ref()).into(),
            cluster: label(names::CLUSTER_NAME).map(|name| name.as_str().into()),
            group: label(names::GROUP_NAME).map(|name| name.as_str().into()),
            component: label(names::COMPONENT).and_then(|component| match component.as_str() {
                "scheduler" => Some(Component::Scheduler),
                "worker" => Some(Component::Worker),
                "job-runner" => Some(Component::JobRunner),
                _ => None,
            }),
            hash: annotation(names::HASH).map(|hash| hash.as_str().into()),
            failures: annotation(names::FAILURES).and_then(|count| count.parse().ok()).unwrap_or(0),
            // A mark that cannot be read is a mark all the same.
            retiring: annotation(names::RETIRING_SINCE)
                .map(|time| time.parse().unwrap_or(Timestamp::UNIX_EPOCH)),
            marking: false,
            deleting: meta.deletion_timestamp.is_some(),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            facts: match kind {
                ChildKind::Pod => Facts::Pod(PodFacts::project(&object.data)),
                ChildKind::Deployment => Facts::Deployment(DeploymentFacts::project(&object.data)),
                ChildKind::Service => {
                    let (namespace, name) = (meta.namespace.as_deref()?, meta.name.as_deref()?);
                    Facts::Service(ServiceFacts::project(namespace, name, &object.data, domain))
                }
            },
        })
    }

    /// A stand-in for a child whose creation was sent and that no watch has shown yet.
    pub fn expected(id: ChildId, owner: &Resource, group: Option<&str>, now: Timestamp) -> Self {
        let owners = vec![Owner {
            api_version: owner.key.kind.api_version().into(),
            kind: owner.key.kind.name().into(),
            name: owner.name().into(),
            uid: owner.uid.as_str().into(),
            controller: true,
            block: true,
        }];
        Self {
            id,
            uid: "".into(),
            resource_version: "".into(),
            owners: owners.into(),
            cluster: None,
            group: group.map(Into::into),
            component: None,
            hash: None,
            failures: 0,
            retiring: None,
            marking: false,
            deleting: false,
            created: now,
            facts: Facts::Expected,
        }
    }

    /// Has what a sibling has too in common with it: a group's workers differ in little but their names.
    pub fn share(&mut self, sibling: &Self) {
        if self.owners == sibling.owners {
            self.owners = sibling.owners.clone();
        }
        if self.id.namespace == sibling.id.namespace {
            self.id.namespace = sibling.id.namespace.clone();
        }
        let pairs = [
            (&mut self.cluster, &sibling.cluster),
            (&mut self.group, &sibling.group),
            (&mut self.hash, &sibling.hash),
        ];
        for (own, other) in pairs {
            if own == other {
                own.clone_from(other);
            }
        }
    }

    /// Whether the resource with `uid` owns it.
    pub fn owned_by(&self, uid: &str) -> bool {
        self.owners.iter().any(|owner| &*owner.uid == uid)
    }

    /// The managing controller among its owners.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// A pod's facts.
    pub fn pod(&self) -> Option<&PodFacts> {
        if let Facts::Pod(facts) = &self.facts { Some(facts) } else { None }
    }

    /// A Service's facts.
    pub fn service(&self) -> Option<&ServiceFacts> {
        if let Facts::Service(facts) = &self.facts { Some(facts) } else { None }
    }

    /// A Deployment's facts.
    pub fn deployment(&self) -> Option<&DeploymentFacts> {
        if let Facts::Deployment(facts) = &self.facts { Some(facts) } else { None }
    }
}

impl DeploymentFacts {
    fn project(data: &Value) -> Self {
        let status = &data["status"];
        let failure = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True");
        Self {
            ready: status["readyReplicas"].as_u64().unwrap_or(0) as u32,
            failure: failure.and_then(|condition| condition["message"].as_str()).map(super::pod::shorten),
        }
    }
}

impl ServiceFacts {
    fn project(namespace: &str, name: &str, data: &Value, domain: &str) -> Self {
        let whole =
            serde_json::json!({"metadata": {"namespace": namespace, "name": name}, "spec": data["spec"]});
        let ingress = &data["status"]["loadBalancer"]["ingress"];
        Self {
            load_balancer: data["spec"]["type"] == "LoadBalancer",
            ingress: ingress.as_array().is_some_and(|list| !list.is_empty()),
            address: SchedulerAddress::of_service(&whole, domain),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ApiResource;
    use serde_json::json;

    use super::super::cache::Cache;
    use super::*;

    #[test]
    fn workers_of_a_group_share_what_is_the_same() {
        let mut cache = Cache::default();
        for name in ["a", "b"] {
            let owner = json!({"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskWorkerGroup", "name": "g", "uid": "u", "controller": true});
            let mut pod =
                DynamicObject::new(name, &ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()));
            pod.metadata = serde_json::from_value(json!({
                "namespace": "n", "name": name, "uid": name, "ownerReferences": [owner],
                "labels": {names::GROUP_NAME: "g"}, "annotations": {names::HASH: "h"},
            }))
            .unwrap();
            cache.apply_child(Child::project(ChildKind::Pod, &pod, "cluster.local").unwrap());
        }
        let [a, b] = cache.owned("u").collect::<Vec<_>>()[..] else { panic!("there are two") };
        assert_eq!((&*a.id.name, &*b.id.name), ("a", "b"));
        assert!(Arc::ptr_eq(&a.owners, &b.owners));
        assert!(Arc::ptr_eq(a.group.as_ref().unwrap(), b.group.as_ref().unwrap()));
        assert!(Arc::ptr_eq(a.hash.as_ref().unwrap(), b.hash.as_ref().unwrap()));
        assert!(Arc::ptr_eq(&a.id.namespace, &b.id.namespace));
    }
}
