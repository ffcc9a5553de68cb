//! A simulated operator with plugins, and what its tests ask of it.

use std::sync::Arc;
use std::time::Duration;

use dask_operator::names;
use dask_operator::plugin::webhook::Webhook;
use dask_operator::plugin::{Change, Declaration, Edit, Entry, How, Plugin, Registry, View};
use dask_operator::sim::{Sim, SimConfig, create, patch, story};
use jiff::SignedDuration;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "default";

/// A plugin made of a function.
pub(crate) struct Native<F>(pub(crate) Declaration, pub(crate) F);

impl<F: Fn(&View) -> Change + Send + Sync> Plugin for Native<F> {
    fn declaration(&self) -> Declaration {
        self.0.clone()
    }

    fn sync(&self, view: &View) -> Change {
        self.1(view)
    }
}

/// A plugin in the operator's process.
pub(crate) fn native(
    declaration: Declaration,
    sync: impl Fn(&View) -> Change + Send + Sync + 'static,
) -> Entry {
    let plugin = Native(declaration, sync);
    Entry { declaration: plugin.declaration(), how: How::Native(Arc::new(plugin)) }
}

/// A plugin outside.
pub(crate) fn outside(declaration: Declaration) -> Entry {
    let webhook = Webhook::new("http://plugin.example/", Duration::from_secs(5), None).expect("a good URL");
    Entry { declaration, how: How::Webhook(Arc::new(webhook)) }
}

/// A plugin that may add ConfigMaps to clusters.
pub(crate) fn maps(name: &str) -> Declaration {
    Declaration::new(name).adds("v1", "ConfigMap", "configmaps")
}

/// The edit that adds a ConfigMap.
pub(crate) fn map(name: impl Into<String>, data: &str) -> Edit {
    let name: String = name.into();
    Edit::Add {
        object: json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": data},
        }),
    }
}

/// A change of these edits.
pub(crate) fn change(edits: impl Into<Vec<Edit>>) -> Change {
    Change { edits: edits.into(), ..Change::default() }
}

/// A simulated operator with these plugins.
pub(crate) fn sim(plugins: Vec<Entry>) -> Sim {
    let plugins = Registry::new(plugins).expect("they can live together");
    Sim::new(SimConfig { plugins, ..SimConfig::default() })
}

/// Makes a cluster of so many workers.
pub(crate) fn cluster(sim: &mut Sim, name: &str, workers: usize) {
    let object = story::cluster(name, workers);
    sim.user(&create(names::API_VERSION, "daskclusters", Some(NAMESPACE), &object)).expect("it is accepted");
}

/// Changes a cluster.
pub(crate) fn edit(sim: &mut Sim, name: &str, body: Value) {
    sim.user(&patch(names::API_VERSION, "daskclusters", NAMESPACE, name, body)).expect("it is accepted");
}

/// Lets time pass.
pub(crate) fn wait(sim: &mut Sim, seconds: i64) {
    sim.advance(SignedDuration::from_secs(seconds));
}

/// One object.
pub(crate) fn object(sim: &Sim, api_version: &str, plural: &str, name: &str) -> Option<Value> {
    sim.list(api_version, plural).into_iter().find(|object| object["metadata"]["name"] == name)
}

/// A cluster's condition of a kind, as `status reason: message`.
pub(crate) fn condition(sim: &Sim, cluster: &str, kind: &str) -> String {
    let cluster = object(sim, names::API_VERSION, "daskclusters", cluster).expect("the cluster exists");
    let conditions = cluster["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let Some(found) = conditions.iter().find(|condition| condition["type"] == kind) else {
        return String::new();
    };
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}: {}", text("status"), text("reason"), text("message"))
}

/// The names of the ConfigMaps that plugins have added.
pub(crate) fn added(sim: &Sim) -> Vec<String> {
    let maps = sim.list("v1", "configmaps").into_iter();
    let added = maps.filter(|object| !object["metadata"]["labels"][names::PLUGIN].is_null());
    added.filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// Whether the scheduler of a cluster is there, and how many workers it has.
pub(crate) fn children(sim: &Sim, cluster: &str) -> (bool, usize) {
    let of = |object: &&Value| object["metadata"]["labels"][names::CLUSTER_NAME] == cluster;
    let is = |object: &&Value, component: &str| object["metadata"]["labels"][names::COMPONENT] == component;
    let scheduler = sim.list("apps/v1", "deployments").iter().any(|object| of(&object));
    let pods = sim.list("v1", "pods");
    (scheduler, pods.iter().filter(|pod| of(pod) && is(pod, "worker")).count())
}
