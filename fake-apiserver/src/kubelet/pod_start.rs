//! Starting one container of a pod: everything that must be there first, and what is said when it is not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Probe, Secret};
use kube::Api;

use super::attach::Own;
use super::catalogue::Image;
use super::container::Container;
use super::environment::{self, ConfigError, Sources};
use super::events::Level;
use super::exec::Place;
use super::helper::{ContainerOrder, Files};
use super::lifecycle::{Exit, State};
use super::mounts::{self, Mount};
use super::pod_files::ContainerFiles;
use super::pod_worker::{Note, PodWorker};
use super::probe::{ProbeKind, Rhythm, Tracker};
use super::prober::{self, Question, Respondent};
use super::reach::Running;
use super::sandbox::Sandbox;
use super::volumes;

/// Between tries to make what only needs another object to appear.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(2);
const PULL_FIRST: SignedDuration = SignedDuration::from_secs(10);
const PULL_LONGEST: SignedDuration = SignedDuration::from_secs(300);
/// The API's default; a file there would need a copy of `/dev`, so it is not offered.
const DEFAULT_MESSAGE_PATH: &str = "/dev/termination-log";
const MESSAGE_MAX: usize = 4096;
/// How long a `postStart` hook may take, which the API leaves open.
const HOOK_LIMIT: Duration = Duration::from_mins(10);

/// Why a container was not started.
enum Refusal {
    /// It waits; the reason is shown as the container's state.
    Wait { reason: &'static str, message: String, event: &'static str },
    /// The runtime tried and failed: the run is over before it began.
    Failed(String),
}

impl PodWorker {
    /// Starts a container or notes why not. `true` if its record changed so that decisions are due again.
    pub(super) async fn start_container(&mut self, index: usize) -> bool {
        let image_name = self.specs[index].image.clone().unwrap_or_default();
        if let Err(refusal) = self.prepare_pod().await {
            return self.refused(index, refusal);
        }
        let Some(image) = self.node.config.catalogue.find(&image_name).cloned() else {
            self.cannot_pull(index, &image_name).await;
            return false;
        };
        self.live[index].pull_failures = 0;
        match self.launch(index, &image).await {
            Ok(()) => true,
            Err(refusal) => self.refused(index, refusal),
        }
    }

    fn refused(&mut self, index: usize, refusal: Refusal) -> bool {
        match refusal {
            Refusal::Wait { reason, message, event } => {
                self.event(Some(index), Level::Warning, event, message.clone());
                let shown = (event == "Failed").then_some(message);
                self.wait(index, reason, shown, Timestamp::now() + TRY_AGAIN);
                false
            }
            Refusal::Failed(message) => {
                self.event(Some(index), Level::Warning, "Failed", format!("Error: {message}"));
                self.new_run(index);
                let record = &mut self.records[index];
                record.state = State::Exited(Exit {
                    code: 128,
                    reason: "StartError".into(),
                    message: Some(message),
                    started: Timestamp::UNIX_EPOCH,
                    finished: Timestamp::now(),
                    container_id: record.container_id.clone().unwrap_or_default(),
                });
                true
            }
        }
    }

    fn wait(&mut self, index: usize, reason: &str, message: Option<String>, until: Timestamp) {
        let record = &mut self.records[index];
        if let State::Exited(exit) = &record.state {
            record.last = Some(exit.clone());
        }
        record.state = State::Waiting { reason: reason.into(), message };
        record.hold_until = Some(until);
    }

    /// Counts a new run; what was before becomes the last state.
    fn new_run(&mut self, index: usize) {
        let uid = self.identity().2.to_owned();
        let record = &mut self.records[index];
        if record.container_id.is_some() {
            record.restarts += 1;
        }
        if let State::Exited(exit) = &record.state {
            record.last = Some(exit.clone());
        }
        record.container_id = Some(format!("processes://{uid}-{}-{}", record.name, record.restarts));
        record.back_off = None;
        record.hold_until = None;
        record.started = false;
        record.ready = false;
        let live = &mut self.live[index];
        live.run += 1;
        live.stop_by = None;
    }

