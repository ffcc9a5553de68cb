//! The number of workers a DaskAutoscaler wants, and the cool-down it keeps (compatibility contract §5.3).

use jiff::Timestamp;

use super::validate::Valid;
use crate::settings::Pace;

/// Up at once; down by at most the pace's share of the present number, and by at least one.
pub fn build(valid: &Valid, present: i64, wanted: i64, pace: &Pace) -> i64 {
    let target = valid.maximum.min(wanted.max(valid.minimum));
    if present <= 0 {
        return target;
    }
    let step = (present * i64::from(pace.shrink_percent) / 100).max(1);
    target.max(present - step)
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
    use super::*;

    fn check(minimum: i64, maximum: i64, present: i64, wanted: i64, expected: i64) {
        let valid = Valid { minimum, maximum };
        assert_eq!(build(&valid, present, wanted, &Pace::default()), expected);
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
        let valid = Valid { minimum: 0, maximum: 10 };
        let mut steps = vec![100];
        while steps.last() != Some(&10) {
            steps.push(build(&valid, *steps.last().unwrap(), 100, &Pace::default()));
        }
        assert_eq!(steps, [100, 75, 57, 43, 33, 25, 19, 15, 12, 10]);
    }

    #[test]
    fn the_cooldown_is_read_as_the_python_operator_writes_it() {
        let until = cooldown_from("1763683200.123456").unwrap();
        assert_eq!(until.as_microsecond(), 1_763_683_200_123_456);
        assert_eq!(cooldown_text(until), "1763683200.123456");
        assert_eq!(cooldown_from("soon"), None);
    }
}
