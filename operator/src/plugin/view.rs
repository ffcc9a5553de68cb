//! What a plugin is shown of a parent, from the cache. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ask::About;
use super::contract::{Built, Declaration, Observed, PROTOCOL, Role, View};
use crate::hash;
use crate::names;
use crate::observe::{Child, ChildId, ChildKind, Facts, Resource};
use crate::world::World;

/// Related objects that a plugin is shown for one parent.
const RELATED_MAX: usize = 64;
/// Annotation in which kubectl keeps the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a plugin is shown.
pub fn view(world: &World, parent: &Resource, built: &[Built], plugin: &Declaration) -> View {
    let related = world.plugins.shown.to(plugin, parent.namespace(), RELATED_MAX);
    View {
        protocol: PROTOCOL.into(),
        plugin: plugin.name.clone(),
        parent: shown(parent),
        children: built.to_vec(),
        observed: observed(world, parent, built, plugin),
        related: related.iter().map(|object| (**object).clone()).collect(),
    }
}

/// The same in short, for which nothing is copied: it is asked for at every look at a parent.
pub fn about(world: &World, parent: &Resource, built: &[Built], plugin: &Declaration) -> About {
    let related = world.plugins.shown.to(plugin, parent.namespace(), RELATED_MAX);
    let related: Vec<&Value> = related.iter().map(|object| &**object).collect();
    let annotations: BTreeMap<&String, &String> = wishes(parent).collect();
    let children: Vec<(Role, &Value)> = built.iter().map(|child| (child.role, &child.object)).collect();
    let wished = (&plugin.name, parent.key.kind.name(), parent.namespace(), parent.name(), &parent.uid);
    About {
        input: hash::of_written(&(wished, &parent.labels, annotations, &*parent.spec, children)),
        related: if related.is_empty() { String::new() } else { hash::of_written(&related) },
        observed: hash::of_written(&observed(world, parent, built, plugin)),
    }
}

/// The parent without what is not a wish of anybody's.
fn shown(parent: &Resource) -> Value {
    let annotations: serde_json::Map<String, Value> =
        wishes(parent).map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({
        "apiVersion": parent.key.kind.api_version(),
        "kind": parent.key.kind.name(),
        "metadata": {
            "name": parent.name(), "namespace": parent.namespace(), "uid": parent.uid,
            "labels": parent.labels, "annotations": annotations,
        },
        "spec": *parent.spec,
    })
}

/// The annotations without those that only tools and the operator note.
fn wishes(parent: &Resource) -> impl Iterator<Item = (&String, &String)> {
    let bookkeeping = |key: &str| {
        key.starts_with(names::OWN_PREFIX) && key != names::SCALE_DOWN_GRACE && key != names::TLS_SECRET
            || key == LAST_APPLIED
            || key == names::KOPF_LAST_HANDLED
            || key == names::COOLDOWN_UNTIL
    };
    parent.annotations.iter().filter(move |(key, _)| !bookkeeping(key))
}

/// The children that there are: those of the operator that are one of a kind, and those that this plugin added.
fn observed(world: &World, parent: &Resource, built: &[Built], plugin: &Declaration) -> Vec<Observed> {
    let own = built.iter().filter_map(|child| {
        let kind = [ChildKind::Deployment, ChildKind::Pod, ChildKind::Service]
            .into_iter()
            .find(|kind| kind.gvk().1 == child.object["kind"])?;
        let name = child.object["metadata"]["name"].as_str()?;
        let id = ChildId::new(kind, parent.namespace(), name);
        let found = world.cache.child(&id).filter(|found| !matches!(found.facts, Facts::Expected))?;
        Some(of_child(child.role, found))
    });
    let added = world.plugins.extras.owned(&parent.uid).filter(|extra| *extra.plugin == *plugin.name);
    let added = added.map(|extra| Observed {
        api_version: extra.id.type_.api_version.clone(),
        kind: extra.id.type_.kind.clone(),
        name: extra.id.name.to_string(),
        role: None,
        ready: extra.ready,
        deleting: extra.deleting,
        status: (!extra.status.is_null()).then(|| (*extra.status).clone()),
    });
    own.chain(added).collect()
}

fn of_child(role: Role, child: &Child) -> Observed {
    let (api_version, kind) = child.id.kind.gvk();
    Observed {
        api_version: api_version.into(),
        kind: kind.into(),
        name: child.id.name.to_string(),
        role: Some(role),
        ready: child
            .pod()
            .map(|facts| facts.ready)
            .or_else(|| child.deployment().map(|facts| facts.ready > 0)),
        deleting: child.deleting,
        status: None,
    }
}
