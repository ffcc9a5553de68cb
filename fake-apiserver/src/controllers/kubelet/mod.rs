//! The simulated kubelet: pods on simulated nodes live the lives their rules and annotations describe.

mod address;
mod life;
mod log;
mod stage;
mod status;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use life::{ANNOTATION_PREFIX, Life};
pub use log::LogLine;

use super::control_loop::{Context, ControlLoop, Seen};
use super::node::Simulated;
use super::object::{PODS, items, text};
use super::queue::{Queue, Work};
use crate::status::Status;
use crate::storage::{Key, Stored};
use address::Addresses;
use log::Logs;
use stage::{Advance, Container, Containers, RestartPolicy, State};

/// All simulated nodes' kubelets.
#[derive(Default)]
pub(crate) struct Kubelet {
    pods: BTreeMap<Key, Run>,
    by_uid: BTreeMap<String, Key>,
    nodes: BTreeMap<String, Simulated>,
    addresses: Addresses,
    /// Last container identity that was given.
    ids: u64,
    /// History was lost: pods that no longer exist are to be forgotten.
    recheck: bool,
}

/// One pod on a simulated node.
struct Run {
    uid: String,
    life: Life,
    containers: Containers,
    address: Option<u16>,
    started: Timestamp,
    reported: bool,
    evicted: bool,
    /// When it was first seen to be deleted.
    terminating: Option<Timestamp>,
    killed: bool,
    logs: Logs,
}

impl ControlLoop for Kubelet {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn manager(&self) -> &'static str {
        "kubelet"
    }

    fn observe(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        if std::mem::take(&mut self.recheck) {
            self.forget_absent(seen);
        }
        if seen.resource() == ("", "nodes") {
            let name = &seen.object().key.name;
            let now_is = seen.change.after.as_deref().and_then(Simulated::read);
            if now_is.as_ref() != self.nodes.get(name) {
                for pod in seen.observed.on_node(name) {
                    queue.add(Work::new("pods", &pod.stored.key), seen.now);
                }
            }
            match now_is {
                Some(node) => self.nodes.insert(name.clone(), node),
                None => self.nodes.remove(name),
            };
        }
        let (before, after) = (&seen.pods.before, &seen.pods.after);
        let Some(after) = after else {
            if before.is_some() {
                self.forget(&seen.object().key);
            }
            return;
        };
        if after.node.is_empty() || !self.nodes.contains_key(&after.node) {
            return;
        }
        // Its own reports are not news.
        let news = before.as_ref().is_none_or(|b| {
            b.node != after.node
                || b.stored.meta.uid != after.stored.meta.uid
                || b.stored.meta.deleting != after.stored.meta.deleting
                || b.has_ended() != after.has_ended()
                // Containers were added.
                || b.stored.meta.generation != after.stored.meta.generation
        });
        if news {
            seen.mark(queue, "pods");
        }
    }

    fn sync(&mut self, work: &Work, context: &mut Context<'_, '_>) -> Result<Option<Timestamp>, Status> {
        let Some(pod) = context.api.get(&PODS, &work.key.namespace, &work.key.name) else { return Ok(None) };
        let value = pod.value();
        let Some(node) = self.nodes.get(text(&value["spec"]["nodeName"])).cloned() else { return Ok(None) };
        if node.lost {
            return Ok(None);
        }
        if self.pods.get(&work.key).is_some_and(|run| run.uid != pod.meta.uid) {
            self.forget(&work.key);
        }
        if !self.pods.contains_key(&work.key) {
            let run = Run::new(&pod, &value, context);
            self.by_uid.insert(run.uid.clone(), work.key.clone());
            self.pods.insert(work.key.clone(), run);
        }
        let Some(run) = self.pods.get_mut(&work.key) else { return Ok(None) };
        if pod.meta.deleting {
            return run.terminate(&pod, value, context);
        }
        if matches!(text(&value["status"]["phase"]), "Succeeded" | "Failed") {
            run.give_back(&mut self.addresses);
            return Ok(None);
        }
        let next = run.live(value, &node.address, &mut self.addresses, &mut self.ids, context)?;
        if run.containers.main.iter().all(|c| c.state == State::Completed) {
            run.give_back(&mut self.addresses);
        }
        Ok(next)
    }

    fn reset(&mut self) {
        self.recheck = true;
    }
}

