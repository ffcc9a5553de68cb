//! Events about pods, as `kubectl describe` shows them; repeated ones are counted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;

/// Events waiting to be written; more are dropped, since nothing may wait for an event.
const WAITING_MAX: usize = 1024;
/// Remembered events for counting.
const REMEMBERED_MAX: usize = 4096;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Where events are announced.
#[derive(Clone, Debug)]
pub(super) struct Events(mpsc::Sender<Announcement>);

#[derive(Clone, Debug)]
struct Announcement {
    about: ObjectReference,
    level: Level,
    reason: &'static str,
    message: String,
    at: Timestamp,
}

impl Events {
    /// Starts the task that writes them; it ends with the last copy.
    pub(super) fn start(client: Client, node: String) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write_all(client, node, receiver));
        Self(sender)
    }

    /// Announces something about a pod or one of its containers.
    pub(super) fn pod(
        &self,
        pod: &Pod,
        container: Option<&str>,
        level: Level,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            field_path: container.map(str::to_owned),
        };
        let message = message.into();
        let announcement = Announcement { about, level, reason, message, at: Timestamp::now() };
        if self.0.try_send(announcement).is_err() {
            tracing::debug!(reason, "too many events are waiting: one is dropped");
        }
    }
}

/// What makes two events the same: they are counted instead of repeated.
type Sameness = (Option<String>, Option<String>, &'static str, String);

async fn write_all(client: Client, node: String, mut receiver: mpsc::Receiver<Announcement>) {
    let mut known: BTreeMap<Sameness, (String, i32)> = BTreeMap::new();
    while let Some(announcement) = receiver.recv().await {
        let Announcement { about, reason, message, .. } = &announcement;
        let namespace = about.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let sameness = (about.uid.clone(), about.field_path.clone(), *reason, message.clone());
        let written = if let Some((name, count)) = known.get_mut(&sameness) {
            *count += 1;
            repeat(&api, name, *count, announcement.at).await
        } else {
            if known.len() >= REMEMBERED_MAX {
                known.clear();
            }
            let event = new_event(&announcement, &node);
            let name = event.metadata.name.clone().unwrap_or_default();
            known.insert(sameness, (name, 1));
            api.create(&PostParams::default(), &event).await.map(drop)
        };
        if let Err(error) = written {
            tracing::debug!(reason, %error, "an event could not be written");
        }
    }
}

async fn repeat(api: &Api<Event>, name: &str, count: i32, at: Timestamp) -> Result<(), kube::Error> {
    let patch = json!({"count": count, "lastTimestamp": Time(at)});
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

fn new_event(announcement: &Announcement, node: &str) -> Event {
    let Announcement { about, level, reason, message, at } = announcement;
    let pod = about.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            // As client-go names them: unique by the time in nanoseconds.
            name: Some(format!("{pod}.{:x}", at.as_nanosecond())),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        reason: Some((*reason).to_owned()),
        message: Some(message.clone()),
        type_: Some(if *level == Level::Normal { "Normal" } else { "Warning" }.to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(*at)),
        last_timestamp: Some(Time(*at)),
        source: Some(EventSource { component: Some("kubelet".into()), host: Some(node.to_owned()) }),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}
