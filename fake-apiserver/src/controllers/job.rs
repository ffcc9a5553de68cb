//! Jobs: pods that run to completion, counted once each by their tracking finalizer.
//!
//! Not modelled: `completionMode: Indexed`, `podFailurePolicy`, `successPolicy`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::control_loop::{Context, ControlLoop, Seen};
use super::object::{
    JOBS, PODS, Says, array_mut, condition, is_true, items, object_mut, set_condition, set_count, text, time,
};
use super::pod::{Phase, PodFacts};
use super::queue::{Queue, Work};
use super::template::{Maker, is_terminating};
use crate::status::Status;
use crate::storage::Stored;

const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// Runs Jobs.
pub(crate) struct Jobs;

impl ControlLoop for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        match seen.resource() {
            ("batch", "jobs") => seen.mark(queue, "jobs"),
            ("", "pods") => seen.mark_controller(queue, "Job", "jobs"),
            _ => {}
        }
        // Pods whose Job is gone are held by the finalizer of a controller that would never look again.
        if let Some(pod) = seen.change.after.as_deref()
            && seen.resource() == ("", "pods")
            && tracked(pod)
            && pod.meta.deleting
        {
            queue.add(Work::new("pods", &pod.key), seen.now);
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        if work.about == "pods" {
            return free_if_orphaned(work, context).map(|()| None);
        }
        let Some(stored) = context.api.get(&JOBS, &work.key.namespace, &work.key.name) else {
            return Ok(None);
        };
        let value = stored.value();
        if let Some(at) = finished_at(&value) {
            release_all(&stored, context)?;
            return expire(&stored, &value, at, context);
        }
        if stored.meta.deleting {
            return release_all(&stored, context).map(|()| None);
        }
        let mut run = Run::read(&stored, &value, context);
        run.count(context)?;
        let outcome = run.work(context);
        run.write(context)?;
        outcome
    }
}

fn tracked(pod: &Stored) -> bool {
    pod.meta.finalizers.iter().any(|f| f == TRACKING)
}

/// Takes the tracking finalizer from a pod whose Job does not exist.
fn free_if_orphaned(work: &Work, context: &mut Context<'_, '_>) -> Result<(), Status> {
    let Some(pod) = context.api.get(&PODS, &work.key.namespace, &work.key.name) else { return Ok(()) };
    let orphaned = pod.controller().is_none_or(|owner| context.api.by_uid(&owner.uid).is_none());
    if orphaned { free(&pod, context) } else { Ok(()) }
}

