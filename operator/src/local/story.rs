//! What happens in front of the person: manifests are applied, jobs run and are shown, everything goes again.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::core::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

use super::error::LocalError;
use super::logs::Logs;
use super::manifest::Entry;
use super::screen::Screen;
use super::session::Session;
use super::world::{self, Changes, World};
use crate::api::{DaskCluster, DaskJob};
use crate::store::{ApplyOptions, DeleteOptions, ObjectKey, Part, Propagation, Scope, Store};

/// Whose fields the applied ones are.
const MANAGER: &str = "dask-operator-local";
/// The rest of a finished job's log comes within this time or not at all.
const LOG_END_MAX: Duration = Duration::from_secs(10);

/// One run, from the first manifest to the last object.
pub(super) struct Story<'a> {
    session: &'a mut Session,
    screen: Screen,
    world: World,
    changes: Changes,
    logs: Logs,
    deadline: Option<(Instant, Duration)>,
}

impl<'a> Story<'a> {
    /// Begins to watch. Waiting for anything is over `limit` after now.
    pub(super) fn begin(session: &'a mut Session, screen: Screen, limit: Option<Duration>) -> Self {
        let changes = world::changes(&*session.store);
        let logs = Logs::new(session.client.clone(), &session.folder.join("logs"));
        let deadline = limit.map(|limit| (Instant::now() + limit, limit));
        Self { session, screen, world: World::default(), changes, logs, deadline }
    }

    /// Applies the objects in their order.
    pub(super) async fn apply(&mut self, entries: &[Entry]) -> Result<(), LocalError> {
        for entry in entries {
            let object = world::title(&entry.object);
            let options = ApplyOptions::forced(MANAGER, Part::Object);
            let applied = self.session.store.apply(&entry.resource, &entry.object, &options).await;
            applied.map_err(LocalError::refused(object.clone()))?;
            self.screen.event(&format!("applied {object}"));
        }
        Ok(())
    }

    /// Waits until these jobs have ended and their clusters are gone; an error if one failed.
    pub(super) async fn finish_jobs(&mut self, jobs: &[ObjectKey]) -> Result<(), LocalError> {
        self.until(|world| jobs.iter().find_map(|job| unfinished(world, job))).await?;
        self.read_logs().await?;
        let mut failed = Ok(());
        for job in jobs {
            let state = self.world.get::<DaskJob>(job).map(job_state).unwrap_or_default();
            self.screen.event(&format!("job {} ended as {state}", job.name));
            if state == "Failed" && failed.is_ok() {
                let reason = self.why_failed(job);
                failed = Err(LocalError::JobFailed { job: format!("job {}", job.name), reason });
            }
        }
        self.until(|world| jobs.iter().find_map(|job| cluster_left(world, job))).await?;
        for job in jobs {
            self.screen.event(&format!("cluster {} is gone, its runner is kept for its log", job.name));
        }
        failed
    }

    /// Deletes what was applied, last first, and waits until nothing of it or its clusters is left.
    pub(super) async fn remove(&mut self, entries: &[Entry]) -> Result<(), LocalError> {
        for entry in entries.iter().rev() {
            let object = world::title(&entry.object);
            let options = DeleteOptions { propagation: Propagation::Background, ..DeleteOptions::default() };
            let deleted = self.session.store.delete(&entry.resource, &entry.key(), &options).await;
            deleted.map_err(LocalError::refused(format!("deleting {object}")))?;
            self.screen.event(&format!("deleted {object}"));
        }
        let clusters: Vec<ObjectKey> = entries
            .iter()
            .filter(|entry| entry.is("DaskJob") || entry.is("DaskCluster"))
            .map(Entry::key)
            .collect();
        self.until(|world| clusters.iter().find_map(|cluster| anything_left(world, cluster))).await?;
        self.confirm_nothing(&clusters).await?;
        for cluster in &clusters {
            self.screen.event(&format!("nothing labelled {}={} is left", world::CLUSTER_NAME, cluster.name));
        }
        Ok(())
    }

    /// Shows what happens until the person has had enough.
    pub(super) async fn serve(&mut self) -> Result<(), LocalError> {
        self.screen.event("serving until Ctrl-C");
        self.deadline = None;
        match self.until(|_| Some(String::new())).await {
            Err(LocalError::Interrupted) => Ok(()),
            other => other,
        }
    }

    /// Takes the table away.
    pub(super) fn end(mut self) {
        self.screen.finish();
    }

