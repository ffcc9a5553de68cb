//! Deletion of namespaces: their contents go first, then the finalizer `kubernetes`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{NAMESPACES, Says, items, set_condition};
use super::queue::{Queue, Work};
use crate::request::Verb;
use crate::status::Status;
use crate::storage::{GroupResource, Key, Stored};

/// Empties and finishes namespaces that are being deleted.
#[derive(Default)]
pub(crate) struct Namespaces {
    terminating: BTreeSet<String>,
}

impl ControlLoop for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        let object = seen.object();
        if seen.resource() == ("", "namespaces") {
            if seen.change.after.is_some() && object.meta.deleting {
                self.terminating.insert(object.key.name.clone());
                seen.mark(queue, "namespaces");
            } else if seen.change.after.is_none() {
                self.terminating.remove(&object.key.name);
            }
        } else if !self.terminating.is_empty() && self.terminating.contains(&object.key.namespace) {
            queue.add(Work { about: "namespaces", key: Key::new("", &object.key.namespace) }, seen.now);
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let name = &work.key.name;
        let Some(namespace) = context.api.get(&NAMESPACES, "", name).filter(|n| n.meta.deleting) else {
            return Ok(None);
        };
        // Events go last: deleting other objects makes some.
        let content = contents(context, name);
        for (resource, object) in content.iter().filter(|(_, object)| !object.meta.deleting) {
            context.api.delete(resource, &object.key, json!({"propagationPolicy": "Background"}))?;
        }
        let left = contents(context, name);
        let mut value = namespace.value();
        if left.is_empty() {
            return finish(context, value).map(|()| None);
        }
        let mut status = value["status"].clone();
        if report(&mut status, &left, context.now) {
            value["status"] = status;
            context.api.update_status(&NAMESPACES, value)?;
        }
        Ok(None)
    }

    fn reset(&mut self) {
        self.terminating.clear();
    }
}

/// Everything in a namespace, Events last.
fn contents(context: &Context<'_, '_>, namespace: &str) -> Vec<(GroupResource, std::sync::Arc<Stored>)> {
    let storage = context.api.server().storage();
    let mut found: Vec<_> = storage
        .collections()
        .flat_map(|(resource, collection)| {
            collection
                .in_namespace(namespace)
                .map(move |object| (resource.clone(), std::sync::Arc::clone(object)))
        })
        .collect();
    found.sort_by_key(|(resource, _)| resource.resource == "events");
    found
}

/// Takes the finalizer `kubernetes` away by `/finalize`; the server then removes the object.
fn finish(context: &mut Context<'_, '_>, mut namespace: Value) -> Result<(), Status> {
    let finalizers: Vec<Value> =
        items(&namespace["spec"]["finalizers"]).iter().filter(|f| *f != "kubernetes").cloned().collect();
    namespace["spec"]["finalizers"] = finalizers.into();
    let name = namespace["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let request = context.api.request_for(&NAMESPACES, Verb::Update)?.name(name).subresource("finalize");
    context.api.request(request.body(namespace)).map(drop)
}

/// Writes what is left into the conditions, in the words of the real controller.
fn report(status: &mut Value, left: &[(GroupResource, std::sync::Arc<Stored>)], now: Timestamp) -> bool {
    let mut resources: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (resource, object) in left {
        // The core group ends with a dot: `configmaps. has 1 resource instances`.
        *resources.entry(format!("{}.{}", resource.resource, resource.group)).or_default() += 1;
        for finalizer in &object.meta.finalizers {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let remaining: Vec<String> = resources
        .iter()
        .map(|(resource, count)| format!("{resource} has {count} resource instances"))
        .collect();
    let remaining = format!("Some resources are remaining: {}", remaining.join(", "));
    let held: Vec<String> = finalizers
        .iter()
        .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
        .collect();
    let finalizing = if held.is_empty() {
        ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        let message = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
        ("True", "SomeFinalizersRemain", message)
    };
    let lines = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", remaining.as_str()),
        ("NamespaceFinalizersRemaining", finalizing.0, finalizing.1, finalizing.2.as_str()),
    ];
    let mut changed = false;
    for (kind, state, reason, message) in lines {
        changed |= set_condition(status, Says { kind, status: state, reason, message }, now);
    }
    changed
}
