//! The logs of job runners, followed as they are written.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use futures::io::AsyncBufReadExt;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::world::World;
use crate::store::ObjectKey;

/// Lines waiting to be shown; a faster writer waits.
const LINES_MAX: usize = 1024;

/// A line of a pod's log.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) pod: String,
    pub(super) text: String,
}

/// Follows each runner's log once, and keeps a copy of it in a folder.
pub(super) struct Logs {
    client: kube::Client,
    folder: PathBuf,
    followed: BTreeSet<ObjectKey>,
    followers: JoinSet<()>,
    sender: mpsc::Sender<Line>,
    lines: mpsc::Receiver<Line>,
}

impl Logs {
    pub(super) fn new(client: kube::Client, folder: &Path) -> Self {
        let (sender, lines) = mpsc::channel(LINES_MAX);
        Self {
            client,
            folder: folder.into(),
            followed: BTreeSet::new(),
            followers: JoinSet::new(),
            sender,
            lines,
        }
    }

    /// Follows the runners that have begun and are not followed yet.
    pub(super) fn follow(&mut self, world: &World) {
        for pod in world.all::<Pod>().filter(|pod| is_begun_runner(pod)) {
            let key = ObjectKey::of(pod);
            let Some(path) = path(pod) else { continue };
            if self.followed.insert(key.clone()) {
                let file = self.folder.join(format!("{}.log", key.name));
                self.followers.spawn(follow(self.client.clone(), path, key.name, file, self.sender.clone()));
            }
        }
    }

    /// The next line. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }

    /// Whether every log that is followed has been shown to its end.
    pub(super) fn are_read(&mut self) -> bool {
        while self.followers.try_join_next().is_some() {}
        self.followers.is_empty() && self.lines.is_empty()
    }
}

/// A log ends with its container, or with the connection; either way there is no more to show.
async fn follow(client: kube::Client, path: String, pod: String, file: PathBuf, sender: mpsc::Sender<Line>) {
    let Ok(request) = http::Request::get(path).body(Vec::new()) else { return };
    let Ok(stream) = client.request_stream(request).await else { return };
    let mut copy = file
        .parent()
        .and_then(|folder| fs::create_dir_all(folder).ok())
        .and_then(|()| File::create(&file).ok());
    let mut lines = stream.lines().into_stream().boxed();
    while let Ok(Some(text)) = lines.try_next().await {
        if let Some(copy) = &mut copy {
            let _ = writeln!(copy, "{text}");
        }
        if sender.send(Line { pod: pod.clone(), text }).await.is_err() {
            return;
        }
    }
}

fn is_begun_runner(pod: &DynamicObject) -> bool {
    let component = pod.metadata.labels.as_ref().and_then(|labels| labels.get("dask.org/component"));
    let phase = pod.data.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    component.is_some_and(|component| component == "job-runner")
        && matches!(phase, "Running" | "Succeeded" | "Failed")
}

/// Where the log of the pod's first container is.
fn path(pod: &DynamicObject) -> Option<String> {
    let (namespace, name) = (pod.metadata.namespace.as_ref()?, pod.metadata.name.as_ref()?);
    let container = pod.data.pointer("/spec/containers/0/name")?.as_str()?;
    Some(format!("/api/v1/namespaces/{namespace}/pods/{name}/log?container={container}&follow=true"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mk_pod(component: &str, phase: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "ex-runner", "namespace": "ns", "labels": {"dask.org/component": component}},
            "spec": {"containers": [{"name": "job"}, {"name": "sidecar"}]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_runner_that_has_begun_has_a_log() {
        assert!(is_begun_runner(&mk_pod("job-runner", "Running")));
        assert!(is_begun_runner(&mk_pod("job-runner", "Succeeded")));
        assert!(!is_begun_runner(&mk_pod("job-runner", "Pending")));
        assert!(!is_begun_runner(&mk_pod("worker", "Running")));
    }

    #[test]
    fn the_log_is_that_of_the_first_container() {
        let expected = "/api/v1/namespaces/ns/pods/ex-runner/log?container=job&follow=true";
        assert_eq!(path(&mk_pod("job-runner", "Running")).as_deref(), Some(expected));
    }
}
