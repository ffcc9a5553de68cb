//! `dask-operator plugin check`: shows plugins sample resources and prints what they would change. Needs no cluster.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::apply::{Draft, Refusal};
use super::config::{self, PluginConfig};
use super::contract::{Built, Change, ChildType, Edit, OnError, Parent};
use super::registry::{Entry, How, Registry};
use super::{built, native};
use crate::args::PluginCheckArgs;
use crate::merge;
use crate::names;
use crate::observe::{Key, Kind, Resource};
use crate::program::say;
use crate::settings::Settings;
use crate::world::World;

/// The resources that plugins are shown where none are given: one of each kind that has children.
const SAMPLES: [&str; 3] = [
    include_str!("../../examples/cluster.yaml"),
    include_str!("../../examples/workergroup.yaml"),
    include_str!("../../examples/job.yaml"),
];

/// The command: what is printed, and how it ends.
pub fn main(args: &PluginCheckArgs) -> anyhow::Result<ExitCode> {
    let entries = entries(args)?;
    let texts = if args.files.is_empty() {
        SAMPLES.map(str::to_owned).to_vec()
    } else {
        let read = |path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", Path::display(path)))
        };
        args.files.iter().map(|path| read(path.as_path())).collect::<anyhow::Result<_>>()?
    };
    let world = world(&texts)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut usable, mut asked) = (true, false);
    for entry in &entries {
        let name = &entry.declaration.name;
        if !entry.is_asked() {
            say(&format!(
                "plugin {name} is not asked any more, and what it added of its kinds is taken back\n"
            ))?;
            asked = true;
        }
        for parent in world.cache.resources() {
            let Some(checked) = runtime.block_on(ask(&world, entry, parent)) else { continue };
            say(&checked.text)?;
            usable &= checked.usable;
            asked = true;
        }
    }
    if !asked {
        bail!(
            "nothing was asked: there is no plugin, or no DaskCluster, DaskWorkerGroup or DaskJob that one is about"
        );
    }
    if let Ok(registry) = Registry::new(entries) {
        say(&rights(&registry))?;
    }
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The plugins that are meant. Of a bare URL nothing is declared: it may add any kind.
fn entries(args: &PluginCheckArgs) -> anyhow::Result<Vec<Entry>> {
    if !args.plugin.contains("://") {
        if args.ca.is_some() {
            bail!("--ca goes with a URL; a configuration has caBundle");
        }
        let file = Path::new(&args.plugin);
        if !file.exists() && args.plugin.contains(':') {
            bail!("{} is no file; a URL begins with http:// or https://", args.plugin);
        }
        return Ok(config::load(file)?.entries);
    }
    let bundle = args.ca.as_deref().map(std::fs::read).transpose().context("cannot read the file of --ca")?;
    let plugin = PluginConfig {
        name: "plugin".into(),
        parents: Some(vec![Parent::DaskCluster, Parent::DaskWorkerGroup, Parent::DaskJob]),
        on_error: OnError::Fail,
        kinds: Vec::new(),
        related: Vec::new(),
        url: Some(args.plugin.clone()),
        timeout: None,
        ca_bundle: bundle.map(|pem| STANDARD.encode(pem)),
        client_certificate: None,
        when: Vec::new(),
        edits: None,
        removed: false,
    };
    if plugin.ca_bundle.is_none() && args.plugin.starts_with("https:") {
        bail!("an https URL needs --ca: the certificates by which its server is known, in PEM");
    }
    Ok(vec![config::entry(plugin, None).map_err(anyhow::Error::msg)?])
}

/// A world in which nothing but these resources is known.
pub fn world(texts: &[String]) -> anyhow::Result<World> {
    let mut world = World::new(Settings::default());
    for document in texts.iter().flat_map(|text| serde_yaml::Deserializer::from_str(text)) {
        let mut object = Value::deserialize(document).context("a resource is not YAML")?;
        if object.is_null() {
            continue;
        }
        let named = object["kind"].as_str().unwrap_or_default().to_owned();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == named) else { continue };
        let name = object["metadata"]["name"].as_str().context("a resource has no name")?;
        object["metadata"]["uid"] = json!(names::hex(&[&named, name], 16));
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("default");
        }
        let object: DynamicObject = serde_json::from_value(object).context("a resource cannot be read")?;
        world.cache.apply_resource(Resource::project(kind, object).context("a resource cannot be read")?);
    }
    // A group has workers only where its cluster is known.
    let missing: Vec<(String, String)> = world
        .cache
        .resources()
        .filter_map(|resource| Some((resource.namespace().to_owned(), resource.follows()?.to_owned())))
        .filter(|(namespace, name)| world.cache.resource(&Key::new(Kind::Cluster, namespace, name)).is_none())
        .collect();
    for (namespace, name) in missing {
        let object =
            json!({"metadata": {"name": name, "namespace": namespace, "uid": "unknown"}, "spec": {}});
        let object = DynamicObject { types: None, ..serde_json::from_value(object)? };
        world.cache.apply_resource(Resource::project(Kind::Cluster, object).context("a cluster")?);
    }
    Ok(world)
}

