//! A pod's status from what its containers do. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::lifecycle::{Exit, Record, RestartPolicy, Role, State};

/// What is known of the pod beside its containers.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) pod_ip: Option<String>,
    pub(super) host_ip: String,
    pub(super) start_time: Option<Timestamp>,
    /// The sandbox exists.
    pub(super) sandbox: bool,
    /// The pod is over, by this verdict of the kubelet.
    pub(super) verdict: Option<Verdict>,
    /// The pod is being deleted and nothing runs any more.
    pub(super) ended: bool,
}

/// The kubelet ended the pod itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For instance `DeadlineExceeded`.
    pub(super) reason: String,
    /// For people.
    pub(super) message: String,
}

/// The whole status. `pod` gives readiness gates, the previous conditions and what others wrote among them.
pub(super) fn render(pod: &Pod, records: &[Record], around: &Surroundings, now: Timestamp) -> PodStatus {
    let spec = pod.spec.as_ref();
    let policy = RestartPolicy::from(spec.and_then(|spec| spec.restart_policy.as_deref()));
    let phase = phase(records, policy, around);
    let terminal = matches!(phase, "Succeeded" | "Failed");
    let of = |roles: &[Role]| -> Vec<ContainerStatus> {
        let chosen = records.iter().filter(|record| roles.contains(&record.role));
        chosen.map(|record| container(record, terminal)).collect()
    };
    let (init, ephemeral) = (of(&[Role::Init, Role::Sidecar]), of(&[Role::Ephemeral]));
    PodStatus {
        phase: Some(phase.into()),
        reason: around.verdict.as_ref().map(|verdict| verdict.reason.clone()),
        message: around.verdict.as_ref().map(|verdict| verdict.message.clone()),
        conditions: Some(conditions(pod, records, around, phase, now)),
        container_statuses: Some(of(&[Role::Main])),
        init_container_statuses: (!init.is_empty()).then_some(init),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        host_ip: Some(around.host_ip.clone()),
        host_ips: Some(vec![HostIP { ip: around.host_ip.clone() }]),
        pod_ip: around.pod_ip.clone(),
        pod_ips: around.pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        qos_class: Some(qos(pod).into()),
        start_time: around.start_time.map(Time),
        ..PodStatus::default()
    }
}

/// `getPhase` of the kubelet.
fn phase(records: &[Record], policy: RestartPolicy, around: &Surroundings) -> &'static str {
    if around.verdict.is_some() {
        return "Failed";
    }
    let main = || records.iter().filter(|record| record.role == Role::Main);
    let exits = || main().map(|record| record.exit());
    if around.ended {
        let failed = exits().any(|exit| exit.is_none_or(|exit| exit.code != 0));
        return if failed { "Failed" } else { "Succeeded" };
    }
    let began = main().any(|record| record.container_id.is_some());
    let init_failed = records
        .iter()
        .any(|record| record.role == Role::Init && record.exit().is_some_and(|exit| exit.code != 0));
    if !began {
        return if init_failed && policy == RestartPolicy::Never { "Failed" } else { "Pending" };
    }
    let waiting = main().any(|record| matches!(record.state, State::Waiting { .. }) && record.last.is_none());
    if waiting {
        return "Pending";
    }
    let all_exited = exits().all(|exit| exit.is_some());
    let sidecars_run = records.iter().any(|record| record.role == Role::Sidecar && record.running());
    if !all_exited || sidecars_run {
        return "Running";
    }
    let all_succeeded = exits().all(|exit| exit.is_some_and(|exit| exit.code == 0));
    match policy {
        RestartPolicy::Always => "Running",
        _ if all_succeeded => "Succeeded",
        RestartPolicy::Never => "Failed",
        RestartPolicy::OnFailure => "Running",
    }
}