    async fn cannot_pull(&mut self, index: usize, image: &str) {
        let never = self.specs[index].image_pull_policy.as_deref() == Some("Never");
        if never {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            self.event(Some(index), Level::Warning, "ErrImageNeverPull", message.clone());
            self.wait(index, "ErrImageNeverPull", Some(message), Timestamp::now() + PULL_FIRST);
            return;
        }
        let known: Vec<&str> =
            self.node.config.catalogue.images.iter().map(|image| image.image.as_str()).collect();
        let message =
            format!("image {image:?} is not in the node's image catalogue, which has {}", known.join(", "));
        let failures = self.live[index].pull_failures;
        let delay = (PULL_FIRST * 2_i32.saturating_pow(failures.min(5))).min(PULL_LONGEST);
        self.live[index].pull_failures = failures.saturating_add(1);
        let until = Timestamp::now() + delay;
        self.event(Some(index), Level::Normal, "Pulling", format!("Pulling image {image:?}"));
        self.event(
            Some(index),
            Level::Warning,
            "Failed",
            format!("Failed to pull image {image:?}: {message}"),
        );
        self.event(Some(index), Level::Warning, "Failed", "Error: ErrImagePull");
        self.wait(index, "ErrImagePull", Some(message.clone()), until);
        // Both states can be seen, as on a node.
        self.publish().await;
        self.event(Some(index), Level::Normal, "BackOff", format!("Back-off pulling image {image:?}"));
        self.event(Some(index), Level::Warning, "Failed", "Error: ImagePullBackOff");
        let shown = format!("Back-off pulling image {image:?}: ErrImagePull: {message}");
        self.wait(index, "ImagePullBackOff", Some(shown), until);
    }

    /// Volumes and network, once for each pod.
    async fn prepare_pod(&mut self) -> Result<(), Refusal> {
        let creating = |event| move |message| Refusal::Wait { reason: "ContainerCreating", message, event };
        let host_network = self.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        if self.sandbox.is_none() && !host_network {
            self.make_sandbox().await.map_err(creating("FailedCreatePodSandBox"))?;
        }
        if !self.around.sandbox {
            let address =
                self.sandbox.as_ref().map_or(self.node.config.network.node_address(), |s| s.address);
            self.facts.pod_ip = address.to_string();
            self.around.pod_ip = Some(address.to_string());
            let door = self.sandbox.as_ref().map(Sandbox::door);
            self.node.reach.open(self.identity().2, address, door);
            let resolver = super::hosts::resolver_file(self.identity().0, &self.node.config.cluster_domain);
            let written = self.files.write_etc(&self.hostname(), &resolver);
            written.map_err(|error| creating("FailedCreatePodSandBox")(error.to_string()))?;
            self.write_hosts();
            self.around.sandbox = true;
        }
        if self.volumes.is_none() {
            let made =
                volumes::prepare(&self.node.client, &self.pod, &self.facts, &self.files.volumes()).await;
            self.volumes = Some(made.map_err(creating("FailedMount"))?);
        }
        Ok(())
    }

    async fn make_sandbox(&mut self) -> Result<(), String> {
        let node = &self.node;
        let address = node.addresses.take().ok_or("no pod address is free")?;
        let octets = address.octets();
        let link = format!("veth{:02x}{:02x}{:02x}", octets[1], octets[2], octets[3]);
        let made = Sandbox::create(
            &node.spawner,
            &node.config.helper,
            &node.links,
            &node.config.network,
            &link,
            address,
        );
        match made.await {
            Ok(sandbox) => self.sandbox = Some(sandbox),
            Err(error) => {
                node.addresses.release(address);
                return Err(format!("Failed to create pod sandbox: {error}"));
            }
        }
        Ok(())
    }

    /// The pod's host name.
    fn hostname(&self) -> String {
        let stated = self.pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
        let name = stated.unwrap_or_else(|| self.identity().1.to_owned());
        name.chars().take(63).collect()
    }

    /// Brings the hosts file up to date.
    pub(super) fn write_hosts(&mut self) {
        let Ok(address) = self.facts.pod_ip.parse() else { return };
        let domain = &self.node.config.cluster_domain;
        let (namespace, _, _) = self.identity();
        let hostname = self.hostname();
        let subdomain = self.pod.spec.as_ref().and_then(|spec| spec.subdomain.clone());
        let full = subdomain.map(|subdomain| format!("{hostname}.{subdomain}.{namespace}.svc.{domain}"));
        let own = [(address, full.into_iter().chain([hostname]).collect())];
        let aliases = self.pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
        let aliases: Vec<_> =
            aliases.map(|alias| (alias.ip.clone(), alias.hostnames.clone().unwrap_or_default())).collect();
        let services = self.node.services.borrow().hosts(Some(namespace), domain);
        let text = super::hosts::pod_file(&own, &aliases, &services);
        if let Err(error) = self.files.write_hosts(&text) {
            tracing::warn!(pod = self.identity().1, %error, "the pod's hosts file could not be written");
        }
    }

