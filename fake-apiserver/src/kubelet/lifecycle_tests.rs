use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn records(roles: &[(&str, Role)]) -> Vec<Record> {
    roles.iter().map(|(name, role)| Record::new(name, *role, "busybox", false)).collect()
}

fn run(record: &mut Record) {
    if let State::Exited(exit) = &record.state {
        record.last = Some(exit.clone());
        record.restarts += 1;
    }
    record.state = State::Running { since: at(0) };
    record.container_id = Some("id".into());
    record.back_off = None;
    record.started = true;
}

fn exit(record: &mut Record, code: i32, when: i64) {
    record.state = State::Exited(Exit {
        code,
        reason: "Error".into(),
        message: None,
        started: at(0),
        finished: at(when),
        container_id: "id".into(),
    });
}

fn next(records: &mut [Record], policy: RestartPolicy, now: i64) -> Next {
    decide(records, policy, "p_ns(u)", at(now))
}

#[test]
fn init_containers_run_one_after_the_other_and_then_all_main_ones() {
    let mut all = records(&[("a", Role::Init), ("b", Role::Init), ("c", Role::Main), ("d", Role::Main)]);
    assert_eq!(next(&mut all, RestartPolicy::Always, 0).start, [0]);
    run(&mut all[0]);
    assert_eq!(next(&mut all, RestartPolicy::Always, 0), Next::default());
    exit(&mut all[0], 0, 1);
    assert_eq!(next(&mut all, RestartPolicy::Always, 1).start, [1]);
    exit(&mut all[1], 0, 2);
    assert_eq!(next(&mut all, RestartPolicy::Always, 2).start, [2, 3]);
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let mut all = records(&[("a", Role::Init), ("c", Role::Main)]);
    exit(&mut all[0], 1, 0);
    assert_eq!(next(&mut all, RestartPolicy::Never, 0).finished, Some(false));
    assert_eq!(next(&mut all, RestartPolicy::OnFailure, 0).start, [0]);
}

#[test]
fn a_sidecar_starts_before_the_next_container_and_ends_after_the_main_ones() {
    let mut all = records(&[("side", Role::Sidecar), ("c", Role::Main)]);
    assert_eq!(next(&mut all, RestartPolicy::Never, 0).start, [0]);
    run(&mut all[0]);
    assert_eq!(next(&mut all, RestartPolicy::Never, 0).start, [1]);
    run(&mut all[1]);
    exit(&mut all[1], 0, 5);
    let done = next(&mut all, RestartPolicy::Never, 5);
    assert_eq!((done.stop, done.finished), (vec![0], None));
    exit(&mut all[0], 143, 6);
    assert_eq!(next(&mut all, RestartPolicy::Never, 6).finished, Some(true));
}

#[test]
fn the_policy_decides_what_an_exit_means() {
    let outcome = |policy, code| {
        let mut all = records(&[("c", Role::Main)]);
        run(&mut all[0]);
        exit(&mut all[0], code, 1);
        let next = next(&mut all, policy, 1);
        (next.start.len(), next.finished)
    };
    assert_eq!(outcome(RestartPolicy::Always, 0), (1, None));
    assert_eq!(outcome(RestartPolicy::OnFailure, 0), (0, Some(true)));
    assert_eq!(outcome(RestartPolicy::OnFailure, 3), (1, None));
    assert_eq!(outcome(RestartPolicy::Never, 3), (0, Some(false)));
}

#[test]
fn a_second_failure_waits_and_says_so_once() {
    let mut all = records(&[("c", Role::Main)]);
    run(&mut all[0]);
    exit(&mut all[0], 1, 0);
    assert_eq!(next(&mut all, RestartPolicy::Always, 0).start, [0]);
    run(&mut all[0]);
    exit(&mut all[0], 1, 1);
    let waiting = next(&mut all, RestartPolicy::Always, 1);
    assert_eq!((waiting.backing_off, waiting.wake), (vec![0], Some(at(11))));
    let said = all[0].back_off.clone();
    assert_eq!(said.as_deref(), Some("back-off 10s restarting failed container=c pod=p_ns(u)"));
    assert_eq!(next(&mut all, RestartPolicy::Always, 5).backing_off, Vec::<usize>::new());
    assert_eq!(next(&mut all, RestartPolicy::Always, 11).start, [0]);
}

#[test]
fn a_container_on_hold_is_not_started_before_its_time() {
    let mut all = records(&[("c", Role::Main)]);
    all[0].hold_until = Some(at(10));
    let waiting = next(&mut all, RestartPolicy::Always, 3);
    assert_eq!((waiting.start, waiting.wake), (Vec::new(), Some(at(10))));
    assert_eq!(next(&mut all, RestartPolicy::Always, 10).start, [0]);
}

#[test]
fn the_object_of_a_deleted_pod_stays_a_while_so_that_its_log_can_be_read() {
    let due = |torn_down, now| removal_due(torn_down, Duration::from_secs(2), at(now));
    assert_eq!(due(Some(at(10)), 10), Some(at(12)));
    assert_eq!(due(Some(at(10)), 12), None);
    assert_eq!(due(None, 10), None);
}

#[test]
fn an_ephemeral_container_runs_once_and_holds_nothing_up() {
    let mut all = records(&[("main", Role::Main), ("debug", Role::Ephemeral)]);
    assert_eq!(next(&mut all, RestartPolicy::Always, 0).start, [0, 1]);
    run(&mut all[0]);
    run(&mut all[1]);
    exit(&mut all[1], 1, 1);
    assert_eq!(next(&mut all, RestartPolicy::Always, 2), Next::default());
    let mut all = records(&[("main", Role::Main), ("debug", Role::Ephemeral)]);
    all.iter_mut().for_each(run);
    exit(&mut all[0], 0, 1);
    assert_eq!(next(&mut all, RestartPolicy::Never, 2).stop, [1]);
}
