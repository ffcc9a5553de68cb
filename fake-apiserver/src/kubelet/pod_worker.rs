//! One task for each pod: it alone starts, stops and reports the pod's containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Node;
use super::container::Container;
use super::environment::Facts;
use super::events::Level;
use super::lifecycle::{self, Exit, Record, RestartPolicy, Role, State};
use super::logs::Run;
use super::pod_files::PodFiles;
use super::probe::ProbeKind;
use super::sandbox::Sandbox;
use super::status::{Surroundings, Verdict};
use super::volumes::Prepared;

/// After a refusal by the API server.
const RETRY: SignedDuration = SignedDuration::from_secs(1);
/// What the API server says of the pod.
#[derive(Clone, Debug)]
pub(super) enum View {
    /// It is to run here, or to end if it has a deletion time.
    Present(Arc<Pod>),
    /// It is no more.
    Gone,
}

/// What the pod's own tasks report.
#[derive(Debug)]
pub(super) enum Note {
    /// A run has ended, and all its output is stored.
    Exited { index: usize, run: u32, code: i32 },
    /// A probe's result counts.
    Probed { index: usize, run: u32, kind: ProbeKind, ok: bool },
    /// A `postStart` hook failed: the container is killed.
    HookFailed { index: usize, run: u32, message: String },
}

/// What belongs to a container beside its record.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) container: Option<Container>,
    /// Counts runs, so that a late note about an earlier one is known.
    pub(super) run: u32,
    /// When it will be killed, once it was asked to end.
    pub(super) stop_by: Option<Timestamp>,
    /// Probes and hooks of this run; they end with it.
    pub(super) tasks: JoinSet<()>,
    pub(super) log: Option<Arc<Run>>,
    pub(super) pull_failures: u32,
}

/// How far the pod's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Containers may run.
    No,
    /// All containers have ended, and network and volumes are gone.
    TornDown,
    /// The API server was asked to remove the object.
    Removed,
}

/// A pod's task.
pub(super) struct PodWorker {
    pub(super) node: Arc<Node>,
    pub(super) pod: Arc<Pod>,
    pub(super) specs: Vec<Spec>,
    pub(super) records: Vec<Record>,
    pub(super) live: Vec<Live>,
    pub(super) sandbox: Option<Sandbox>,
    pub(super) volumes: Option<BTreeMap<String, Prepared>>,
    pub(super) files: PodFiles,
    pub(super) facts: Facts,
    pub(super) around: Surroundings,
    pub(super) published: super::pod_status::Published,
    pub(super) note: mpsc::UnboundedSender<Note>,
    notes: mpsc::UnboundedReceiver<Note>,
    pub(super) gone: bool,
    pub(super) ending: Ending,
    /// When network and volumes were taken down, if this worker did it.
    pub(super) torn_down: Option<Timestamp>,
}