/// What one plugin wants of one parent, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// For people.
    pub text: String,
    /// The answer can be used.
    pub usable: bool,
}

/// Asks one plugin about one parent; `None` if it is not about such, or nothing is made for it.
pub async fn ask(world: &World, entry: &Entry, parent: &Arc<Resource>) -> Option<Checked> {
    let concerns = entry.is_asked() && entry.declaration.concerns(parent.key.kind);
    let built = concerns.then(|| built(world, parent)).flatten()?;
    let view = super::view::view(world, parent, &built, &entry.declaration);
    let answer = match &entry.how {
        How::Native(plugin) => native::call(&**plugin, &view),
        How::Webhook(webhook) => {
            webhook.ask(&view).await.map_err(|error| format!("{}: {error}", error.reason))
        }
        How::Removed => return None,
    };
    let open = entry.declaration.kinds.is_empty() && matches!(entry.how, How::Webhook(_));
    Some(told(entry, parent, &built, answer, open))
}

fn told(
    entry: &Entry,
    parent: &Resource,
    built: &[Built],
    answer: Result<Change, String>,
    open: bool,
) -> Checked {
    let mut text = format!("plugin {}, {}:\n", entry.declaration.name, parent.key);
    let change = match answer {
        Ok(change) => change,
        Err(why) => {
            let _ = writeln!(text, "  no answer that can be used: {why}");
            return Checked { text, usable: false };
        }
    };
    let mut declaration = entry.declaration.clone();
    if open {
        declaration.kinds = kinds_of(&change);
    }
    let mut draft = Draft::of(built);
    let usable = match draft.apply(parent, &declaration, &change) {
        Ok(()) => {
            differences(&mut text, built, &draft);
            true
        }
        Err(refusal @ Refusal::Veto { .. }) => {
            let _ = writeln!(text, "  it vetoes: {refusal}");
            true
        }
        Err(Refusal::Broken(why)) => {
            let _ = writeln!(text, "  its answer would be refused: {why}");
            false
        }
    };
    for said in &change.conditions {
        let _ = writeln!(text, "  says {}={:?} {}: {}", said.kind, said.status, said.reason, said.message);
    }
    if open && !declaration.kinds.is_empty() {
        let _ = writeln!(text, "  to be declared as its kinds (check the plurals):");
        yaml(&mut text, &json!(declaration.kinds));
    }
    Checked { text, usable }
}

fn differences(text: &mut String, built: &[Built], draft: &Draft) {
    let before = text.len();
    for child in built {
        if let Some(difference) = merge::diff(&child.object, &draft.children[&child.role]) {
            let (kind, name) = (&child.object["kind"], &child.object["metadata"]["name"]);
            let name = format!("{} {}", kind.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
            let _ = writeln!(text, "  changes {} ({name}):", child.role);
            yaml(text, &difference);
        }
    }
    for (id, added) in &draft.added {
        let _ = writeln!(text, "  adds {id}:");
        yaml(text, &added.object);
    }
    if text.len() == before {
        let _ = writeln!(text, "  changes nothing");
    }
}

fn yaml(text: &mut String, value: &Value) {
    for line in serde_yaml::to_string(value).unwrap_or_default().lines() {
        let _ = writeln!(text, "    {line}");
    }
}

/// The kinds that a change adds, with plurals as English has them.
fn kinds_of(change: &Change) -> Vec<ChildType> {
    let mut kinds: Vec<ChildType> = change
        .edits
        .iter()
        .filter_map(|edit| match edit {
            Edit::Add { object } => {
                let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
                Some(ChildType::new(api_version, kind, &resource.plural))
            }
            _ => None,
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// The rights that the operator needs for plugins; the chart gives them.
fn rights(registry: &Registry) -> String {
    let mut text = String::new();
    for (group, plural, verbs) in registry.rights() {
        if text.is_empty() {
            text.push_str("the operator needs these rights for them:\n");
        }
        let group = if group.is_empty() { "core" } else { &*group };
        let _ = writeln!(text, "  {plural} ({group}): {}", verbs.join(", "));
    }
    text
}