    /// Shows what happens until `waiting` no longer names anything to wait for.
    async fn until(&mut self, waiting: impl Fn(&World) -> Option<String>) -> Result<(), LocalError> {
        loop {
            let Some(what) = waiting(&self.world) else { return Ok(()) };
            let end = self.deadline.map_or_else(|| Instant::now() + Duration::from_hours(24), |(end, _)| end);
            tokio::select! {
                biased;
                failure = self.session.failure() => return Err(failure),
                Some(line) = self.logs.next() => self.screen.line(&format!("{} │ {}", line.pod, line.text)),
                Some((kind, event)) = self.changes.next() => match event {
                    Ok(event) => {
                        self.world.observe(kind, event);
                        self.logs.follow(&self.world);
                        self.screen.rows(self.world.rows());
                    }
                    Err(error) => tracing::warn!(%error, "a watch had an error and goes on"),
                },
                () = tokio::time::sleep_until(end) => if let Some((_, limit)) = self.deadline {
                    return Err(LocalError::TimedOut { seconds: limit.as_secs(), what });
                },
            }
        }
    }

    /// Shows the logs to their ends.
    async fn read_logs(&mut self) -> Result<(), LocalError> {
        let end = Instant::now() + LOG_END_MAX;
        while !self.logs.are_read() && Instant::now() < end {
            tokio::select! {
                biased;
                failure = self.session.failure() => return Err(failure),
                Some(line) = self.logs.next() => self.screen.line(&format!("{} │ {}", line.pod, line.text)),
                // A follower that ends wakes nobody.
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
        Ok(())
    }

    /// The API server's own word, not only what the watches said.
    async fn confirm_nothing(&self, clusters: &[ObjectKey]) -> Result<(), LocalError> {
        for kind in world::kinds() {
            for cluster in clusters {
                let scope = Scope { namespace: cluster.namespace.clone(), ..Scope::default() }
                    .with_labels(format!("{}={}", world::CLUSTER_NAME, cluster.name));
                let listed = self.session.store.list(&kind, &scope).await;
                let left = listed.map_err(LocalError::refused(format!("listing {}", kind.plural)))?;
                if let Some(object) = left.first() {
                    let what = format!("{} to be gone", world::title(object));
                    return Err(LocalError::TimedOut { seconds: 0, what });
                }
            }
        }
        Ok(())
    }

    /// The runner's own reason, as far as it left one.
    fn why_failed(&self, job: &ObjectKey) -> String {
        let runner = ObjectKey { name: format!("{}-runner", job.name), ..job.clone() };
        let Some(pod) = self.world.get::<Pod>(&runner) else { return "its runner is gone".into() };
        let status = &pod.data["status"];
        if let Some(message) = status["message"].as_str() {
            return format!("{}: {message}", status["reason"].as_str().unwrap_or("its runner failed"));
        }
        let ended = &status["containerStatuses"][0]["state"]["terminated"];
        match ended["exitCode"].as_i64() {
            Some(code) => format!("its runner ended with exit code {code}"),
            None => "its runner failed".into(),
        }
    }
}

fn job_state(job: &DynamicObject) -> String {
    job.data.pointer("/status/jobStatus").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What a job that has not ended waits for.
fn unfinished(world: &World, job: &ObjectKey) -> Option<String> {
    let Some(object) = world.get::<DaskJob>(job) else { return Some(format!("job {} to appear", job.name)) };
    let state = job_state(object);
    if state == "Successful" || state == "Failed" {
        return None;
    }
    // The first condition that does not hold says what the operator waits for.
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let blocked = conditions.into_iter().flatten().find(|condition| condition["status"] == "False");
    let why = blocked.and_then(|condition| condition["message"].as_str()).map(|text| format!(" ({text})"));
    let state = if state.is_empty() { "new".to_owned() } else { state };
    Some(format!("job {} to end; it is {state}{}", job.name, why.unwrap_or_default()))
}

/// What is left of an ended job's cluster: everything but the runner.
fn cluster_left(world: &World, job: &ObjectKey) -> Option<String> {
    let left = world.get::<DaskCluster>(job).map(world::title).or_else(|| {
        let runner = format!("pod/{}-runner", job.name);
        world
            .labelled(job.namespace.as_deref().unwrap_or_default(), &job.name)
            .into_iter()
            .find(|name| *name != runner)
    });
    left.map(|name| format!("{name} to be gone"))
}

/// What is left of a deleted job or cluster.
fn anything_left(world: &World, cluster: &ObjectKey) -> Option<String> {
    let named = world.get::<DaskJob>(cluster).or_else(|| world.get::<DaskCluster>(cluster)).map(world::title);
    let labelled =
        || world.labelled(cluster.namespace.as_deref().unwrap_or_default(), &cluster.name).into_iter().next();
    named.or_else(labelled).map(|name| format!("{name} to be gone"))
}