impl PodWorker {
    /// A worker for a pod that was bound to this node.
    pub(super) fn new(node: Arc<Node>, pod: Arc<Pod>) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let roles = containers(&spec);
        let waits = roles.iter().any(|(role, _)| matches!(role, Role::Init | Role::Sidecar));
        let records = roles.iter().map(|(role, spec)| {
            let image = spec.image.as_deref().unwrap_or_default();
            Record::new(&spec.name, *role, image, waits && *role == Role::Main)
        });
        let mut records: Vec<Record> = records.collect();
        recall(&pod, &mut records);
        let (note, notes) = mpsc::unbounded_channel();
        let start_time = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let files = PodFiles::new(&node.config.state_dir, &pod);
        Self {
            live: roles.iter().map(|_| Live::default()).collect(),
            specs: roles.into_iter().map(|(_, spec)| spec).collect(),
            records,
            sandbox: None,
            volumes: None,
            files,
            facts: Facts { allocatable: super::node::capacity(), ..node.facts() },
            around: Surroundings {
                host_ip: node.config.network.node_address().to_string(),
                start_time: start_time.or(Some(Timestamp::now())),
                ..Surroundings::default()
            },
            published: super::pod_status::Published::default(),
            note,
            notes,
            gone: false,
            torn_down: None,
            ending: if is_terminal(&pod) { Ending::TornDown } else { Ending::No },
            node,
            pod,
        }
    }

    /// Runs the pod until it is gone from the API server and from this machine.
    pub(super) async fn run(mut self, mut view: watch::Receiver<View>) {
        let mut services = self.node.services.clone();
        loop {
            let Some(wake) = self.step().await else { break };
            let wait = wake.duration_since(Timestamp::now()).unsigned_abs();
            let wait = if wake <= Timestamp::now() { Duration::ZERO } else { wait };
            tokio::select! {
                biased;
                changed = view.changed() => {
                    if changed.is_err() {
                        // The kubelet ends; what this worker holds dies with it.
                        return;
                    }
                    match &*view.borrow_and_update() {
                        View::Present(pod) => {
                            self.pod = pod.clone();
                            self.take_ephemeral();
                        }
                        View::Gone => self.gone = true,
                    }
                }
                Some(note) = self.notes.recv() => self.take(note),
                changed = services.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Before the sandbox exists there is no file yet, and after it none any more.
                    if self.around.sandbox {
                        self.write_hosts();
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
        let (namespace, name, uid) = self.identity();
        self.node.logs.retire(namespace, name, uid);
    }

    /// Takes up the containers that were added since.
    fn take_ephemeral(&mut self) {
        for spec in self.pod.spec.iter().flat_map(ephemeral).collect::<Vec<_>>() {
            if self.records.iter().any(|record| record.name == spec.name) {
                continue;
            }
            let image = spec.image.as_deref().unwrap_or_default();
            self.records.push(Record::new(&spec.name, Role::Ephemeral, image, false));
            self.live.push(Live::default());
            self.specs.push(spec);
        }
    }

    /// Namespace, name and uid.
    pub(super) fn identity(&self) -> (&str, &str, &str) {
        let metadata = &self.pod.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        (metadata.namespace.as_deref().unwrap_or_default(), name, metadata.uid.as_deref().unwrap_or_default())
    }

    /// Does what is due; says when to look again, or `None` when all is done.
    async fn step(&mut self) -> Option<Timestamp> {
        let idle = Timestamp::now() + SignedDuration::from_hours(1);
        if self.ending == Ending::No {
            self.judge();
            let wake = if self.must_end() { self.wind_down().await } else { self.advance().await };
            if self.ending == Ending::No {
                let published = self.publish().await;
                return Some(if published { wake.unwrap_or(idle) } else { Timestamp::now() + RETRY });
            }
        }
        if self.gone {
            return None;
        }
        if !self.publish().await {
            return Some(Timestamp::now() + RETRY);
        }
        if self.pod.metadata.deletion_timestamp.is_some() && self.ending == Ending::TornDown {
            let due = lifecycle::removal_due(self.torn_down, self.node.config.removal, Timestamp::now());
            if due.is_some() {
                return due;
            }
            if !self.remove_object().await {
                return Some(Timestamp::now() + RETRY);
            }
            self.ending = Ending::Removed;
        }
        Some(idle)
    }

    /// The kubelet's own verdicts over the pod.
    fn judge(&mut self) {
        let limit = self.pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        if let (Some(limit), Some(start), None) = (limit, self.around.start_time, &self.around.verdict)
            && Timestamp::now().duration_since(start) >= SignedDuration::from_secs(limit)
        {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.event(None, Level::Normal, "DeadlineExceeded", message.clone());
            self.around.verdict = Some(Verdict { reason: "DeadlineExceeded".into(), message });
        }
    }

    fn must_end(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some() || self.around.verdict.is_some()
    }

    /// Moves the containers on.
    async fn advance(&mut self) -> Option<Timestamp> {
        let policy =
            RestartPolicy::from(self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()));
        let (namespace, name, uid) = self.identity();
        let who = format!("{name}_{namespace}({uid})");
        loop {
            let next = lifecycle::decide(&mut self.records, policy, &who, Timestamp::now());
            for &index in &next.backing_off {
                let name = self.records[index].name.clone();
                let message = format!("Back-off restarting failed container {name} in pod {who}");
                self.event(Some(index), Level::Warning, "BackOff", message);
            }
            for &index in &next.stop {
                self.stop(index, self.grace(), None);
            }
            if next.finished.is_some() {
                self.tear_down().await;
                return None;
            }
            let mut progressed = false;
            for &index in &next.start {
                progressed |= self.start_container(index).await;
            }
            if !progressed {
                return self.earliest(next.wake);
            }
        }
    }

    /// When something is due that no note will announce.
    fn earliest(&self, wake: Option<Timestamp>) -> Option<Timestamp> {
        let limit = self.pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        let deadline = limit.zip(self.around.start_time);
        let deadline = deadline.map(|(limit, start)| start + SignedDuration::from_secs(limit));
        let holds = self.records.iter().filter_map(|record| record.hold_until);
        let holds = holds.filter(|hold| *hold > Timestamp::now());
        wake.into_iter().chain(deadline).chain(holds).min()
    }

    fn take(&mut self, note: Note) {
        let (index, run) = match &note {
            Note::Exited { index, run, .. }
            | Note::Probed { index, run, .. }
            | Note::HookFailed { index, run, .. } => (*index, *run),
        };
        if self.live[index].run != run || !self.records[index].running() {
            return;
        }
        match note {
            Note::Exited { code, .. } => self.exited(index, code),
            Note::Probed { kind, ok, .. } => self.probed(index, kind, ok),
            Note::HookFailed { message, .. } => {
                self.event(Some(index), Level::Warning, "FailedPostStartHook", message);
                self.stop(index, self.grace(), Some("FailedPostStartHook".into()));
            }
        }
    }

    fn probed(&mut self, index: usize, kind: ProbeKind, ok: bool) {
        let stopping = self.live[index].stop_by.is_some();
        match (kind, ok) {
            (ProbeKind::Readiness, ok) => self.records[index].ready = ok,
            (ProbeKind::Startup, true) => self.began(index),
            (ProbeKind::Startup | ProbeKind::Liveness, false) if !stopping => {
                let spec = &self.specs[index];
                let probe =
                    if kind == ProbeKind::Startup { &spec.startup_probe } else { &spec.liveness_probe };
                let own = probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
                let own = own.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
                let what = kind.name().to_lowercase();
                let message = format!("Container {} failed {what} probe, will be restarted", spec.name);
                self.stop(index, own.unwrap_or_else(|| self.grace()), Some(message));
            }
            (ProbeKind::Liveness, true) | (ProbeKind::Startup | ProbeKind::Liveness, false) => {}
        }
    }

    /// Announces something about the pod or one of its containers.
    pub(super) fn event(
        &self,
        index: Option<usize>,
        level: Level,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let path = index.map(|index| {
            let list = match self.records[index].role {
                Role::Main => "containers",
                Role::Init | Role::Sidecar => "initContainers",
                Role::Ephemeral => "ephemeralContainers",
            };
            format!("spec.{list}{{{}}}", self.specs[index].name)
        });
        self.node.events.pod(&self.pod, path.as_deref(), level, reason, message);
    }

    /// Whether the status of this pod was made by this worker.
    pub(super) fn speaks_for_itself(&self) -> bool {
        self.ending == Ending::No || self.live.iter().any(|live| live.run > 0) || self.around.ended
    }
}

/// Containers in the order in which they start, with their roles.
fn containers(spec: &PodSpec) -> Vec<(Role, Spec)> {
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        (if sidecar { Role::Sidecar } else { Role::Init }, container.clone())
    });
    let main = spec.containers.iter().map(|container| (Role::Main, container.clone()));
    let ephemeral = ephemeral(spec).into_iter().map(|container| (Role::Ephemeral, container));
    init.chain(main).chain(ephemeral).collect()
}

