//! WATCH: a cursor is opened here and read by `poll_watch`.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::call::Call;
use super::{ApiServer, list};
use crate::registry::Resource;
use crate::response::{Reply, Response};
use crate::status::{Cause, Status};
use crate::storage::{Change, Stored, Watch, WatchEvent, WatchEventType};

impl ApiServer {
    pub(super) fn watch(&self, call: &Call<'_>) -> Result<Response, Status> {
        let params = &call.request.params;
        let selection = Self::selection(call)?;
        let now = self.storage.revision();
        let asked = check_options(call)?;
        let asked = match list::check_not_future(now, asked) {
            // A watch may begin in the future: it starts when that revision comes.
            Err(status) if status.code == 504 && params.send_initial_events.is_none() => {
                asked.and_then(|version| version.parse().ok())
            }
            other => other?,
        };
        let state_first = params.send_initial_events.unwrap_or(matches!(asked, None | Some(0)));
        let collection = self.storage.collection(&call.resource.storage);
        let initial: VecDeque<Arc<Stored>> = match collection {
            Some(collection) if state_first => collection.select(&selection, None).cloned().collect(),
            _ => VecDeque::new(),
        };
        let watch = Watch {
            resource: call.resource.storage.clone(),
            group: call.resource.group.clone(),
            version: call.resource.version.clone(),
            selection,
            revision: if state_first { now } else { asked.unwrap_or(now) },
            initial,
            end_bookmark: params.send_initial_events == Some(true) && params.allow_watch_bookmarks,
            timeout_seconds: params.timeout_seconds,
            bookmarks: params.allow_watch_bookmarks,
        };
        let warnings = call.resource.deprecation.iter().cloned().collect();
        Ok(Response { code: 200, reply: Reply::Watch(watch), warnings })
    }

    pub(super) fn poll(&self, watch: &mut Watch, max: usize) -> Result<Vec<WatchEvent>, Status> {
        let resource = self.registry.get(&watch.group, &watch.version, &watch.resource.resource);
        let show = |object: &Arc<Stored>| match resource {
            Some(resource) => self.show_if_known(resource, object),
            None => Some(Arc::clone(object)),
        };
        let mut events = Vec::new();
        while events.len() < max
            && let Some(object) = watch.initial.pop_front()
        {
            let Some(shown) = show(&object) else {
                watch.initial.push_front(object);
                break;
            };
            events.push(WatchEvent { kind: WatchEventType::Added, object: shown });
        }
        if !watch.initial.is_empty() || events.len() == max {
            return Ok(events);
        }
        if std::mem::take(&mut watch.end_bookmark) {
            events.push(bookmark(resource, watch.revision, true));
        }
        let now = self.storage.revision();
        let Some(collection) = self.storage.collection(&watch.resource) else {
            watch.revision = watch.revision.max(now);
            return Ok(events);
        };
        let changes = collection.changes(watch.revision).ok_or_else(|| {
            Status::expired(format!("too old resource version: {} ({})", watch.revision, collection.floor()))
        })?;
        for change in changes {
            if events.len() >= max {
                return Ok(events);
            }
            if let Some((kind, object)) = seen(watch, change) {
                // What is not known yet is waited for.
                let Some(object) = show(&object) else { return Ok(events) };
                events.push(WatchEvent { kind, object });
            }
            watch.revision = change.revision;
        }
        watch.revision = watch.revision.max(now);
        Ok(events)
    }

    pub(super) fn bookmark_for(&self, watch: &Watch) -> WatchEvent {
        let resource = self.registry.get(&watch.group, &watch.version, &watch.resource.resource);
        bookmark(resource, watch.revision, false)
    }
}

/// How a change looks through the watch's selectors: what begins to match is added, what ceases is deleted.
fn seen(watch: &Watch, change: &Change) -> Option<(WatchEventType, Arc<Stored>)> {
    let selected = |object: &&Arc<Stored>| watch.selection.matches(object);
    let before = change.before.as_ref().filter(selected);
    let after = change.after.as_ref().filter(selected);
    match (before, after) {
        (None, Some(after)) => Some((WatchEventType::Added, Arc::clone(after))),
        (Some(_), Some(after)) => Some((WatchEventType::Modified, Arc::clone(after))),
        (Some(before), None) => {
            let last = change.deleted.clone().unwrap_or_else(|| at_revision(before, change.revision));
            Some((WatchEventType::Deleted, last))
        }
        (None, None) => None,
    }
}

/// An object as it was when it ceased to match, with the revision at which it did.
fn at_revision(object: &Arc<Stored>, revision: u64) -> Arc<Stored> {
    let mut value = object.value();
    value["metadata"]["resourceVersion"] = json!(revision.to_string());
    let mut last = Stored::from_value(&value, &Arc::default(), object.edition);
    last.fields.clone_from(&object.fields);
    Arc::new(last)
}

fn bookmark(resource: Option<&Arc<Resource>>, revision: u64, end_of_initial: bool) -> WatchEvent {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), json!(revision.to_string()));
    if end_of_initial {
        metadata.insert("annotations".into(), json!({"k8s.io/initial-events-end": "true"}));
    }
    let mut value = json!({"metadata": Value::Object(metadata)});
    if let Some(resource) = resource {
        value["kind"] = json!(resource.kind);
        value["apiVersion"] = json!(resource.api_version());
    }
    let edition = resource.map_or(0, |resource| resource.edition());
    WatchEvent {
        kind: WatchEventType::Bookmark,
        object: Arc::new(Stored::from_value(&value, &Arc::default(), edition)),
    }
}

/// The rules for `sendInitialEvents` and `resourceVersionMatch`; returns the resource version that was asked for.
fn check_options<'a>(call: &'a Call<'_>) -> Result<Option<&'a str>, Status> {
    let params = &call.request.params;
    let how = params.resource_version_match.as_deref().unwrap_or_default();
    let forbidden = |fault: &str| {
        Cause::new("FieldValueForbidden", "resourceVersionMatch", format!("Forbidden: {fault}"))
    };
    let refused = |causes: Vec<Cause>| Err(Status::invalid("meta.k8s.io", "ListOptions", "", causes));
    let wanted = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    match (params.send_initial_events, how) {
        (Some(_), "NotOlderThan") | (None, "") => Ok(params.resource_version.as_deref()),
        (Some(_), "") => refused(vec![forbidden(wanted)]),
        (Some(_), other) => {
            let known = format!("Unsupported value: {other:?}: supported values: \"NotOlderThan\"");
            let unknown = Cause::new("FieldValueNotSupported", "resourceVersionMatch", known);
            refused(vec![forbidden(wanted), unknown])
        }
        (None, _) => refused(vec![forbidden(
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )]),
    }
}
