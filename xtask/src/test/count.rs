//! Counting tests in what `cargo test` prints.

use super::report::Outcome;
use crate::shell;

/// Runs `cargo test` with these arguments on the whole workspace, so that nothing is compiled anew for one of its tests, and counts;
/// `variable` is how the tests hear of what was prepared for them.
pub(super) fn cargo_test(arguments: &[&str], variable: Option<(&str, String)>) -> Outcome {
    let mut count = Count::default();
    let mut command = shell::cargo(&["test", "--workspace", "--locked"]);
    command.args(arguments).envs(variable);
    match shell::watch(&mut command, |line| count.see(line)) {
        Ok(success) => count.outcome(success),
        Err(error) => Outcome::failed(format!("{error:#}")),
    }
}

/// The sums over all test programs seen so far.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Count {
    /// Takes note of one line: only `test result: …` counts.
    fn see(&mut self, line: &str) {
        let Some(rest) = line.trim().strip_prefix("test result: ") else { return };
        for part in rest.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) =
                (words.next().and_then(|word| word.parse::<usize>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// What it comes to. `success` is how cargo itself ended: without a failed test, a crate did not compile.
    fn outcome(self, success: bool) -> Outcome {
        let compile = usize::from(!success && self.failed == 0);
        Outcome {
            passed: self.passed,
            failed: self.failed + compile,
            skipped: self.ignored,
            note: (compile == 1)
                .then(|| "a crate does not compile, or a test program died: see above".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], success: bool, expected: (usize, usize, usize)) {
        let mut count = Count::default();
        for line in lines {
            count.see(line);
        }
        let outcome = count.outcome(success);
        assert_eq!((outcome.passed, outcome.failed, outcome.skipped), expected);
    }

    #[test]
    fn the_results_of_several_programs_add_up() {
        let one =
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let two = "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s";
        check(&["running 5 tests", one, "test a ... ok", two], false, (7, 3, 1));
    }

    #[test]
    fn cargo_failing_without_a_failed_test_is_one_failure() {
        check(&["test result: ok. 5 passed; 0 failed; 0 ignored"], false, (5, 1, 0));
    }
}
