//! What each test of a suite is known to do, and why those that do not pass do not.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Suite;

/// How a test ended. Ordered from good to bad.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Passed,
    /// With the suite's own reason.
    Skipped(String),
    /// With the first line of what it said.
    Failed(String),
}

/// Endings by the suite's own names of its tests.
pub(super) type Results = BTreeMap<String, Ending>;

/// Takes over the endings that are worse.
pub(super) fn worsen(worst: &mut Results, results: Results) {
    for (test, ending) in results {
        let known = worst.entry(test).or_insert(Ending::Passed);
        if ending > *known {
            *known = ending;
        }
    }
}

/// A ledger file, `suites/NAME/ledger.yaml` or, of one arm, `ledger-ARM.yaml`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    version: String,
    passed: Vec<String>,
    /// Tests that the suite itself skips, and why.
    skipped: BTreeMap<String, String>,
    /// Tests that fail, and why that is not our server's fault, or what it lacks.
    failed: BTreeMap<String, String>,
}

const HEADER: &str =
    "# Made by `cargo xtask suites NAME --update`; reasons of failures are written by hand.\n";

/// What a run means for a ledger.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) passed: usize,
    pub(crate) skipped: usize,
    /// Failures that the ledger gives a reason for.
    pub(crate) known: usize,
    /// What must not be: regressions and failures without a reason.
    pub(crate) complaints: Vec<String>,
    /// What the ledger could say better.
    notes: Vec<String>,
}

impl Ledger {
    /// The ledger of a suite; empty if there is none yet.
    pub(super) fn read(suite: &Suite) -> Result<Self> {
        let (path, version) = (suite.ledger(), suite.version);
        let mut ledger: Self = match std::fs::read_to_string(&path) {
            Ok(text) => {
                serde_yaml::from_str(&text).with_context(|| format!("{} is not a ledger", path.display()))?
            }
            Err(_) => Self { version: version.to_owned(), ..Self::default() },
        };
        if ledger.version != version {
            println!("the ledger is of version {}, this is {version}", ledger.version);
            version.clone_into(&mut ledger.version);
        }
        Ok(ledger)
    }

    pub(super) fn write(&self, suite: &Suite) -> Result<()> {
        let path = suite.ledger();
        let text = HEADER.replace("NAME", suite.name) + &serde_yaml::to_string(self)?;
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes the results over; reasons of tests that still fail stay as they are.
    pub(super) fn update(&mut self, results: &Results) {
        let reasons = std::mem::take(&mut self.failed);
        self.passed.clear();
        self.skipped.clear();
        for (test, ending) in results {
            match ending {
                Ending::Passed => self.passed.push(test.clone()),
                Ending::Skipped(why) => {
                    self.skipped.insert(test.clone(), why.clone());
                }
                Ending::Failed(_) => {
                    self.failed.insert(test.clone(), reasons.get(test).cloned().unwrap_or_default());
                }
            }
        }
    }

    /// Compares a run with the ledger. `part` says that not all tests were run.
    pub(super) fn judge(&self, results: &Results, part: bool) -> Verdict {
        let mut verdict = Verdict::default();
        let passed_before = |test: &String| self.passed.binary_search(test).is_ok();
        for (test, ending) in results {
            match ending {
                Ending::Passed => {
                    verdict.passed += 1;
                    if !passed_before(test) {
                        verdict.notes.push(format!("{test} passes now"));
                    }
                }
                Ending::Skipped(why) => {
                    verdict.skipped += 1;
                    if !self.skipped.contains_key(test) {
                        verdict
                            .complaints
                            .push(format!("{test} is skipped, which the ledger does not say: {why}"));
                    }
                }
                Ending::Failed(why) => match self.failed.get(test) {
                    Some(reason) if !reason.is_empty() => verdict.known += 1,
                    _ if passed_before(test) => {
                        verdict.complaints.push(format!("{test} passed before: {why}"));
                    }
                    _ => {
                        verdict
                            .complaints
                            .push(format!("{test} fails without a reason in the ledger: {why}"));
                    }
                },
            }
        }
        if !part {
            let gone = self.passed.iter().filter(|test| !results.contains_key(*test));
            verdict.complaints.extend(gone.map(|test| format!("{test} passed before and was not run")));
        }
        verdict
    }
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.complaints.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.notes.iter().chain(&self.complaints) {
            writeln!(f, "{line}")?;
        }
        let Self { passed, skipped, known, complaints, .. } = self;
        write!(
            f,
            "{passed} passed, {skipped} skipped, {known} known failures, {} complaints",
            complaints.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        serde_yaml::from_str(
            "{version: '1', passed: [a, b], skipped: {s: by hand}, failed: {f: needs a moon, g: ''}}",
        )
        .unwrap()
    }

    fn check(results: &[(&str, Ending)], expected: &[&str]) {
        let results = results.iter().map(|(name, ending)| ((*name).to_owned(), ending.clone())).collect();
        let verdict = ledger().judge(&results, true);
        assert_eq!(verdict.complaints, expected);
    }

    #[test]
    fn a_test_that_passed_must_pass() {
        check(&[("a", Ending::Passed), ("b", Ending::Passed)], &[]);
        check(&[("a", Ending::Failed("no".into()))], &["a passed before: no"]);
        check(&[("a", Ending::Skipped("no".into()))], &["a is skipped, which the ledger does not say: no"]);
        assert_eq!(ledger().judge(&Results::new(), false).complaints.len(), 2);
    }

    #[test]
    fn a_failure_needs_a_reason_in_the_ledger() {
        check(&[("f", Ending::Failed("no".into()))], &[]);
        check(&[("g", Ending::Failed("no".into()))], &["g fails without a reason in the ledger: no"]);
        check(&[("h", Ending::Failed("no".into()))], &["h fails without a reason in the ledger: no"]);
    }

    #[test]
    fn of_several_times_the_worst_counts() {
        let failed = Ending::Failed("no".into());
        let mut worst = Results::new();
        for ending in [Ending::Passed, failed.clone(), Ending::Passed] {
            worsen(&mut worst, [("a".to_owned(), ending)].into());
        }
        assert_eq!(worst["a"], failed);
    }

    #[test]
    fn updating_keeps_the_reasons() {
        let mut ledger = ledger();
        let failed = || Ending::Failed("no".into());
        ledger.update(&[("a".to_owned(), failed()), ("f".to_owned(), failed())].into());
        assert_eq!(ledger.failed["f"], "needs a moon");
        assert_eq!(ledger.failed["a"], "");
        assert!(ledger.passed.is_empty() && ledger.skipped.is_empty());
    }
}