/// Ephemeral containers as containers: what they have more, the name of another container, changes nothing here.
fn ephemeral(spec: &PodSpec) -> Vec<Spec> {
    let all = spec.ephemeral_containers.iter().flatten();
    all.filter_map(|container| serde_json::from_value(serde_json::to_value(container).ok()?).ok()).collect()
}

/// A pod that an earlier kubelet ran: its processes died with that kubelet, its counts go on.
fn recall(pod: &Pod, records: &mut [Record]) {
    let Some(status) = &pod.status else { return };
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let known = lists.into_iter().flatten().flatten();
    for status in known {
        let Some(record) = records.iter_mut().find(|record| record.name == status.name) else { continue };
        record.restarts = status.restart_count;
        record.container_id.clone_from(&status.container_id);
        let state = status.state.as_ref();
        if let Some(end) = state.and_then(|state| state.terminated.as_ref()) {
            let epoch = Timestamp::UNIX_EPOCH;
            record.state = State::Exited(Exit {
                code: end.exit_code,
                reason: end.reason.clone().unwrap_or_default(),
                message: end.message.clone(),
                started: end.started_at.as_ref().map_or(epoch, |time| time.0),
                finished: end.finished_at.as_ref().map_or(epoch, |time| time.0),
                container_id: end.container_id.clone().unwrap_or_default(),
            });
        } else if let Some(running) = state.and_then(|state| state.running.as_ref()) {
            let now = Timestamp::now();
            record.state = State::Exited(Exit {
                code: 137,
                reason: "ContainerStatusUnknown".into(),
                message: Some("The container could not be located when the kubelet started".into()),
                started: running.started_at.as_ref().map_or(now, |time| time.0),
                finished: now,
                container_id: status.container_id.clone().unwrap_or_default(),
            });
        }
    }
}

fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The directory of everything that belongs to pods.
pub(super) fn pods_directory(state_dir: &std::path::Path) -> PathBuf {
    state_dir.join("pods")
}