fn container(record: &Record, terminal: bool) -> ContainerStatus {
    let mut last = record.last.as_ref();
    let state = match (&record.state, &record.back_off) {
        (State::Exited(exit), Some(message)) if !terminal => {
            last = Some(exit);
            waiting("CrashLoopBackOff", Some(message))
        }
        (State::Exited(exit), _) => {
            ContainerState { terminated: Some(terminated(exit)), ..ContainerState::default() }
        }
        (State::Waiting { reason, message }, _) => waiting(reason, message.as_deref()),
        (State::Running { since }, _) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
            ..ContainerState::default()
        },
    };
    let done = record.role == Role::Init && record.exit().is_some_and(|exit| exit.code == 0);
    ContainerStatus {
        name: record.name.clone(),
        image: record.image.clone(),
        image_id: record.image_id.clone(),
        container_id: record.container_id.clone(),
        state: Some(state),
        last_state: Some(last.map_or_else(ContainerState::default, |exit| ContainerState {
            terminated: Some(terminated(exit)),
            ..ContainerState::default()
        })),
        // Nobody asks whether an ephemeral container is ready.
        ready: done || (record.running() && record.ready && record.role != Role::Ephemeral),
        started: (record.role != Role::Ephemeral).then_some(record.running() && record.started),
        restart_count: record.restarts,
        ..ContainerStatus::default()
    }
}

fn waiting(reason: &str, message: Option<&str>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message: message.map(Into::into) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(exit: &Exit) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: exit.code,
        // containerd reports a signal as 128 plus its number and leaves this empty.
        signal: None,
        reason: Some(exit.reason.clone()),
        message: exit.message.clone(),
        started_at: Some(Time(exit.started)),
        finished_at: Some(Time(exit.finished)),
        container_id: Some(exit.container_id.clone()),
    }
}

/// Why a condition is false.
type Because = Option<(&'static str, String)>;

fn conditions(
    pod: &Pod,
    records: &[Record],
    around: &Surroundings,
    phase: &str,
    now: Timestamp,
) -> Vec<PodCondition> {
    let unready: Vec<&str> = records
        .iter()
        .filter(|r| matches!(r.role, Role::Main | Role::Sidecar) && !(r.running() && r.ready))
        .map(|r| r.name.as_str())
        .collect();
    let waiting_init: Vec<&str> = records
        .iter()
        .filter(|record| match record.role {
            Role::Init => record.exit().is_none_or(|exit| exit.code != 0),
            Role::Sidecar => !record.started,
            Role::Main | Role::Ephemeral => false,
        })
        .map(|record| record.name.as_str())
        .collect();
    let main_began = records.iter().any(|r| r.role == Role::Main && r.container_id.is_some());
    let initialized: Because = if main_began || waiting_init.is_empty() {
        None
    } else {
        Some((
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{}]", waiting_init.join(" ")),
        ))
    };
    let containers: Because = match phase {
        "Succeeded" => Some(("PodCompleted", String::new())),
        "Failed" => Some(("PodFailed", String::new())),
        _ if unready.is_empty() => None,
        _ => Some(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))),
    };
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let shut: Vec<&str> =
        gates.map(|gate| gate.condition_type.as_str()).filter(|gate| !is_true(pod, gate)).collect();
    let ready: Because = match (&containers, shut.is_empty()) {
        (None, false) => Some((
            "ReadinessGatesNotReady",
            format!("the status of pod readiness gates is not \"True\": [{}]", shut.join(" ")),
        )),
        _ => containers.clone(),
    };
    let sandbox: Because = (!around.sandbox).then(|| ("", String::new()));
    let rows = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", None),
    ];
    let rows = rows.into_iter().map(|(kind, because)| condition(pod, kind, because.as_ref(), now));
    rows.collect()
}

fn condition(pod: &Pod, kind: &str, because: Option<&(&str, String)>, now: Timestamp) -> PodCondition {
    let status = if because.is_none() { "True" } else { "False" };
    let old = previous(pod, kind).filter(|old| old.status == status);
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    PodCondition {
        type_: kind.into(),
        status: status.into(),
        reason: because.and_then(|(reason, _)| text(reason)),
        message: because.and_then(|(_, message)| text(message)),
        last_transition_time: old.and_then(|old| old.last_transition_time.clone()).or(Some(Time(now))),
        ..PodCondition::default()
    }
}

fn previous<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn is_true(pod: &Pod, kind: &str) -> bool {
    previous(pod, kind).is_some_and(|condition| condition.status == "True")
}

/// `GetPodQOS`: Guaranteed if every container limits CPU and memory to what it requests.
pub(super) fn qos(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        let resources = container.resources.as_ref();
        for name in ["cpu", "memory"] {
            let of = |limits: bool| {
                let resources = resources?;
                let map = if limits { resources.limits.as_ref() } else { resources.requests.as_ref() };
                crate::quantity::milli(&map?.get(name)?.0).filter(|&value| value != 0)
            };
            let (limit, request) = (of(true), of(false));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
