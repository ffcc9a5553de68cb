//! The numbers of workers a DaskAutoscaler wants, and the cool-down it keeps (compatibility contract §5.3).

use jiff::Timestamp;

use super::validate::Valid;
use super::wishes::Wishes;

/// A group as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Workers it is to have.
    pub replicas: i64,
    /// Workers that are ready.
    pub ready: i64,
}

/// In which direction the numbers may move now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Upwards.
    pub up: bool,
    /// Downwards.
    pub down: bool,
}

/// The number each group is to have, in the order of [`Valid::groups`]; `None` for one that does not exist.
///
/// `others` are ready workers of groups that are not scaled. Numbers rise at once; they fall by at most a share of the ready
/// workers, and by at least one.
pub fn build(
    valid: &Valid,
    present: &[Option<Present>],
    others: i64,
    wishes: &Wishes,
    free: Free,
) -> Vec<Option<i64>> {
    let others = if valid.shared { others } else { 0 };
    let now: i64 = present.iter().flatten().map(|group| group.replicas).sum::<i64>() + others;
    // Up only to what was wished for during all of the window, down only to the most that was: as with Kubernetes' own.
    let at_least = wishes.least(valid.up.stabilization).map_or(0, i64::from);
    let at_most = wishes.most(valid.down.stabilization).map_or(i64::MAX, i64::from);
    let wanted = now.max(at_least).min(at_most) - others;
    let shares = share(valid, present, valid.maximum.min(wanted.max(valid.minimum)));
    let step = |(present, share): (&Option<Present>, i64)| {
        let present = (*present)?;
        let target = toward(present, share, valid.percent);
        let allowed = if target > present.replicas { free.up } else { free.down };
        Some(if allowed { target } else { present.replicas })
    };
    present.iter().zip(shares).map(step).collect()
}

/// Each group its minimum, then the first ones are filled first.
fn share(valid: &Valid, present: &[Option<Present>], total: i64) -> Vec<i64> {
    let there = |index: usize| present.get(index).is_some_and(Option::is_some);
    let mut shares: Vec<i64> = valid
        .groups
        .iter()
        .enumerate()
        .map(|(index, group)| if there(index) { group.minimum } else { 0 })
        .collect();
    let mut left = (total - shares.iter().sum::<i64>()).max(0);
    for (index, group) in valid.groups.iter().enumerate().filter(|(index, _)| there(*index)) {
        let more = left.min(group.maximum - shares[index]);
        shares[index] += more;
        left -= more;
    }
    shares
}

/// A group's next number on the way to `wanted`. Workers that are not ready hold nothing: they may all go at once.
fn toward(present: Present, wanted: i64, percent: i64) -> i64 {
    if wanted >= present.replicas {
        return wanted;
    }
    let step = (present.ready * percent / 100).max(1);
    wanted.max(present.ready - step).min(present.replicas)
}

/// Decimal Unix seconds, the form in which the Python operator writes and parses the annotation.
pub(super) fn cooldown_text(until: Timestamp) -> String {
    let micros = until.as_microsecond();
    format!("{}.{:06}", micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000))
}

