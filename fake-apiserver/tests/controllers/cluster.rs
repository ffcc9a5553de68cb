//! A server with a clock that only the test moves.

use fake_apiserver::controllers::Options;
use fake_apiserver::request::{PatchType, Request};
use fake_apiserver::response::{Reply, Response};
use fake_apiserver::status::Status;
use fake_apiserver::{ApiServer, Config};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A server and its time.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) now: Timestamp,
}

/// Resource and version of a kind.
fn served(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "Pod" => ("v1", "pods"),
        "Service" => ("v1", "services"),
        "Node" => ("v1", "nodes"),
        "Namespace" => ("v1", "namespaces"),
        "ConfigMap" => ("v1", "configmaps"),
        "Secret" => ("v1", "secrets"),
        "ServiceAccount" => ("v1", "serviceaccounts"),
        "Endpoints" => ("v1", "endpoints"),
        "Event" => ("v1", "events"),
        "Deployment" => ("apps/v1", "deployments"),
        "ReplicaSet" => ("apps/v1", "replicasets"),
        "StatefulSet" => ("apps/v1", "statefulsets"),
        "DaemonSet" => ("apps/v1", "daemonsets"),
        "ControllerRevision" => ("apps/v1", "controllerrevisions"),
        "Job" => ("batch/v1", "jobs"),
        "EndpointSlice" => ("discovery.k8s.io/v1", "endpointslices"),
        "PersistentVolumeClaim" => ("v1", "persistentvolumeclaims"),
        "PodDisruptionBudget" => ("policy/v1", "poddisruptionbudgets"),
        "ClusterRole" => ("rbac.authorization.k8s.io/v1", "clusterroles"),
        other => panic!("the tests do not know {other}"),
    }
}

fn is_cluster_scoped(kind: &str) -> bool {
    matches!(kind, "Node" | "Namespace" | "ClusterRole")
}

impl Cluster {
    /// A cluster on which everything happens at once.
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    /// A cluster with these settings.
    pub(crate) fn with(options: Options) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut cluster = Self { server: ApiServer::new(Config { options, ..Config::default() }, now), now };
        cluster.settle();
        cluster
    }

    /// Lets the controllers work until nothing is due now.
    pub(crate) fn settle(&mut self) -> Option<Timestamp> {
        self.server.step(self.now)
    }

    /// Lets time pass; whatever comes due on the way is done at its time.
    pub(crate) fn pass(&mut self, seconds: i64) {
        let end = self.now + SignedDuration::from_secs(seconds);
        while let Some(due) = self.server.step(self.now).filter(|due| *due <= end) {
            self.now = due.max(self.now);
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn send(&mut self, request: &Request) -> Result<Value, Status> {
        let response = self.server.handle(self.now, request)?;
        Ok(value_of(response))
    }

    fn at(&self, request: Request, kind: &str, name: &str) -> Request {
        let _ = self;
        let request = if is_cluster_scoped(kind) { request } else { request.namespace("default") };
        if name.is_empty() { request } else { request.name(name) }
    }

    /// Creates an object in `default` and lets the controllers work.
    pub(crate) fn create(&mut self, mut object: Value) -> Value {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let (version, resource) = served(&kind);
        object["apiVersion"] = version.into();
        if !is_cluster_scoped(&kind) && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = "default".into();
        }
        let created = self.send(&Request::create(version, resource, object)).unwrap();
        self.settle();
        created
    }

    /// One object of `default`, as it is.
    pub(crate) fn find(&mut self, kind: &str, name: &str) -> Option<Value> {
        let (version, resource) = served(kind);
        let request = self.at(Request::get(version, resource), kind, name);
        match self.send(&request) {
            Ok(value) => Some(value),
            Err(status) if status.code == 404 => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// One object that must be there.
    pub(crate) fn get(&mut self, kind: &str, name: &str) -> Value {
        self.find(kind, name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The objects of a kind in `default`.
    pub(crate) fn list(&mut self, kind: &str) -> Vec<Value> {
        let (version, resource) = served(kind);
        let request = self.at(Request::list(version, resource), kind, "");
        self.send(&request).unwrap().as_array().unwrap().clone()
    }

    /// The names of the objects of a kind in `default`.
    pub(crate) fn names(&mut self, kind: &str) -> Vec<String> {
        self.list(kind).iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Merges a patch into an object and lets the controllers work.
    pub(crate) fn patch(&mut self, kind: &str, name: &str, patch: Value) -> Value {
        let (version, resource) = served(kind);
        let request = self.at(Request::patch(PatchType::Merge, version, resource, patch), kind, name);
        let patched = self.send(&request).unwrap();
        self.settle();
        patched
    }

    /// Merges a patch into a status and lets the controllers work.
    pub(crate) fn patch_status(&mut self, kind: &str, name: &str, patch: Value) {
        let (version, resource) = served(kind);
        let request = Request::patch(PatchType::Merge, version, resource, patch).subresource("status");
        let request = self.at(request, kind, name);
        self.send(&request).unwrap();
        self.settle();
    }

    /// Deletes an object and lets the controllers work.
    pub(crate) fn delete(&mut self, kind: &str, name: &str) {
        self.delete_by(kind, name, "Background");
    }

    /// Deletes an object in one of the three ways and lets the controllers work.
    pub(crate) fn delete_by(&mut self, kind: &str, name: &str, policy: &str) {
        let (version, resource) = served(kind);
        let request = self.at(Request::delete(version, resource).propagation(policy), kind, name);
        self.send(&request).unwrap();
        self.settle();
    }

    /// Reasons of the Events about an object, oldest first.
    pub(crate) fn reasons(&mut self, name: &str) -> Vec<String> {
        let mut events = self.list("Event");
        events.retain(|event| event["involvedObject"]["name"] == name);
        events.sort_by_key(|event| event["metadata"]["name"].as_str().unwrap().to_owned());
        events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// The log of a simulated container.
    pub(crate) fn log(&mut self, pod: &str, previous: bool) -> Result<String, Status> {
        let mut request = Request::get("v1", "pods").namespace("default").name(pod).subresource("log");
        request.params.log.previous = previous;
        Ok(self.send(&request)?.as_str().unwrap().to_owned())
    }
}

fn value_of(response: Response) -> Value {
    match response.reply {
        Reply::Object(object) => object.value(),
        Reply::Value(value) => value,
        Reply::List(list) => list.items.iter().map(|item| item.value()).collect(),
        Reply::Text(text) => String::from_utf8_lossy(&text).into_owned().into(),
        Reply::Watch(_) => Value::Null,
    }
}

/// A pod with one container.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "example.com/image:1"}]},
    })
}

/// A pod whose life is described by annotations.
pub(crate) fn pod_living(name: &str, life: &[(&str, &str)]) -> Value {
    let mut pod = pod(name);
    for (what, value) in life {
        pod["metadata"]["annotations"][format!("fake-apiserver.dev/{what}")] = (*value).into();
    }
    pod
}

/// A workload with a template of one container.
pub(crate) fn workload(kind: &str, name: &str, replicas: i64) -> Value {
    let mut object = json!({
        "kind": kind, "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example.com/image:1"}]},
            },
        },
    });
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

/// The condition of an object.
pub(crate) fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.clone().find(|c| c["type"] == kind).cloned().unwrap_or_default()
}

/// An ownerReference to an object.
pub(crate) fn owner(object: &Value, blocks: bool) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "blockOwnerDeletion": blocks,
    })
}