fn free(pod: &Stored, context: &mut Context<'_, '_>) -> Result<(), Status> {
    let Some(newest) = context.api.get(&PODS, &pod.key.namespace, &pod.key.name) else { return Ok(()) };
    if !tracked(&newest) {
        return Ok(());
    }
    let kept: Vec<&String> = newest.meta.finalizers.iter().filter(|f| *f != TRACKING).collect();
    match context.api.patch(&PODS, &pod.key, json!({"metadata": {"finalizers": kept}})) {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

fn release_all(job: &Stored, context: &mut Context<'_, '_>) -> Result<(), Status> {
    let pods: Vec<_> = context.observed.controlled_by(&job.meta.uid).cloned().collect();
    for pod in pods.iter().filter(|pod| tracked(&pod.stored)) {
        free(&pod.stored, context)?;
    }
    Ok(())
}

/// When the Job ended, well or badly.
fn finished_at(job: &Value) -> Option<Timestamp> {
    let done = ["Complete", "Failed"].iter().find(|kind| is_true(job, kind))?;
    text(&condition(job, done)?["lastTransitionTime"]).parse().ok()
}

/// Deletes a finished Job after `ttlSecondsAfterFinished`.
fn expire(
    job: &Stored,
    value: &Value,
    finished: Timestamp,
    context: &mut Context<'_, '_>,
) -> Result<Option<Timestamp>, Status> {
    let ttl = value["spec"]["ttlSecondsAfterFinished"].as_i64();
    let Some(ttl) = ttl.filter(|_| !job.meta.deleting) else { return Ok(None) };
    let due = finished.checked_add(SignedDuration::from_secs(ttl)).unwrap_or(context.now);
    if due > context.now {
        return Ok(Some(due));
    }
    let options = json!({"propagationPolicy": "Foreground", "preconditions": {"uid": job.meta.uid}});
    context.api.delete(&JOBS, &job.key, options).map(|()| None)
}

/// One look at a Job.
struct Run<'a> {
    job: &'a Stored,
    before: &'a Value,
    status: Value,
    pods: Vec<Arc<PodFacts>>,
    completions: Option<i64>,
    parallelism: i64,
}

impl<'a> Run<'a> {
    fn read(job: &'a Stored, value: &'a Value, context: &Context<'_, '_>) -> Self {
        let spec = &value["spec"];
        let mut status = value["status"].clone();
        object_mut(&mut status).entry("uncountedTerminatedPods").or_insert(json!({}));
        if !status["startTime"].is_string() && spec["suspend"] != true {
            status["startTime"] = time(context.now).into();
        }
        Self {
            job,
            before: value,
            status,
            pods: context.observed.controlled_by(&job.meta.uid).cloned().collect(),
            completions: spec["completions"].as_i64(),
            parallelism: spec["parallelism"].as_i64().unwrap_or(1).max(0),
        }
    }

    fn number(&self, field: &str) -> i64 {
        self.status[field].as_i64().unwrap_or_default()
    }

    /// Counts pods that have ended: their uids are written first, then the finalizer goes, then the number grows.
    /// Whatever is interrupted goes on at the next look, and no pod is counted twice.
    fn count(&mut self, context: &mut Context<'_, '_>) -> Result<(), Status> {
        let mut ended = Vec::new();
        for pod in self.pods.iter().filter(|pod| tracked(&pod.stored)) {
            let list = match pod.phase {
                Phase::Succeeded => "succeeded",
                Phase::Failed => "failed",
                // Deleted before it could end.
                _ if pod.stored.meta.deleting && pod.node.is_empty() => "failed",
                _ => continue,
            };
            let uids = array_mut(&mut self.status["uncountedTerminatedPods"], list);
            if !uids.iter().any(|uid| *uid == pod.stored.meta.uid.as_str()) {
                uids.push(pod.stored.meta.uid.as_str().into());
            }
            ended.push(Arc::clone(pod));
        }
        if !ended.is_empty() {
            self.write(context)?;
        }
        for pod in &ended {
            free(&pod.stored, context)?;
        }
        for list in ["succeeded", "failed"] {
            let uncounted = items(&self.status["uncountedTerminatedPods"][list]).len() as i64;
            let count = self.number(list) + uncounted;
            set_count(&mut self.status, list, count);
        }
        self.status["uncountedTerminatedPods"] = json!({});
        Ok(())
    }

    /// Decides, makes and deletes pods; what it concludes is in the status.
    fn work(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let spec = &self.before["spec"];
        let active: Vec<Arc<PodFacts>> = self.pods.iter().filter(|pod| pod.is_active()).cloned().collect();
        let succeeded = self.number("succeeded");
        let restarts: i64 = if spec["template"]["spec"]["restartPolicy"] == "OnFailure" {
            active.iter().map(|pod| pod.restarts).sum()
        } else {
            0
        };
        let failures = self.number("failed") + restarts;
        let limit = spec["backoffLimit"].as_i64().unwrap_or(6);
        let deadline = self.deadline();
        let exceeded = self.number("failed") > limit || (restarts > 0 && failures > limit);
        if exceeded || deadline.is_some_and(|at| at <= context.now) {
            let (reason, message) = if exceeded {
                ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
            } else {
                ("DeadlineExceeded", "Job was active longer than specified deadline")
            };
            self.remove(&active, active.len(), context)?;
            self.finish("FailureTarget", "Failed", reason, message, context);
            return Ok(Some(context.now));
        }
        let done = self.completions.map_or(succeeded > 0 && active.is_empty(), |wanted| succeeded >= wanted);
        if done {
            self.remove(&active, active.len(), context)?;
            let message = "Reached expected number of succeeded pods";
            self.status["completionTime"] = time(context.now).into();
            self.finish("SuccessCriteriaMet", "Complete", "CompletionsReached", message, context);
            context.normal(self.before, "Completed", "Job completed");
            return Ok(Some(context.now));
        }
        self.suspend(context);
        let wanted = if spec["suspend"] == true {
            0
        } else {
            match self.completions {
                Some(completions) => self.parallelism.min(completions - succeeded),
                None if succeeded > 0 => (active.len() as i64).min(self.parallelism),
                None => self.parallelism,
            }
        };
        let next = self.keep(&active, wanted.max(0) as usize, context)?;
        Ok([next, deadline].into_iter().flatten().min())
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self.before["spec"]["activeDeadlineSeconds"].as_i64()?;
        let started: Timestamp = text(&self.status["startTime"]).parse().ok()?;
        started.checked_add(SignedDuration::from_secs(seconds)).ok()
    }

    /// Makes what is missing, after the back-off of failed pods; removes what is too much.
    fn keep(
        &mut self,
        active: &[Arc<PodFacts>],
        wanted: usize,
        context: &mut Context<'_, '_>,
    ) -> Result<Option<Timestamp>, Status> {
        self.counts(active, context);
        if active.len() > wanted {
            self.remove(active, active.len() - wanted, context)?;
            return Ok(None);
        }
        if active.len() == wanted {
            return Ok(None);
        }
        if let Some(at) = self.back_off().filter(|at| *at > context.now) {
            return Ok(Some(at));
        }
        let maker = Maker { owner: self.job, value: self.before, api_version: "batch/v1", kind: "Job" };
        for _ in active.len()..wanted {
            let mut pod = maker.pod(&self.template(), context);
            array_mut(&mut pod["metadata"], "finalizers").push(TRACKING.into());
            match maker.create(pod, context) {
                Ok(_) => {}
                Err(status) if is_terminating(&status) => return Ok(None),
                Err(status) if status.reason == "AlreadyExists" => return Ok(Some(context.now)),
                Err(status) => return Err(status),
            }
            let active = self.number("active");
            self.status["active"] = (active + 1).into();
        }
        Ok(None)
    }

    /// When the next pod may be made: 10 s after the last failure, doubled with each, at most 10 minutes.
    fn back_off(&self) -> Option<Timestamp> {
        let failed = self.number("failed");
        let last =
            self.pods.iter().filter(|pod| pod.phase == Phase::Failed).filter_map(|pod| pod.ready_since).max();
        let wait = (10_i64 << (failed - 1).clamp(0, 10)).min(600);
        last.filter(|_| failed > 0)?.checked_add(SignedDuration::from_secs(wait)).ok()
    }

    fn template(&self) -> Value {
        let mut template = self.before["spec"]["template"].clone();
        let (name, uid) = (self.job.key.name.as_str(), self.job.meta.uid.as_str());
        for (label, value) in [("job-name", name), ("controller-uid", uid)] {
            template["metadata"]["labels"][format!("batch.kubernetes.io/{label}")] = value.into();
            template["metadata"]["labels"][label] = value.into();
        }
        template
    }

    fn remove(
        &mut self,
        active: &[Arc<PodFacts>],
        count: usize,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        let maker = Maker { owner: self.job, value: self.before, api_version: "batch/v1", kind: "Job" };
        let mut pods = active.to_vec();
        super::template::rank_for_deletion(&mut pods);
        for pod in pods.iter().take(count) {
            free(&pod.stored, context)?;
            maker.delete(pod, context)?;
        }
        let left = (active.len() - count) as i64;
        set_count(&mut self.status, "active", left);
        Ok(())
    }

    fn counts(&mut self, active: &[Arc<PodFacts>], _: &Context<'_, '_>) {
        let ready = active.iter().filter(|pod| pod.ready).count();
        let terminating = self.pods.iter().filter(|pod| pod.stored.meta.deleting && !pod.has_ended()).count();
        set_count(&mut self.status, "active", active.len() as i64);
        self.status["ready"] = ready.into();
        self.status["terminating"] = terminating.into();
    }

    /// The condition Suspended follows `spec.suspend`.
    fn suspend(&mut self, context: &mut Context<'_, '_>) {
        let suspended = self.before["spec"]["suspend"] == true;
        let known = is_true(self.before, "Suspended");
        if suspended == known {
            return;
        }
        let (holds, reason, message) = if suspended {
            object_mut(&mut self.status).remove("startTime");
            ("True", "JobSuspended", "Job suspended")
        } else {
            ("False", "JobResumed", "Job resumed")
        };
        set_condition(
            &mut self.status,
            Says { kind: "Suspended", status: holds, reason, message },
            context.now,
        );
        let event = if suspended { "Suspended" } else { "Resumed" };
        context.normal(self.before, event, message);
    }

    /// Kubernetes sets two conditions: what was decided, and that it is done.
    fn finish(
        &mut self,
        decided: &str,
        done: &str,
        reason: &str,
        message: &str,
        context: &mut Context<'_, '_>,
    ) {
        for kind in [decided, done] {
            set_condition(&mut self.status, Says { kind, status: "True", reason, message }, context.now);
        }
        for condition in array_mut(&mut self.status, "conditions") {
            if !condition["lastProbeTime"].is_string() {
                condition["lastProbeTime"] = time(context.now).into();
            }
        }
        set_count(&mut self.status, "active", 0);
        self.status["ready"] = 0.into();
        self.status["terminating"] = 0.into();
        if done == "Failed" {
            context.warning(self.before, reason, message);
        }
    }

    fn write(&self, context: &mut Context<'_, '_>) -> Result<(), Status> {
        let Some(newest) = context.api.get(&JOBS, &self.job.key.namespace, &self.job.key.name) else {
            return Ok(());
        };
        let mut value = newest.value();
        if value["status"] != self.status {
            value["status"] = self.status.clone();
            context.api.update_status(&JOBS, value)?;
        }
        Ok(())
    }
}