    async fn launch(&mut self, index: usize, image: &Image) -> Result<(), Refusal> {
        let spec = self.specs[index].clone();
        let config = |message: String| Refusal::Wait {
            reason: "CreateContainerConfigError",
            message,
            event: "Failed",
        };
        let sources = self.sources(index).await.map_err(config)?;
        let links = self.pod.spec.as_ref().is_none_or(|spec| spec.enable_service_links != Some(false));
        let services = self.node.services.borrow().variables(self.identity().0, links);
        let variables = environment::variables(&spec, &self.pod, &services, &sources, &self.facts);
        let variables = variables.map_err(|error: ConfigError| config(error.to_string()))?;
        let files = self.files.container(&spec.name).map_err(|error| config(error.to_string()))?;
        files.write_scripts(image.scripts.iter()).map_err(|error| config(error.to_string()))?;
        let argv = environment::command_line(&spec, image, &variables);
        let mounts = self.mounts(index, image, &variables, &files).map_err(config)?;
        let scripts = files.scripts().to_string_lossy().into_owned();
        let scripts = (!image.scripts.is_empty()).then_some(scripts);
        let env = environment::with_image(variables, image, scripts.as_deref(), &self.hostname());
        let working_dir = spec.working_dir.clone().map(PathBuf::from).or_else(|| image.working_dir.clone());
        let (terminal, stdin) = (spec.tty == Some(true), spec.stdin == Some(true));
        let order = ContainerOrder {
            sandbox: self.sandbox.as_ref().and_then(Sandbox::process),
            hostname: self.hostname(),
            mounts,
            staging: files.staging(),
            argv,
            env: env.into_iter().chain(terminal.then(|| ("TERM".into(), "xterm".into()))).collect(),
            working_dir: working_dir.unwrap_or_else(|| "/".into()),
            init: image.init,
            files: Files { terminal, stdin, ..Files::default() },
        };
        self.event(Some(index), Level::Normal, "Pulled", pulled(spec.image.as_deref()));
        self.event(Some(index), Level::Normal, "Created", format!("Created container: {}", spec.name));
        self.execute(index, image, order).await
    }

    async fn execute(&mut self, index: usize, image: &Image, order: ContainerOrder) -> Result<(), Refusal> {
        let next = self.records[index].restarts + i32::from(self.records[index].container_id.is_some());
        let name = self.specs[index].name.clone();
        let log = self.node.logs.begin(self.identity(), &name, next);
        let log =
            log.map_err(|error| Refusal::Failed(format!("cannot write the container's log: {error}")))?;
        let run = self.live[index].run + 1;
        let note = self.note.clone();
        let ended = move |code| {
            // Nobody listens when the kubelet ends.
            let _ = note.send(Note::Exited { index, run, code });
        };
        let (spawner, helper) = (self.node.spawner.clone(), self.node.config.helper.clone());
        let container =
            Container::start(&spawner, &helper, order, log.clone(), ended).await.map_err(Refusal::Failed)?;
        self.new_run(index);
        let record = &mut self.records[index];
        record.state = State::Running { since: Timestamp::now() };
        record.image_id = format!("processes://{}", image.image);
        let order = container.exec_order(Vec::new());
        let place = Place { spawner, helper, order };
        let once = self.specs[index].stdin_once == Some(true);
        let own = Own { run: log.clone(), input: container.input.clone(), once };
        self.node.reach.started(self.identity().2, &name, Running { place, own });
        self.live[index].container = Some(container);
        self.live[index].log = Some(log);
        self.event(Some(index), Level::Normal, "Started", format!("Started container {name}"));
        self.post_start(index);
        match self.specs[index].startup_probe.clone() {
            Some(probe) => self.probe(index, ProbeKind::Startup, &probe),
            None => self.began(index),
        }
        Ok(())
    }

    async fn sources(&self, index: usize) -> Result<Sources, String> {
        let (maps, secrets) = environment::needed(&self.specs[index]);
        let mut sources = Sources::default();
        let (client, namespace) = (&self.node.client, self.identity().0);
        for name in maps {
            let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(&name).await;
            sources.config_maps.extend(found.map_err(|error| error.to_string())?.map(|map| (name, map)));
        }
        for name in secrets {
            let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(&name).await;
            sources.secrets.extend(found.map_err(|error| error.to_string())?.map(|secret| (name, secret)));
        }
        Ok(sources)
    }

