//! The life stages of a simulated container as a table, and the pod's way through it.
//!
//! In the manner of KWOK's Stages: from which state, when, after how long, to which state. The first row that fits is taken.

use jiff::{SignedDuration, Timestamp};

use super::super::object::text;
use super::life::Life;

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for its turn, or is being created.
    Creating,
    /// The image was asked for in vain (ErrImagePull).
    PullFailed,
    /// Waits until the image is asked for again (ImagePullBackOff).
    PullBackOff,
    /// Runs.
    Running,
    /// Has ended; whether it runs again is not decided yet.
    Ended,
    /// Waits until it is started again (CrashLoopBackOff).
    CrashBackOff,
    /// Has ended for good.
    Completed,
}

/// `restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    /// Whatever the exit code.
    #[default]
    Always,
    /// After an exit code other than 0.
    OnFailure,
    /// Never.
    Never,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Termination {
    pub code: i32,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// It never ran.
    pub start_error: bool,
    pub container_id: u64,
}

/// One container on its way.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub name: String,
    pub image: String,
    pub policy: RestartPolicy,
    pub state: State,
    /// When the state was entered.
    pub since: Timestamp,
    pub ready: bool,
    pub restarts: u32,
    /// Failed pulls in a row.
    pub pulls: u32,
    /// The end of the run in `Ended` and `Completed`, of the last run in the other states.
    pub last: Option<Termination>,
    /// The end before that.
    pub before_last: Option<Termination>,
    /// Number of the present run; 0 before the first.
    pub run_id: u64,
}

/// One row of the table.
struct Stage {
    from: State,
    when: fn(&Life, &Container) -> bool,
    after: fn(&Life, &Container) -> SignedDuration,
    to: State,
}

fn always(_: &Life, _: &Container) -> bool {
    true
}

fn at_once(_: &Life, _: &Container) -> SignedDuration {
    SignedDuration::ZERO
}

/// The table.
const STAGES: &[Stage] = &[
    Stage {
        from: State::Creating,
        when: |l, _| l.pull_error.is_some(),
        after: |l, _| l.start_after,
        to: State::PullFailed,
    },
    Stage { from: State::PullFailed, when: always, after: |_, _| PULL_SHOWN, to: State::PullBackOff },
    Stage { from: State::PullBackOff, when: always, after: |_, c| back_off(c.pulls), to: State::PullFailed },
    Stage {
        from: State::Creating,
        when: |l, _| l.start_error.is_some(),
        after: |l, _| l.start_after,
        to: State::Ended,
    },
    Stage { from: State::Creating, when: always, after: |l, _| l.start_after, to: State::Running },
    Stage { from: State::Running, when: |l, _| l.exit_after.is_some(), after: exit_after, to: State::Ended },
    Stage { from: State::Ended, when: |_, c| !c.runs_again(), after: at_once, to: State::Completed },
    Stage { from: State::Ended, when: |_, c| c.restarts > 0, after: at_once, to: State::CrashBackOff },
    // The first restart does not wait.
    Stage { from: State::Ended, when: |l, _| l.start_error.is_none(), after: at_once, to: State::Running },
    Stage { from: State::Ended, when: always, after: at_once, to: State::CrashBackOff },
    Stage {
        from: State::CrashBackOff,
        when: |l, _| l.start_error.is_some(),
        after: |_, c| back_off(c.restarts),
        to: State::Ended,
    },
    Stage { from: State::CrashBackOff, when: always, after: |_, c| back_off(c.restarts), to: State::Running },
];

/// How long ErrImagePull is seen before it becomes ImagePullBackOff.
const PULL_SHOWN: SignedDuration = SignedDuration::from_secs(1);

/// The kubelet's back-off: 10 s, doubled each time, at most 5 minutes.
pub(crate) fn back_off(times: u32) -> SignedDuration {
    SignedDuration::from_secs((10_i64 << times.saturating_sub(1).min(10)).min(300))
}

fn exit_after(life: &Life, _: &Container) -> SignedDuration {
    life.exit_after.unwrap_or_default()
}

impl Container {
    /// A container that has not begun.
    pub(crate) fn new(name: &str, image: &str, policy: RestartPolicy, now: Timestamp) -> Self {
        Self {
            name: name.into(),
            image: image.into(),
            policy,
            state: State::Creating,
            since: now,
            ready: false,
            restarts: 0,
            pulls: 0,
            last: None,
            before_last: None,
            run_id: 0,
        }
    }