/// Reads the annotation; nonsense counts as no cool-down.
pub(super) fn cooldown_from(text: &str) -> Option<Timestamp> {
    let seconds: f64 = text.trim().parse().ok()?;
    Timestamp::from_microsecond((seconds * 1e6) as i64).ok()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::{Value, json};

    use super::*;
    use crate::autoscaler::validate;
    use crate::observe::{Kind, Resource};
    use crate::settings::Pace;

    const FREE: Free = Free { up: true, down: true };

    fn valid(spec: &Value) -> Valid {
        let object = json!({"metadata": {"name": "x", "namespace": "d", "uid": "u"}, "spec": spec});
        let object = serde_json::from_value(object).expect("an object");
        let resource = Resource::project(Kind::Autoscaler, object).expect("it has all it needs");
        validate(&resource, &Pace::default()).expect("it is valid")
    }

    fn wish(wanted: u32) -> Wishes {
        let mut wishes = Wishes::default();
        wishes.note(Timestamp::UNIX_EPOCH, wanted, SignedDuration::ZERO);
        wishes
    }

    fn groups<const N: usize>(replicas: [i64; N]) -> Vec<Option<Present>> {
        replicas.into_iter().map(|replicas| Some(Present { replicas, ready: replicas })).collect()
    }

    fn check(minimum: i64, maximum: i64, present: i64, wanted: u32, expected: i64) {
        let valid = valid(&json!({"cluster": "x", "minimum": minimum, "maximum": maximum}));
        assert_eq!(build(&valid, &groups([present]), 7, &wish(wanted), FREE), [Some(expected)]);
    }

    #[test]
    fn it_grows_at_once_and_shrinks_by_a_quarter() {
        check(0, 100, 2, 50, 50);
        check(0, 100, 100, 0, 75);
        check(0, 100, 3, 0, 2);
        check(0, 100, 1, 0, 0);
        check(0, 100, 0, 0, 0);
        check(2, 100, 0, 0, 2);
        check(5, 3, 1, 0, 3);
    }

    #[test]
    fn a_lowered_maximum_takes_effect_in_steps() {
        let valid = valid(&json!({"cluster": "x", "minimum": 0, "maximum": 10}));
        let mut steps = vec![100];
        while steps.last() != Some(&10) {
            let present = groups([*steps.last().unwrap()]);
            steps.extend(build(&valid, &present, 0, &wish(100), FREE).into_iter().flatten());
        }
        assert_eq!(steps, [100, 75, 57, 43, 33, 25, 19, 15, 12, 10]);
    }

    #[test]
    fn pain_6_workers_that_are_not_ready_go_at_once_and_those_still_going_are_waited_for() {
        let valid = valid(&json!({"cluster": "x", "minimum": 0, "maximum": 100}));
        let check = |replicas, ready, wanted, expected| {
            let present = Some(Present { replicas, ready });
            assert_eq!(build(&valid, &[present], 0, &wish(wanted), FREE), [Some(expected)]);
        };
        check(10, 3, 0, 2);
        check(10, 0, 0, 0);
        check(75, 100, 0, 75);
        check(75, 76, 0, 57);
        check(10, 3, 5, 5);
        check(10, 3, 12, 12);
    }

    #[test]
    fn pain_7_groups_get_their_minimum_and_are_filled_in_order_with_what_others_do_not_do() {
        let named =
            json!([{"name": "a", "maximum": 4}, {"name": "b", "minimum": 1}, {"name": "c", "maximum": 2}]);
        let valid = valid(&json!({"cluster": "x", "minimum": 0, "maximum": 20, "groups": named}));
        let none = || groups([0, 0, 0]);
        let check = |present: Vec<Option<Present>>, others, wanted, expected: [Option<i64>; 3]| {
            assert_eq!(build(&valid, &present, others, &wish(wanted), FREE), expected);
        };
        check(none(), 0, 3, [Some(2), Some(1), Some(0)]);
        check(none(), 0, 9, [Some(4), Some(5), Some(0)]);
        check(none(), 5, 9, [Some(3), Some(1), Some(0)]);
        let mut without = none();
        without[1] = None;
        check(without, 0, 9, [Some(4), None, Some(2)]);
        check(none(), 0, 0, [Some(0), Some(1), Some(0)]);
        // What is not needed goes from the last group first.
        check(groups([4, 5, 0]), 0, 6, [Some(4), Some(4), Some(0)]);
    }

    #[test]
    fn each_direction_has_its_own_window_and_cooldown() {
        let window = |seconds: i64| json!({"stabilizationWindowSeconds": seconds});
        let behavior = json!({"scaleUp": window(10), "scaleDown": window(20)});
        let valid = valid(&json!({"cluster": "x", "minimum": 0, "maximum": 20, "behavior": behavior}));
        let mut wishes = Wishes::default();
        let mut build_at = |second: i64, wanted: u32, free: Free| {
            let at = Timestamp::from_second(second).unwrap();
            wishes.note(at, wanted, SignedDuration::from_secs(20));
            build(&valid, &groups([4]), 0, &wishes, free)
        };
        assert_eq!(build_at(0, 8, FREE), [Some(4)], "the wish is too young");
        assert_eq!(build_at(10, 6, FREE), [Some(6)], "for ten seconds at least six were wished for");
        assert_eq!(build_at(20, 2, FREE), [Some(4)], "less than twenty seconds ago six were wished for");
        assert_eq!(build_at(30, 2, FREE), [Some(4)]);
        assert_eq!(build_at(41, 2, FREE), [Some(3)]);
        assert_eq!(build_at(42, 2, Free { up: true, down: false }), [Some(4)], "it has just changed");
    }

    #[test]
    fn the_cooldown_is_read_as_the_python_operator_writes_it() {
        let until = cooldown_from("1763683200.123456").unwrap();
        assert_eq!(until.as_microsecond(), 1_763_683_200_123_456);
        assert_eq!(cooldown_text(until), "1763683200.123456");
        assert_eq!(cooldown_from("soon"), None);
    }
}