impl Kubelet {
    /// The log of a container, by the uid of its pod.
    pub(crate) fn log(&self, uid: &str, container: &str, previous: bool) -> Option<Vec<LogLine>> {
        self.pods.get(self.by_uid.get(uid)?)?.logs.lines(container, previous)
    }

    fn forget(&mut self, key: &Key) {
        if let Some(mut run) = self.pods.remove(key) {
            self.by_uid.remove(&run.uid);
            run.give_back(&mut self.addresses);
        }
    }

    fn forget_absent(&mut self, seen: &Seen<'_>) {
        let storage = seen.server.storage();
        let absent = |key: &Key, run: &Run| storage.get(&PODS, key).is_none_or(|pod| pod.meta.uid != run.uid);
        let gone: Vec<Key> =
            self.pods.iter().filter(|(key, run)| absent(key, run)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.forget(&key);
        }
    }
}

impl Run {
    fn new(pod: &Stored, value: &Value, context: &Context<'_, '_>) -> Self {
        let policy = match text(&value["spec"]["restartPolicy"]) {
            "Never" => RestartPolicy::Never,
            "OnFailure" => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        };
        // A failed init container is started again unless the pod is never restarted; one that succeeded is not.
        let of_init = if policy == RestartPolicy::Never { policy } else { RestartPolicy::OnFailure };
        let make = |list: &str, policy: RestartPolicy| -> Vec<Container> {
            let specs = items(&value["spec"][list]).iter();
            specs
                .map(|c| {
                    let policy = if c["restartPolicy"] == "Always" { RestartPolicy::Always } else { policy };
                    Container::new(text(&c["name"]), text(&c["image"]), policy, context.now)
                })
                .collect()
        };
        Self {
            uid: pod.meta.uid.clone(),
            life: Life::of(value, context.options),
            containers: Containers {
                init: make("initContainers", of_init),
                main: make("containers", policy),
                ephemeral: Vec::new(),
            },
            address: None,
            started: context.now,
            reported: false,
            evicted: false,
            terminating: None,
            killed: false,
            logs: Logs::default(),
        }
    }

    fn give_back(&mut self, addresses: &mut Addresses) {
        if let Some(address) = self.address.take() {
            addresses.free(address);
        }
    }

    /// Takes the stages that are due, reports, and says when the next is due.
    fn live(
        &mut self,
        mut pod: Value,
        host: &str,
        addresses: &mut Addresses,
        ids: &mut u64,
        context: &mut Context<'_, '_>,
    ) -> Result<Option<Timestamp>, Status> {
        let now = context.now;
        self.containers.add_ephemeral(items(&pod["spec"]["ephemeralContainers"]), now);
        let evict_at = self.life.evict_after.and_then(|after| self.started.checked_add(after).ok());
        self.evicted |= evict_at.is_some_and(|at| at <= now);
        let advance = if self.evicted {
            self.containers.all_mut().for_each(|c| c.kill(now));
            Advance::default()
        } else {
            self.containers.advance(&self.life, now, ids)
        };
        if self.address.is_none() && !advance.entered.is_empty() {
            self.address = addresses.take();
        }
        let news = self.evicted || advance.readiness || !advance.entered.is_empty() || !self.reported;
        if news {
            self.report(&mut pod, host, context)?;
            self.announce(&pod, &advance, context);
        }
        let evict_at = evict_at.filter(|_| !self.evicted);
        Ok([advance.next, evict_at].into_iter().flatten().min())
    }

    fn report(&mut self, pod: &mut Value, host: &str, context: &mut Context<'_, '_>) -> Result<(), Status> {
        let open = |gate: &Value| super::object::is_true(pod, text(&gate["conditionType"]));
        let host_network = pod["spec"]["hostNetwork"] == true;
        let facts = status::Facts {
            host_ip: host,
            pod_ip: self.address.map(|a| if host_network { host.to_owned() } else { address::text(a) }),
            started: self.started,
            evicted: self.evicted.then_some("The node was low on resource: memory."),
            gates_open: items(&pod["spec"]["readinessGates"]).iter().all(open),
        };
        let mut written = pod["status"].take();
        status::write(&mut written, &self.containers, &facts, context.now);
        if !written["qosClass"].is_string() {
            written["qosClass"] = status::qos_class(pod).into();
        }
        pod["status"] = written;
        context.api.update_status(&PODS, pod.clone())?;
        self.reported = true;
        Ok(())
    }

