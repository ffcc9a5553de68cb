use super::*;
use serde_json::json;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn pod(policy: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"restartPolicy": policy, "containers": [{"name": "c"}]}
    }))
    .unwrap()
}

fn exit(code: i32) -> Exit {
    let (started, finished) = (at(1), at(2));
    Exit { code, reason: "Error".into(), message: None, started, finished, container_id: "id".into() }
}

fn record(state: State) -> Record {
    let id = (!matches!(state, State::Waiting { .. })).then(|| "id".to_owned());
    Record {
        state,
        container_id: id,
        started: true,
        ready: true,
        ..Record::new("c", Role::Main, "busybox", false)
    }
}

fn seen(policy: &str, record: Record, around: &Surroundings) -> (String, String) {
    let status = render(&pod(policy), &[record], around, at(9));
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").unwrap();
    (status.phase.unwrap(), ready.reason.clone().unwrap_or_default())
}

#[test]
fn the_phase_follows_the_containers_and_the_restart_policy() {
    let around = Surroundings::default();
    let waiting = State::Waiting { reason: "ContainerCreating".into(), message: None };
    let phase = |policy, state| seen(policy, record(state), &around);
    let both = |phase: &str, reason: &str| (phase.to_owned(), reason.to_owned());
    assert_eq!(phase("Always", waiting), both("Pending", "ContainersNotReady"));
    assert_eq!(phase("Always", State::Running { since: at(1) }), both("Running", ""));
    assert_eq!(phase("Always", State::Exited(exit(1))), both("Running", "ContainersNotReady"));
    assert_eq!(phase("Never", State::Exited(exit(1))), both("Failed", "PodFailed"));
    assert_eq!(phase("OnFailure", State::Exited(exit(0))), both("Succeeded", "PodCompleted"));
}

#[test]
fn a_container_in_back_off_shows_its_end_as_its_last_state() {
    let mut crashed = record(State::Exited(exit(3)));
    crashed.back_off = Some("back-off 10s".into());
    let status = render(&pod("Always"), &[crashed], &Surroundings::default(), at(9));
    let container = &status.container_statuses.unwrap()[0];
    let state = container.state.clone().unwrap();
    assert_eq!(state.waiting.unwrap().reason.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(container.last_state.clone().unwrap().terminated.unwrap().exit_code, 3);
    assert!(!container.ready);
}

#[test]
fn a_deleted_pod_ends_in_a_terminal_phase() {
    let around = Surroundings { ended: true, ..Surroundings::default() };
    assert_eq!(seen("Always", record(State::Exited(exit(143))), &around).0, "Failed");
    assert_eq!(seen("Always", record(State::Exited(exit(0))), &around).0, "Succeeded");
}

#[test]
fn a_condition_keeps_its_time_while_it_does_not_change() {
    let mut pod = pod("Always");
    let running = || [record(State::Running { since: at(1) })];
    pod.status = Some(render(&pod, &running(), &Surroundings::default(), at(5)));
    let later = render(&pod, &running(), &Surroundings::default(), at(50));
    let time = |status: &PodStatus, kind: &str| {
        let found = status.conditions.iter().flatten().find(|condition| condition.type_ == kind).unwrap();
        found.last_transition_time.clone().unwrap().0
    };
    assert_eq!(time(&later, "Ready"), at(5));
    let stopped = render(&pod, &[record(State::Exited(exit(1)))], &Surroundings::default(), at(60));
    assert_eq!(time(&stopped, "Ready"), at(60));
    assert_eq!(time(&stopped, "PodScheduled"), at(5));
}

#[test]
fn the_quality_of_service_class_follows_requests_and_limits() {
    let class = |resources: serde_json::Value| {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
        qos(&serde_json::from_value(pod).unwrap())
    };
    assert_eq!(class(json!({})), "BestEffort");
    assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
    let full = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(class(json!({"limits": full.clone()})), "Guaranteed");
    assert_eq!(class(json!({"limits": full, "requests": {"cpu": "500m"}})), "Burstable");
}

#[test]
fn an_ephemeral_container_has_a_list_of_its_own_and_does_not_count() {
    let main = record(State::Running { since: at(1) });
    let debug = Record::new("debug", Role::Ephemeral, "busybox", false);
    let around = Surroundings { sandbox: true, ..Surroundings::default() };
    let status = render(&pod("Always"), &[main, debug], &around, at(9));
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.status, "True");
    assert_eq!(status.container_statuses.unwrap().len(), 1);
    assert_eq!(status.ephemeral_container_statuses.unwrap()[0].name, "debug");
}