    /// Whether it is started again after its end.
    fn runs_again(&self) -> bool {
        match self.policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => self.last.as_ref().is_some_and(|end| end.code != 0),
            RestartPolicy::Never => false,
        }
    }

    /// Has ended well and for good.
    pub(crate) fn succeeded(&self) -> bool {
        self.state == State::Completed && self.last.as_ref().is_some_and(|end| end.code == 0)
    }

    /// Has ended badly and for good.
    pub(crate) fn failed(&self) -> bool {
        self.state == State::Completed && !self.succeeded()
    }

    /// When the next stage begins, and which.
    fn next(&self, life: &Life) -> Option<(Timestamp, State)> {
        let stage = STAGES.iter().find(|stage| stage.from == self.state && (stage.when)(life, self))?;
        Some((self.since.checked_add((stage.after)(life, self)).ok()?, stage.to))
    }

    /// Enters a state.
    fn enter(&mut self, to: State, life: &Life, now: Timestamp, ids: &mut u64) {
        let from = std::mem::replace(&mut self.state, to);
        let started = std::mem::replace(&mut self.since, now);
        match to {
            State::PullFailed => self.pulls += 1,
            State::Running => {
                *ids += 1;
                self.run_id = *ids;
                if matches!(from, State::Ended | State::CrashBackOff) {
                    self.restarts += 1;
                }
            }
            State::Ended => {
                let start_error = from != State::Running;
                if start_error {
                    *ids += 1;
                    self.run_id = *ids;
                    self.restarts += u32::from(from == State::CrashBackOff);
                }
                let code = if start_error { life.start_error.unwrap_or(128) } else { life.exit_code };
                let end =
                    Termination { code, started, finished: now, start_error, container_id: self.run_id };
                self.before_last = self.last.replace(end);
            }
            State::Creating | State::PullBackOff | State::CrashBackOff | State::Completed => {}
        }
        if to != State::Running {
            self.ready = false;
        }
    }

    /// Ends a running container from outside.
    pub(crate) fn kill(&mut self, now: Timestamp) {
        if self.state == State::Running {
            let end = Termination {
                code: 143,
                started: self.since,
                finished: now,
                start_error: false,
                container_id: self.run_id,
            };
            self.before_last = self.last.replace(end);
            self.state = State::Completed;
            self.ready = false;
        }
    }
}

/// All containers of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Containers {
    /// They run one after the other; those with policy Always (sidecars) only have to have started.
    pub init: Vec<Container>,
    /// They run together once the init containers are done.
    pub main: Vec<Container>,
    /// Added to a running pod; they run once, whatever becomes of the others.
    pub ephemeral: Vec<Container>,
}

/// What has become of the containers.
#[derive(Debug, Default)]
pub(crate) struct Advance {
    /// Index (as of [`Containers::at`]) and the state that was entered, in order.
    pub entered: Vec<(usize, State)>,
    /// A container has become ready.
    pub readiness: bool,
    /// When something is next due.
    pub next: Option<Timestamp>,
}

impl Advance {
    /// Something is due at `at`.
    fn wake(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |known| known.min(at)));
    }
}

impl Containers {
    /// Whether the main containers may start.
    pub(crate) fn initialized(&self) -> bool {
        self.init.iter().all(is_done)
    }

    /// One container by its index: init containers, the others, ephemeral ones.
    pub(crate) fn at(&self, index: usize) -> Option<&Container> {
        self.init.iter().chain(&self.main).chain(&self.ephemeral).nth(index)
    }

    /// Takes up what was added to the pod since.
    pub(crate) fn add_ephemeral(&mut self, specs: &[serde_json::Value], now: Timestamp) {
        for spec in specs {
            let (name, image) = (text(&spec["name"]), text(&spec["image"]));
            if !self.ephemeral.iter().any(|known| known.name == name) {
                self.ephemeral.push(Container::new(name, image, RestartPolicy::Never, now));
            }
        }
    }