    fn mounts(
        &self,
        index: usize,
        image: &Image,
        env: &BTreeMap<String, String>,
        files: &ContainerFiles,
    ) -> Result<Vec<Mount>, String> {
        let spec = &self.specs[index];
        let empty = BTreeMap::new();
        let volumes = self.volumes.as_ref().unwrap_or(&empty);
        let mut all = volumes::mounts(spec, volumes, env)?;
        for mount in self.files.etc_mounts() {
            if !all.iter().any(|other| other.target == mount.target) {
                all.push(mount);
            }
        }
        if !all.iter().any(|mount| mount.target == Path::new("/tmp")) {
            all.push(Mount { target: "/tmp".into(), source: files.tmp(), read_only: false });
        }
        let needed = image.path_prepend.iter().map(|path| installation(path));
        let needed = needed.chain(image.programs.values().cloned());
        let needed = needed.chain(self.node.config.visible.iter().cloned()).chain([files.scripts()]);
        let hidden = mounts::hidden(&all, needed.filter(|path| path.exists()));
        all.extend(hidden);
        if let Some(path) =
            spec.termination_message_path.as_deref().filter(|path| *path != DEFAULT_MESSAGE_PATH)
        {
            let source = self.files.termination_message(&spec.name);
            std::fs::write(&source, "").map_err(|error| error.to_string())?;
            all.push(Mount { target: path.into(), source, read_only: false });
        }
        Ok(all)
    }

    /// What a container says about its end.
    pub(super) fn termination_message(&self, index: usize, code: i32) -> Option<String> {
        let spec = &self.specs[index];
        let bytes = std::fs::read(self.files.termination_message(&spec.name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MESSAGE_MAX)]).into_owned();
        if !text.is_empty() {
            return Some(text);
        }
        let fall_back =
            spec.termination_message_policy.as_deref() == Some("FallbackToLogsOnError") && code != 0;
        let log = self.live[index].log.as_ref().filter(|_| fall_back)?;
        Some(log.tail(80, 2048)).filter(|tail| !tail.is_empty())
    }

    /// The container counts as started: readiness and liveness are asked from now on.
    pub(super) fn began(&mut self, index: usize) {
        let spec = self.specs[index].clone();
        let record = &mut self.records[index];
        record.started = true;
        record.ready = spec.readiness_probe.is_none();
        if let Some(probe) = &spec.readiness_probe {
            self.probe(index, ProbeKind::Readiness, probe);
        }
        if let Some(probe) = &spec.liveness_probe {
            self.probe(index, ProbeKind::Liveness, probe);
        }
    }

    /// Whom probes and hooks of a running container ask.
    pub(super) fn respondent(&self, index: usize) -> Option<Respondent> {
        let container = self.live[index].container.as_ref()?;
        Some(Respondent {
            spawner: self.node.spawner.clone(),
            helper: self.node.config.helper.clone(),
            exec: container.exec_order(Vec::new()),
            address: self.facts.pod_ip.parse().ok()?,
            spec: self.specs[index].clone(),
        })
    }

    fn probe(&mut self, index: usize, kind: ProbeKind, probe: &Probe) {
        let Some(whom) = self.respondent(index) else { return };
        let (rhythm, question) = (Rhythm::from(probe), Question::from(probe));
        let (note, run) = (self.note.clone(), self.live[index].run);
        let (events, pod, name) =
            (self.node.events.clone(), self.pod.clone(), self.specs[index].name.clone());
        let mut tracker = Tracker::new(rhythm);
        self.live[index].tasks.spawn(async move {
            tokio::time::sleep(rhythm.initial_delay).await;
            let mut tick = tokio::time::interval(rhythm.period);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            let mut last = None;
            loop {
                tick.tick().await;
                let answer = prober::ask(&question, &whom, rhythm.timeout).await;
                if let Err(message) = &answer {
                    let message = format!("{} probe failed: {message}", kind.name());
                    events.pod(
                        &pod,
                        Some(&format!("spec.containers{{{name}}}")),
                        Level::Warning,
                        "Unhealthy",
                        message,
                    );
                }
                let result = tracker.observe(answer.is_ok());
                if let Some(ok) = result
                    && result != last
                {
                    last = result;
                    let _ = note.send(Note::Probed { index, run, kind, ok });
                    if kind == ProbeKind::Startup {
                        return;
                    }
                }
            }
        });
    }

    fn post_start(&mut self, index: usize) {
        let hook = self.specs[index].lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        let (Some(question), Some(whom)) = (hook.map(Question::from), self.respondent(index)) else { return };
        let (note, run) = (self.note.clone(), self.live[index].run);
        self.live[index].tasks.spawn(async move {
            if let Err(message) = prober::ask(&question, &whom, HOOK_LIMIT).await {
                let message = format!("PostStartHook failed: {message}");
                let _ = note.send(Note::HookFailed { index, run, message });
            }
        });
    }
}

/// The directory of which `bin` is a part: a Python environment is useless without its `lib`.
fn installation(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| path.ends_with("bin") && *parent != Path::new("/tmp"));
    parent.unwrap_or(path).to_owned()
}

fn pulled(image: Option<&str>) -> String {
    format!("Container image {:?} already present on machine", image.unwrap_or_default())
}
