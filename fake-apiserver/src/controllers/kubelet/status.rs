//! The status a kubelet reports, from the state of a pod's containers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::object::{Says, object_mut, set_condition, text, time};
use super::stage::{Container, Containers, RestartPolicy, State, Termination};

/// What is known of a pod besides its containers.
pub(crate) struct Facts<'a> {
    pub host_ip: &'a str,
    pub pod_ip: Option<String>,
    pub started: Timestamp,
    /// Message of the eviction.
    pub evicted: Option<&'a str>,
    /// The pod's readiness gates are all true.
    pub gates_open: bool,
}

/// Phase of a pod, by the rules of the kubelet's `getPhase`.
pub(crate) fn phase(containers: &Containers, evicted: bool) -> &'static str {
    if evicted || containers.init.iter().any(Container::failed) {
        return "Failed";
    }
    if !containers.initialized() || containers.main.iter().any(|c| is_waiting(c) && c.last.is_none()) {
        return "Pending";
    }
    if containers.main.iter().all(|c| c.state == State::Completed) {
        return if containers.main.iter().all(Container::succeeded) { "Succeeded" } else { "Failed" };
    }
    "Running"
}

fn is_waiting(container: &Container) -> bool {
    !matches!(container.state, State::Running | State::Ended | State::Completed)
}

/// Writes everything the kubelet reports into `status`.
pub(crate) fn write(status: &mut Value, containers: &Containers, facts: &Facts<'_>, now: Timestamp) {
    let phase = phase(containers, facts.evicted.is_some());
    let ended = matches!(phase, "Succeeded" | "Failed");
    let map = object_mut(status);
    map.insert("phase".into(), phase.into());
    map.insert("hostIP".into(), facts.host_ip.into());
    map.insert("hostIPs".into(), json!([{"ip": facts.host_ip}]));
    map.insert("startTime".into(), time(facts.started).into());
    if let Some(ip) = &facts.pod_ip {
        map.insert("podIP".into(), ip.as_str().into());
        map.insert("podIPs".into(), json!([{"ip": ip}]));
    }
    if let Some(message) = facts.evicted {
        map.insert("reason".into(), "Evicted".into());
        map.insert("message".into(), message.into());
    }
    let initialized = containers.initialized();
    if !containers.init.is_empty() {
        let statuses: Vec<Value> = containers.init.iter().map(|c| container(c, initialized, true)).collect();
        map.insert("initContainerStatuses".into(), statuses.into());
    }
    let statuses: Vec<Value> = containers.main.iter().map(|c| container(c, initialized, false)).collect();
    map.insert("containerStatuses".into(), statuses.into());
    if !containers.ephemeral.is_empty() {
        let statuses: Vec<Value> = containers.ephemeral.iter().map(ephemeral).collect();
        map.insert("ephemeralContainerStatuses".into(), statuses.into());
    }
    conditions(status, containers, facts, phase, ended, now);
}

fn conditions(
    status: &mut Value,
    containers: &Containers,
    facts: &Facts<'_>,
    phase: &str,
    ended: bool,
    now: Timestamp,
) {
    let mut set = |kind: &str, holds: bool, reason: &str, message: &str| {
        let says = Says { kind, status: if holds { "True" } else { "False" }, reason, message };
        set_condition(status, says, now);
    };
    set("PodReadyToStartContainers", facts.pod_ip.is_some() && !ended, "", "");
    let why_ended = if phase == "Succeeded" { "PodCompleted" } else { "PodFailed" };
    let incomplete = names(containers.init.iter().filter(|c| !c.succeeded() && !is_started_sidecar(c)));
    if incomplete.is_empty() || (ended && facts.evicted.is_none()) {
        set("Initialized", true, if phase == "Succeeded" { why_ended } else { "" }, "");
    } else {
        let message = format!("containers with incomplete status: [{incomplete}]");
        set("Initialized", false, "ContainersNotInitialized", &message);
    }
    let unready = names(containers.main.iter().filter(|c| !c.ready));
    if ended {
        set("Ready", false, why_ended, "");
        set("ContainersReady", false, why_ended, "");
    } else if unready.is_empty() {
        if facts.gates_open {
            set("Ready", true, "", "");
        } else {
            set(
                "Ready",
                false,
                "ReadinessGatesNotReady",
                "corresponding condition of pod readiness gate does not exist.",
            );
        }
        set("ContainersReady", true, "", "");
    } else {
        let message = format!("containers with unready status: [{unready}]");
        set("Ready", false, "ContainersNotReady", &message);
        set("ContainersReady", false, "ContainersNotReady", &message);
    }
    set("PodScheduled", true, "", "");
}

