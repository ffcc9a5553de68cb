//! Pods: what READY, STATUS and RESTARTS say.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use super::fields::{array, condition, created, deleting, name, number, or, text};

/// Restarts and the time of the last one.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += number(status, "/restartCount");
        self.last = self.last.max(text(status, "/lastState/terminated/finishedAt").parse().ok());
    }

    fn text(self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => format!("{} ({} ago)", self.count, age::between(last, now)),
            _ => self.count.to_string(),
        }
    }
}

/// What the init containers say.
struct Init {
    /// STATUS of a pod that still initialises.
    reason: Option<String>,
    restarts: Restarts,
    /// Of sidecars (init containers that restart always).
    sidecar_restarts: Restarts,
    ready_sidecars: usize,
}

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let sidecars = array(pod, "/spec/initContainers").iter().filter(|c| is_sidecar(c)).count();
    let total = array(pod, "/spec/containers").len() + sidecars;
    let init = init_containers(pod);
    let mut reason = or(text(pod, "/status/reason"), text(pod, "/status/phase")).to_owned();
    if array(pod, "/status/conditions")
        .iter()
        .any(|c| text(c, "/type") == "PodScheduled" && text(c, "/reason") == "SchedulingGated")
    {
        "SchedulingGated".clone_into(&mut reason);
    }
    let (mut restarts, mut ready) = (init.restarts, init.ready_sidecars);
    let initializing = init.reason.is_some();
    if let Some(init_reason) = init.reason {
        reason = init_reason;
    }
    if !initializing || condition(pod, "Initialized") {
        restarts = init.sidecar_restarts;
        let (containers_reason, running) = containers(pod, reason, &mut restarts);
        reason = containers_reason;
        ready += running;
    }
    if deleting(pod) {
        if text(pod, "/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut reason);
        }
    }
    vec![
        json!(name(pod)),
        json!(format!("{ready}/{total}")),
        json!(reason),
        json!(restarts.text(now)),
        json!(created(pod, now)),
        json!(or(text(pod, "/status/podIPs/0/ip"), "<none>")),
        json!(or(text(pod, "/spec/nodeName"), "<none>")),
        json!(or(text(pod, "/status/nominatedNodeName"), "<none>")),
        json!(readiness_gates(pod)),
    ]
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

fn init_containers(pod: &Value) -> Init {
    let specs = array(pod, "/spec/initContainers");
    let mut init = Init {
        reason: None,
        restarts: Restarts::default(),
        sidecar_restarts: Restarts::default(),
        ready_sidecars: 0,
    };
    for (at, status) in array(pod, "/status/initContainerStatuses").iter().enumerate() {
        let sidecar = specs.iter().any(|spec| name_of(spec) == name_of(status) && is_sidecar(spec));
        init.restarts.add(status);
        if sidecar {
            init.sidecar_restarts.add(status);
        }
        let terminated = status.pointer("/state/terminated").filter(|t| !t.is_null());
        if terminated.is_some_and(|t| number(t, "/exitCode") == 0) {
            continue;
        }
        if sidecar && status["started"] == true {
            init.ready_sidecars += usize::from(status["ready"] == true);
            continue;
        }
        let waiting = text(status, "/state/waiting/reason");
        init.reason = Some(match terminated {
            Some(terminated) => format!("Init:{}", termination(terminated)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{at}/{}", specs.len()),
        });
        break;
    }
    init
}

fn name_of(container: &Value) -> &str {
    text(container, "/name")
}

fn termination(terminated: &Value) -> String {
    match (text(terminated, "/reason"), number(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", number(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// STATUS and the number of ready containers; the first container's reason wins, so they are read from the last.
fn containers(pod: &Value, mut reason: String, restarts: &mut Restarts) -> (String, usize) {
    let (mut ready, mut error) = (0, None);
    for status in array(pod, "/status/containerStatuses").iter().rev() {
        restarts.add(status);
        let waiting = text(status, "/state/waiting/reason");
        let state = |kind: &str| status["state"].get(kind).filter(|state| !state.is_null());
        if !waiting.is_empty() {
            waiting.clone_into(&mut reason);
        } else if let Some(terminated) = state("terminated") {
            reason = termination(terminated);
            if number(terminated, "/exitCode") != 0 {
                error = Some(reason.clone());
            }
        } else if status["ready"] == true && state("running").is_some() {
            ready += 1;
        }
    }
    if reason == "Completed" {
        if ready > 0 && condition(pod, "Ready") {
            "Running".clone_into(&mut reason);
        } else if let Some(error) = error {
            reason = error;
        } else if ready > 0 {
            "NotReady".clone_into(&mut reason);
        }
    }
    (reason, ready)
}

fn readiness_gates(pod: &Value) -> String {
    let gates = array(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType"))).count();
    format!("{met}/{}", gates.len())
}

/// Rows of pods that have ended say so: `kubectl get --watch` and older clients fold them away.
pub(super) fn row_conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(pod, "/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}