    fn announce(&mut self, pod: &Value, advance: &Advance, context: &mut Context<'_, '_>) {
        if self.evicted {
            context.warning(pod, "Evicted", "The node was low on resource: memory.");
        }
        let inits = self.containers.init.len();
        for (index, entered) in &advance.entered {
            let Some(container) = self.containers.at(*index) else { continue };
            let name = container.name.clone();
            let image = &container.image;
            let list = match index {
                index if *index < inits => "initContainers",
                index if *index < inits + self.containers.main.len() => "containers",
                _ => "ephemeralContainers",
            };
            let field = format!("spec.{list}{{{name}}}");
            let mut normal =
                |reason: &str, message: &str| context.note(pod, "Normal", reason, message, &field);
            match entered {
                State::Running => {
                    normal("Pulled", &format!("Container image {image:?} already present on machine"));
                    normal("Created", &format!("Created container: {name}"));
                    normal("Started", &format!("Started container {name}"));
                    self.logs.begin(&name);
                    let bound = context.options.max_log_lines;
                    let mut write = |line: &str| self.logs.write(&name, line, context.now, bound);
                    if self.life.log.is_empty() {
                        write(&format!("simulated container {name} started"));
                    }
                    self.life.log.iter().for_each(|line| write(line));
                }
                State::PullFailed => {
                    let words = self.life.pull_error.clone().unwrap_or_default();
                    let message = format!("Failed to pull image {image:?}: {words}");
                    normal("Pulling", &format!("Pulling image {image:?}"));
                    context.note(pod, "Warning", "Failed", &message, &field);
                    context.note(pod, "Warning", "Failed", "Error: ErrImagePull", &field);
                }
                State::PullBackOff => {
                    let message = format!("Back-off pulling image {image:?}");
                    context.note(pod, "Normal", "BackOff", &message, &field);
                    context.note(pod, "Warning", "Failed", "Error: ImagePullBackOff", &field);
                }
                State::CrashBackOff => {
                    let (pod_name, namespace) =
                        (text(&pod["metadata"]["name"]), text(&pod["metadata"]["namespace"]));
                    let message = format!(
                        "Back-off restarting failed container {name} in pod {pod_name}_{namespace}({})",
                        self.uid
                    );
                    context.note(pod, "Warning", "BackOff", &message, &field);
                }
                State::Ended if container.last.as_ref().is_some_and(|end| end.start_error) => {
                    let message = format!("Error: failed to start container {name:?}");
                    context.note(pod, "Warning", "Failed", &message, &field);
                }
                State::Creating | State::Ended | State::Completed => {}
            }
        }
    }

    /// Lets a deleted pod end: after its time, at the latest at the end of its grace period.
    fn terminate(
        &mut self,
        pod: &Stored,
        mut value: Value,
        context: &mut Context<'_, '_>,
    ) -> Result<Option<Timestamp>, Status> {
        if self.killed {
            return Ok(None);
        }
        let now = context.now;
        if self.terminating.is_none() {
            self.terminating = Some(now);
            for container in self.containers.main.iter().filter(|c| c.state == State::Running) {
                let field = format!("spec.containers{{{}}}", container.name);
                let message = format!("Stopping container {}", container.name);
                context.note(&value, "Normal", "Killing", &message, &field);
            }
        }
        let own = self.terminating.and_then(|at| at.checked_add(self.life.terminate_after).ok());
        let last = text(&value["metadata"]["deletionTimestamp"]).parse::<Timestamp>().ok();
        let due = [own, last].into_iter().flatten().min().unwrap_or(now);
        if due > now {
            return Ok(Some(due));
        }
        self.containers.all_mut().for_each(|c| c.kill(now));
        if !pod.meta.finalizers.is_empty() {
            // Whoever holds the finalizer is told how it ended.
            let host = text(&value["status"]["hostIP"]).to_owned();
            self.report(&mut value, &host, context)?;
        }
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod.meta.uid}});
        match context.api.delete(&PODS, &pod.key, options) {
            Err(status) if !matches!(status.code, 404 | 409) => Err(status),
            _ => {
                self.killed = true;
                Ok(None)
            }
        }
    }
}