    /// All of them.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Container> {
        self.init.iter_mut().chain(&mut self.main).chain(&mut self.ephemeral)
    }

    /// Takes every stage that is due.
    pub(crate) fn advance(&mut self, life: &Life, now: Timestamp, ids: &mut u64) -> Advance {
        // A container that ends at once and runs again at once is stopped here by its back-off, which is never zero.
        let mut done = Advance::default();
        // Init containers run their course; how the main containers end is not theirs.
        let brief = Life { exit_after: Some(SignedDuration::ZERO), exit_code: 0, ..life.clone() };
        let count = self.init.len();
        for index in 0..count {
            let sidecar = self.init[index].policy == RestartPolicy::Always;
            let own = if sidecar { Life { exit_after: None, ..life.clone() } } else { brief.clone() };
            if self.init[index].state == State::Creating
                && index > 0
                && self.init[index].since < self.init[index - 1].since
            {
                self.init[index].since = self.init[index - 1].since;
            }
            advance_one(&mut self.init[index], index, &own, now, ids, &mut done);
            if !is_done(&self.init[index]) {
                return done;
            }
        }
        let initialized_at = self.init.iter().map(|c| c.since).max();
        for (index, container) in self.main.iter_mut().enumerate() {
            if container.state == State::Creating && initialized_at.is_some_and(|at| at > container.since) {
                container.since = initialized_at.unwrap_or(now);
            }
            advance_one(container, count + index, life, now, ids, &mut done);
        }
        // What the others do is not theirs: they run until the pod ends.
        let own = Life { start_after: life.start_after, ..Life::default() };
        let before = count + self.main.len();
        for (index, container) in self.ephemeral.iter_mut().enumerate() {
            advance_one(container, before + index, &own, now, ids, &mut done);
        }
        done
    }
}

fn is_done(container: &Container) -> bool {
    container.succeeded() || (container.policy == RestartPolicy::Always && container.state == State::Running)
}

fn advance_one(
    container: &mut Container,
    index: usize,
    life: &Life,
    now: Timestamp,
    ids: &mut u64,
    done: &mut Advance,
) {
    while let Some((at, to)) = container.next(life) {
        if at > now {
            done.wake(at);
            break;
        }
        container.enter(to, life, now, ids);
        done.entered.push((index, to));
    }
    if container.state == State::Running && !container.ready && !life.never_ready {
        match container.since.checked_add(life.ready_after) {
            Ok(at) if at > now => done.wake(at),
            _ => {
                container.ready = true;
                done.readiness = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(policy: RestartPolicy) -> Containers {
        let main = vec![Container::new("main", "image", policy, Timestamp::UNIX_EPOCH)];
        Containers { main, ..Containers::default() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_crash_loop_waits_ten_seconds_then_twice_as_long_up_to_five_minutes() {
        let life = Life { exit_after: Some(SignedDuration::ZERO), exit_code: 1, ..Life::default() };
        let mut pod = pod(RestartPolicy::Always);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let next = pod.advance(&life, now, &mut 0).next.unwrap();
            waits.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!((pod.main[0].state, pod.main[0].restarts), (State::CrashBackOff, 8));
    }

    #[test]
    fn a_failed_pull_alternates_with_its_back_off() {
        let life = Life { pull_error: Some("not found".into()), ..Life::default() };
        let mut pod = pod(RestartPolicy::Always);
        let states: Vec<State> = [0, 1, 11, 12]
            .map(|s| {
                pod.advance(&life, at(s), &mut 0);
                pod.main[0].state
            })
            .into();
        assert_eq!(states, [State::PullFailed, State::PullBackOff, State::PullFailed, State::PullBackOff]);
    }

    #[test]
    fn a_container_that_never_restarts_ends_for_good() {
        let life = Life { exit_after: Some(SignedDuration::from_secs(5)), exit_code: 2, ..Life::default() };
        let mut pod = pod(RestartPolicy::Never);
        assert_eq!(pod.advance(&life, at(0), &mut 0).next, Some(at(5)));
        assert_eq!(pod.advance(&life, at(5), &mut 0).next, None);
        assert!(pod.main[0].failed());
    }

    #[test]
    fn main_containers_wait_for_init_containers_one_after_the_other() {
        let life = Life { start_after: SignedDuration::from_secs(1), ..Life::default() };
        let mut pod = pod(RestartPolicy::Always);
        for name in ["first", "second"] {
            pod.init.push(Container::new(name, "image", RestartPolicy::OnFailure, at(0)));
        }
        assert_eq!(pod.advance(&life, at(0), &mut 0).next, Some(at(1)));
        assert_eq!(pod.advance(&life, at(1), &mut 0).next, Some(at(2)));
        assert_eq!(pod.advance(&life, at(2), &mut 0).next, Some(at(3)));
        pod.advance(&life, at(3), &mut 0);
        assert_eq!(pod.main[0].state, State::Running);
    }

    #[test]
    fn a_start_error_is_an_end_without_a_run() {
        let life = Life { start_error: Some(128), ..Life::default() };
        let mut pod = pod(RestartPolicy::Always);
        pod.advance(&life, at(0), &mut 0);
        assert_eq!(pod.main[0].state, State::CrashBackOff);
        assert!(pod.main[0].last.as_ref().unwrap().start_error);
    }
}