fn is_started_sidecar(container: &Container) -> bool {
    container.policy == RestartPolicy::Always && container.state == State::Running
}

fn names<'a>(containers: impl Iterator<Item = &'a Container>) -> String {
    containers.map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// One ContainerStatus.
fn container(container: &Container, initialized: bool, init: bool) -> Value {
    let begun = container.run_id > 0;
    let (state, last) = match container.state {
        State::Running => (
            json!({"running": {"startedAt": time(container.since)}}),
            terminated(container.last.as_ref(), container),
        ),
        State::Ended | State::Completed => (
            terminated(container.last.as_ref(), container),
            terminated(container.before_last.as_ref(), container),
        ),
        _ => (
            json!({"waiting": waiting(container, initialized, init)}),
            terminated(container.last.as_ref(), container),
        ),
    };
    let running = container.state == State::Running;
    let ready = if init && container.policy != RestartPolicy::Always {
        container.succeeded()
    } else {
        container.ready
    };
    let mut status = json!({
        "name": container.name, "image": container.image, "restartCount": container.restarts,
        "imageID": if begun { image_id(&container.image) } else { String::new() },
        "ready": ready, "started": running, "state": state, "lastState": last,
    });
    if begun {
        status["containerID"] = container_id(container.run_id).into();
    }
    status
}

/// Nobody asks whether such a container is ready.
fn ephemeral(of: &Container) -> Value {
    let mut status = container(of, true, false);
    status["ready"] = false.into();
    if let Some(status) = status.as_object_mut() {
        status.remove("started");
    }
    status
}

fn waiting(container: &Container, initialized: bool, init: bool) -> Value {
    let (reason, message) = match container.state {
        State::PullFailed => {
            ("ErrImagePull", format!("failed to pull and unpack image {:?}", container.image))
        }
        State::PullBackOff => ("ImagePullBackOff", format!("Back-off pulling image {:?}", container.image)),
        State::CrashBackOff => {
            let wait = super::stage::back_off(container.restarts);
            let wait = if wait.as_secs() >= 60 {
                format!("{}m{}s", wait.as_secs() / 60, wait.as_secs() % 60)
            } else {
                format!("{}s", wait.as_secs())
            };
            ("CrashLoopBackOff", format!("back-off {wait} restarting failed container={}", container.name))
        }
        _ if !initialized && !init => ("PodInitializing", String::new()),
        _ if init => ("PodInitializing", String::new()),
        _ => ("ContainerCreating", String::new()),
    };
    if message.is_empty() { json!({"reason": reason}) } else { json!({"reason": reason, "message": message}) }
}

fn terminated(end: Option<&Termination>, container: &Container) -> Value {
    let Some(end) = end else { return json!({}) };
    let reason = match (end.start_error, end.code) {
        (true, 127) => "ContainerCannotRun",
        (true, _) => "StartError",
        (false, 0) => "Completed",
        (false, _) => "Error",
    };
    let started = if end.start_error { Timestamp::UNIX_EPOCH } else { end.started };
    let mut value = json!({
        "exitCode": end.code, "reason": reason, "startedAt": time(started), "finishedAt": time(end.finished),
        "containerID": container_id(end.container_id),
    });
    if end.start_error {
        let words = "failed to create containerd task: failed to create shim task: OCI runtime create failed: exec failed";
        value["message"] = format!("{words}: {}", container.name).into();
    }
    json!({ "terminated": value })
}

/// An identity as containerd writes it; the number tells runs apart.
pub(crate) fn container_id(number: u64) -> String {
    format!("containerd://{number:064x}")
}

/// A digest that depends on nothing but the image's name.
fn image_id(image: &str) -> String {
    use std::fmt::Write as _;
    let mut digest = String::with_capacity(64);
    for part in 0..4_u8 {
        let hash = image.bytes().chain([part]).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let _ = write!(digest, "{hash:016x}");
    }
    let name = image.split('@').next().unwrap_or(image);
    let tag = name.rfind(':').filter(|at| !name[*at..].contains('/')).unwrap_or(name.len());
    format!("{}@sha256:{digest}", &name[..tag])
}

/// `qosClass` from the containers' requests and limits.
pub(crate) fn qos_class(pod: &Value) -> &'static str {
    let containers = super::super::object::items(&pod["spec"]["containers"]);
    let given = |c: &Value, list: &str| c["resources"][list].as_object().is_some_and(|m| !m.is_empty());
    if containers.iter().all(|c| !given(c, "requests") && !given(c, "limits")) {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|c| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = text(&c["resources"]["limits"][*name]);
            let request = c["resources"]["requests"][*name].as_str().unwrap_or(limit);
            !limit.is_empty() && limit == request
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}
